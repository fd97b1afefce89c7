"""Mistakes in generation: which token is drawn, what the model sees, which text comes out."""

from tests.mutations.mistake import Mistake, edit, listed

_PENALTY = "generate:a_penalty_counts_the_prompt_and_what_was_drawn"
_ENDS = "generate:the_smallest_and_the_largest_uniform_draw_a_token_that_may_be_drawn"
_TIES = "generate:of_equal_tokens_top_k_keeps_the_first_wherever_they_are"
_TIES_OF_P = "generate:of_equal_tokens_top_p_keeps_the_first_and_no_more_than_needed"
_STOP = "generate:a_stop_string_is_found_across_tokens_and_never_printed"
_MIN_P = "generate:min_p_keeps_what_is_likely_enough"
_LONG = "generate:the_model_sees_the_end_of_a_long_prompt_and_all_of_it_is_returned"

SAMPLING = listed(
    "generation/sampling.py",
    (
        "S01", "top_k keeps all that are equal to the last",
        ("equal[: how.top_k - larger.size]", "equal"),
        _TIES,
    ),
    (
        "S02", "of equal logits top_k keeps the higher tokens",
        ("equal[: how.top_k - larger.size]", "equal[larger.size - how.top_k :]"), _TIES,
    ),
    (
        "S03", "the candidates of top_k lie in the order of their logits",
        ("np.sort(np.concatenate([larger, equal[: how.top_k - larger.size]]))",
         "np.concatenate([larger, equal[: how.top_k - larger.size]])"),
        "generate:draws_are_the_same_in_every_version",
    ),
    (
        "S04", "top_k keeps one token less",
        ("z.partition(V - how.top_k)\n            smallest = z[V - how.top_k]",
         "z.partition(V - how.top_k + 1)\n            smallest = z[V - how.top_k + 1]"),
        "generate:top_k_keeps_the_k_most_likely[7]",
    ),
    (
        "S05", "of equal tokens top_p keeps the higher ones",
        ('np.argsort(-z, kind="stable")', 'np.argsort(z, kind="stable")[::-1]'), _TIES_OF_P,
    ),
    (
        "S06", "top_p drops the token that reaches it",
        ("ordered.cumsum() - ordered >= how.top_p", "ordered.cumsum() >= how.top_p"),
        "generate:top_p_keeps_the_fewest_most_likely_that_reach_p",
    ),
    (
        "S07", "top_p is a share of all tokens, whatever top_k has dropped",
        ("ordered = z[order] / z.sum()",
         "ordered = z[order] / np.exp((logits - logits.max()) / how.temperature).sum()"),
        "generate:top_p_is_a_share_of_what_top_k_leaves",
    ),
    (
        "S08", "min_p drops what is exactly as likely",
        ("z[z < how.min_p]", "z[z <= how.min_p]"), _MIN_P,
    ),
    (
        "S09", "min_p is a probability, not a share of the largest",
        ("z[z < how.min_p]", "z[z < how.min_p * z.sum()]"), _MIN_P,
    ),
    (
        "S10", "the temperature multiplies",
        ("z /= how.temperature", "z *= how.temperature"),
        "generate:zero_and_one_leave_the_softmax_unchanged",
    ),
    ("S11", "a uniform number of 0 draws what was dropped", ('side="right"', 'side="left"'), _ENDS),
    (
        "S12", "the largest uniform number rounds to 1 and draws no token",
        ("(int(self._streams[sequence].random_raw()) >> 11) * 2.0**-53",
         "int(self._streams[sequence].random_raw()) * 2.0**-64"), _ENDS,
    ),
    (
        "S13", "a repetition penalty forgets the drawn tokens",
        ("        self._seen[sequence, token] = True\n", ""), _PENALTY,
    ),
    (
        "S14", "a repetition penalty knows the last token of the prompt alone",
        ("self._seen[sequence, tokens] = True", "self._seen[sequence, tokens[-1:]] = True"),
        _PENALTY,
    ),
    (
        "S15", "a repetition penalty counts the tokens of all sequences",
        ("self._seen[sequence, tokens] = True", "self._seen[:, tokens] = True"), _PENALTY,
    ),
    (
        "S16", "a repetition penalty makes unlikely tokens likelier",
        ("wide / penalty, wide * penalty", "wide / penalty, wide / penalty"),
        "generate:a_penalty_lowers_the_logits_of_tokens_that_occur",
    ),
    (
        "S17", "all sequences have the same draws",
        ("how.seed + (b << 64)", "how.seed"), "generate:the_seed_decides_everything",
    ),
    (
        "S18", "one logit that is not finite is overlooked",
        ("if not np.isfinite(logits).all():", "if not np.isfinite(logits).any():"),
        "generate:one_logit_that_is_not_finite_is_enough",
    ),
    (
        "S19", "log-probabilities are not normalised",
        ("float(below[token]) - math.log(np.exp(below).sum())", "float(below[token])"),
        "generate:log_probabilities_are_those_of_the_model",
    ),
)  # fmt: skip

GREEDY = [
    Mistake(
        edit(
            "S20", "top_k=1 draws from its one candidate", "generation/sampling.py",
            "if how.temperature == 0 or how.top_k == 1:", "if how.temperature == 0:",
        ),
        ("generate:top_k_of_one_is_the_most_likely_token",),
        equivalent="with top_k=1 the only candidate is the lowest token of the largest logit, which"
        " argmax names, too; its weight is 1, so every uniform number in [0, 1) draws it, and the"
        " number is used for nothing else",
    )
]  # fmt: skip

GENERATE = listed(
    "generation/generate.py",
    (
        "S30", "of a long prompt the model sees the beginning",
        ("seen = prompt[-block_size:][:-1]", "seen = prompt[:block_size][:-1]"), _LONG,
    ),
    (
        "S31", "prompts that end alike share their keys and values",
        ("        seen = prompt[-block_size:][:-1]\n"
         "        if first.setdefault(seen.tobytes(), b)",
         "        seen = prompt[-block_size:][:-1]\n"
         "        if first.setdefault(seen[-1:].tobytes(), b)",
         "first[seen.tobytes()], b)",
         "first[seen[-1:].tobytes()], b)"), "generate:prompts_that_end_alike_are_different_prompts",
    ),
    (
        "S32", "half a window is a quarter",
        ("max(block_size // 2, 1)", "max(block_size // 4, 1)"),
        "generate:half_a_window_continues_from_the_last_half",
    ),
    (
        "S33", "window=full keeps half",
        ('seen = block_size if window == "full"', 'seen = block_size if window == "all"'),
        "generate:temperature_zero_is_greedy_decoding",
    ),
    (
        "S34", "a finished sequence goes on",
        ("active = active[~np.isin(active, done)]", "active = active[np.isin(active, active)]"),
        "generate:a_finished_sequence_leaves_the_others_as_they_are",
    ),
    (
        "S35", "top_k=None draws from 200 tokens",
        ("0 if top_k is None else top_k", "200 if top_k is None else top_k"),
        "generate:no_limit_is_no_limit",
    ),
    (
        "S36", "the first token beyond the vocabulary is accepted",
        ("if low < 0 or high >= V:", "if low < 0 or high > V:"),
        "generate:wrong_arguments_are_refused",
    ),
    (
        "S37", "the prompt is not counted for the repetition penalty",
        ("            sampler.note(b, prompt)\n", "            pass\n"),
        "generate:the_penalty_holds_for_all_of_the_prompt_and_for_drawn_tokens",
    ),
    (
        "S38", "of a long prompt the last tokens alone count for the repetition penalty",
        ("sampler.note(b, prompt)", "sampler.note(b, prompt[-block_size:])"),
        "generate:the_penalty_holds_for_all_of_the_prompt_and_for_drawn_tokens",
    ),
)  # fmt: skip

CACHE = listed(
    "generation/kv_cache.py",
    (
        "S40", "a copied slot has the values of what was there",
        ("        self._values[:, target, :, :T] = self._values[:, source, :, :T]\n", ""),
        "generate:equal_prompts_get_what_each_gets_alone",
    ),
    (
        "S41", "a copied slot has its old length",
        ("T = self.lengths[target] = self.lengths[source]", "T = self.lengths[source]"),
        "generate:equal_prompts_get_what_each_gets_alone",
    ),
    (
        "S42", "filling a slot with nothing leaves its length",
        ("        self.lengths[slot] = T\n        if T == 0:\n            return\n",
         "        if T == 0:\n            return\n        self.lengths[slot] = T\n"),
        "generate:a_context_of_one_token",
    ),
    (
        "S43", "a step makes all slots longer",
        ("self.lengths[slots] += 1", "self.lengths += 1"),
        "cache:a_step_leaves_the_other_slots_as_they_are",
    ),
    (
        "S44", "a model without biases reads the first parameter as biases",
        ('starts.get(name or "", -1)', 'starts.get(name or "", 0)'),
        "prefix",
    ),
    (
        "S45", "keys and values change places when a prompt is cached",
        ("_, keys, values = split_qkv", "_, values, keys = split_qkv"),
        "prefix",
    ),
    (
        "S46", "bfloat16: the weights are those of the first generation",
        ("        if model.products == BFLOAT16:",
         "        copies = model.decoding_copies\n"
         "        if model.products == BFLOAT16 and copies is None:"),
        "cache16:weights_that_change_between_two_generations_are_read_anew",
    ),
    (
        "S47", "bfloat16: steps are computed in float32",
        ("if model.products == BFLOAT16:", "if model.products is None:"),
        "prefix16",
    ),
)  # fmt: skip

STREAMING = listed(
    "generation/streaming.py",
    (
        "S50", "half a character is returned",
        ("if new.endswith(UNFINISHED) and len(self._waiting) < LONGEST:", "if False:"),
        "generate:only_whole_characters_are_returned",
    ),
    (
        "S51", "bytes that are no character are waited for without end",
        ("if new.endswith(UNFINISHED) and len(self._waiting) < LONGEST:",
         "if new.endswith(UNFINISHED):"),
        "generate:bytes_that_are_no_character_come_out",
    ),
    (
        "S52", "a token is decoded without the one before",
        ("self._before, self._waiting = self._waiting, []", "self._before, self._waiting = [], []"),
        "generate:a_token_is_decoded_after_the_one_before",
    ),
    (
        "S53", "the shortest beginning of a stop string is held back, not the longest",
        ("range(min(len(self._stop) - 1, len(text)), 0, -1)",
         "range(1, min(len(self._stop) - 1, len(text)) + 1)"), _STOP,
    ),
    (
        "S54", "what is held back is lost at the end",
        ("self._release(self._new_text()) + self._held", "self._release(self._new_text())"), _STOP,
    ),
    ("S55", "the stop string is printed", ("return text[:place]", "return text"), _STOP),
    (
        "S56", "after the stop string the text goes on",
        ('return "" if self.stopped else new', "return new"), _STOP,
    ),
)  # fmt: skip

MISTAKES = [*SAMPLING, *GREEDY, *GENERATE, *CACHE, *STREAMING]
