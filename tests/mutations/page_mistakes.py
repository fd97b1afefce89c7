"""Mistakes in what is shown: traces, statistics, hooks, curves, and the contents of the page.

VV: the page; VT: the trace; VY: statistics; VQ: hooks; VW: curves.
"""

from tests.mutations.mistake import Mistake, edit, listed

ASSEMBLE, BACKWARDS, CONTENTS, ENCODING, CHECK, LENS, INFLUENCE, HISTORY = (
    f"inspection/page/{name}.py" for name in (
        "assemble", "backwards", "contents", "encoding", "gradient_check", "logit_lens",
        "token_influence", "training_history",
    )
)  # fmt: skip
DIAGRAM, LOOKUP, NORMS, OPERATION, OPERATIONS, RECOMPUTED, TRACE = (
    f"inspection/trace/{name}.py" for name in (
        "diagram", "lookup", "norms", "operation", "operations", "recomputed", "trace"
    )
)  # fmt: skip
STATISTICS, TABLE = (f"inspection/summary/{name}.py" for name in ("statistics", "table"))
HOOKS = "inspection/hooks/hooks.py"
DRAWING, LOG, MEASURED = (
    f"inspection/curves/{name}.py" for name in ("drawing", "history", "measured")
)

_ALL_NUMBERS = "page:test_every_number_on_the_page_is_that_of_the_trace"
_LENGTHS = "page:test_lengths_are_those_of_all_channels"
_HEADS = "page:test_no_group_has_channels_of_two_heads"
_NEURONS = "page:test_counts_of_neurons_are_of_single_neurons_and_dots_lie_on_the_curve"
_EQUATIONS = "page:test_equations_are_those_of_this_model"
_CHOSEN = "page:test_what_is_checked_depends_on_the_model_and_the_text_alone"
_VERDICT = "page:test_a_wrong_gradient_of_any_kind_gets_a_verdict_of_its_own"
_ALL_CHECKED = "page:test_the_gradient_check_finds_all_right_and_a_mistake_wrong"
_TOO_LONG = "page:test_a_text_that_is_too_long_is_told_how_many_tokens_fit"
_GROUPS = "page:test_large_arrays_are_grouped_and_far_too_large_ones_refused"
_ROWS = "page:test_rows_of_the_tables_and_the_distribution_are_those_of_the_trace"
_DIGITS = "page:test_packed_numbers_keep_three_digits"
_DAMAGED = "page:test_the_history_skips_damaged_lines_of_the_log"
_THINNED = "page:test_long_curves_are_thinned_and_keep_their_ends"
_FACTS = "page:test_what_is_said_of_a_curve_is_of_all_its_points"
_CODE = "page:test_the_lines_of_code_are_those_that_write_the_gradient"
_ORDER = "page:test_every_gradient_is_computed_before_a_step_reads_it"

_UPDATE = "inspect:test_the_update_is_that_of_the_next_step"
_ABLATED = "hooks:test_bad_arguments_of_ablate_are_refused"
_THROUGH = "hooks:test_gradients_through_a_function_are_exact"
_COMPARED = "curves:test_a_reference_is_drawn_and_compared_with"

MISTAKES = [
    Mistake(
        edit(
            "VV1", "packing: a lower triangle without its diagonal", ENCODING,
            "np.tril_indices(x.shape[-1])",
            "np.tril_indices(x.shape[-1], -1)",
        ),
        ("page:test_a_lower_triangle_is_half_as_long",),
    ),
    Mistake(
        edit(
            "VV2", "packing: half floats of numbers not rounded to three digits", ENCODING,
            "return np.where(usual, rounded, x)",
            "return x",
        ),
        (_DIGITS,),
    ),
    Mistake(
        edit(
            "VV3", "packing: the power of two of the mean instead of the largest", ENCODING,
            "float(finite.max()) if finite.size",
            "float(finite.mean()) if finite.size",
        ),
        (_ALL_NUMBERS,),
    ),
    Mistake(
        edit(
            "VV4", "packing: numbers below 1 keep three decimals, not three digits", ENCODING,
            "digits = 2 - np.floor(np.log10(np.where(usual, size, 1)))",
            "digits = 2 - np.maximum(np.floor(np.log10(np.where(usual, size, 1))), 0)",
        ),
        (_DIGITS,),
    ),
    Mistake(
        edit(
            "VV5", "a group is shown by its largest, not its largest in magnitude", ENCODING,
            "np.where(high >= -low, high, low)",
            "np.where(high >= low, high, low)",
        ),
        ("page:test_a_group_is_shown_by_its_largest_in_magnitude",),
    ),
    Mistake(
        edit(
            "VV6", "numbers that the page computes with are rounded", ENCODING,
            "    if wide:\n",
            "    if wide and False:\n",
        ),
        ("page:test_numbers_to_compute_with_are_not_rounded",),
    ),
    Mistake(
        edit(
            "VV7", "lengths over the positions instead of the channels", CONTENTS,
            "np.linalg.norm(vectors.astype(np.float64), axis=-1)",
            "np.linalg.norm(vectors.astype(np.float64), axis=0)",
        ),
        (_LENGTHS,),
    ),
    Mistake(
        edit(
            "VV8", "lengths of the vectors as they are shown, in groups", CONTENTS,
            "pack(_lengths(entry.value[0]))",
            "pack(_lengths(strongest(entry.value[0], (1,) * (entry.value.ndim - 2) + (group,))))",
        ),
        (_LENGTHS,),
    ),
    Mistake(
        edit(
            "VV9", "the streams have no lengths", CONTENTS,
            "with_lengths = {*streams, *sums,",
            "with_lengths = {*sums,",
        ),
        (_LENGTHS,),
    ),
    Mistake(
        edit(
            "VV10", "groups of channels across the border of two heads", CONTENTS,
            "array.reshape(len(array), -1, head_size)",
            "array.reshape(len(array), 1, -1)",
        ),
        (_HEADS,),
    ),
    Mistake(
        edit(
            "VV11", "heads are grouped as any channels are", CONTENTS,
            "if entry.name in {part.whole for part in parts(trace.config).values()}:",
            "if False:",
        ),
        (_HEADS,),
    ),
    Mistake(
        edit(
            "VV12", "active neurons are counted below the threshold", CONTENTS,
            "(after > ACTIVE).sum(axis=-1)",
            "(after >= -ACTIVE).sum(axis=-1)",
        ),
        (_NEURONS,),
    ),
    Mistake(
        edit(
            "VV13", "dots of the nonlinearity: the strongest after it, of another neuron", CONTENTS,
            "shown = strongest(before, (1, group)).astype(np.float64)",
            "shown = strongest(after, (1, group)).astype(np.float64)",
        ),
        (_NEURONS,),
    ),
    Mistake(
        edit(
            "VV15", "the weights above the diagonal are packed as if they were below", CONTENTS,
            'return name.endswith(".attn.probabilities") or (',
            'return name.endswith(".attn.scores") or name.endswith(".attn.probabilities") or (',
        ),
        ("page:test_scores_are_shown_above_the_diagonal_too",),
    ),
    Mistake(
        edit(
            "VV16", "channels are never grouped", CONTENTS,
            "max(math.ceil(math.log2(channels / left)), 0)",
            "min(math.ceil(math.log2(channels / left)), 0)",
        ),
        (_GROUPS,),
    ),
    Mistake(
        edit(
            "VV17", "a text that is too long: the number that fits is one too large", CONTENTS,
            "which holds {most + 1}; ",
            "which holds {most + 2}; ",
        ),
        (_TOO_LONG,),
    ),
    Mistake(
        edit(
            "VV18", "a page of any size is written", CONTENTS,
            "    if size <= LARGEST:\n",
            "    if size < math.inf:\n",
        ),
        (_TOO_LONG,),
    ),
    Mistake(
        edit(
            "VV19", "infinities get into the JSON", "inspection/page/facts.py",
            "if value is not None and math.isfinite(value) else None",
            "if value is not None else None",
        ),
        ("page:test_a_model_with_infinities_has_a_page",),
    ),
    Mistake(
        edit(
            "VV20",
            "the gradient of what a sublayer adds is its own, which nothing stores", CONTENTS,
            'about["grad"] = {"of": sums[row.name]}',
            'about["grad"] = {"of": row.name}',
        ),
        ("page:test_what_a_sublayer_adds_has_the_gradient_of_the_sum",),
    ),
    Mistake(
        edit(
            "VV21", "a large vocabulary: every logit is stored", CONTENTS,
            "large = trace.config.vocab_size > LARGEST_VOCABULARY",
            "large = False",
        ),
        ("page:test_a_large_vocabulary_has_names_and_no_map_of_logits",),
    ),
    Mistake(
        edit(
            "VV22", "a large vocabulary: the targets have no names", CONTENTS,
            'numbers |= set(found["tokens"]) | set(found["targets"])',
            'numbers |= set(found["tokens"])',
        ),
        ("page:test_a_large_vocabulary_has_names_and_no_map_of_logits",),
    ),
    Mistake(
        edit(
            "VV23", "the probability of the token that was read, not of the one to come", CONTENTS,
            "right = trace.targets[0][:, None]",
            "right = trace.tokens[0][:, None]",
        ),
        (_ROWS,),
    ),
    Mistake(
        edit(
            "VV24", "the logit lens: the stream before each sublayer", LENS,
            "p = _predictions(trace, head, stage.writes.name)",
            'p = _predictions(trace, head, stage.reads if "." in stage.reads else '
            '"embedding.out")',
        ),
        (_ROWS,),
    ),
    Mistake(
        edit(
            "VV25", "most likely tokens in no order", LENS,
            "return np.take_along_axis(some, order, axis=-1)",
            "return some",
        ),
        ("page:test_the_most_likely_tokens_come_in_order",),
    ),
    Mistake(
        edit(
            "VV26", "influence: every loss divided by 1, not by the number of tokens", INFLUENCE,
            "targets, divisor=T)",
            "targets, divisor=1)",
        ),
        ("page:test_influence_is_the_gradient_of_a_pass_with_a_single_target",),
    ),
    Mistake(
        edit(
            "VV27", "influence: the last batch of losses is left out", INFLUENCE,
            "range(0, T, SEQUENCES)",
            "range(0, T - SEQUENCES, SEQUENCES)",
            "norms = np.empty((T, T))",
            "norms = np.zeros((T, T))",
        ),
        ("page:test_influence_is_the_gradient_of_a_pass_with_a_single_target",),
    ),
    Mistake(
        edit(
            "VV28", "influence: no limit to its work", INFLUENCE,
            "if model.n_params * T * T > MOST_WORK:",
            "if False:",
        ),
        ("page:test_influence_is_left_out_where_it_would_take_long",),
    ),
    Mistake(
        edit(
            "VV30", "every gradient is said to be right", CHECK,
            "bool(error <= tolerance)",
            "bool(error >= 0)",
        ),
        (_VERDICT, _ALL_CHECKED),
    ),
    Mistake(
        edit(
            "VV31", "the error is measured by a hundred norms of the gradient", CHECK,
            "max(abs(slope), float(np.linalg.norm(grad)))",
            "max(abs(slope), 100 * float(np.linalg.norm(grad)))",
        ),
        ("page:test_the_error_is_relative_to_the_gradient",),
    ),
    Mistake(
        edit(
            "VV32", "the check stops by the clock: what it has is said to be all", CHECK,
            "if count >= len(names):",
            "if count >= len(names) // 100:",
        ),
        (_CHOSEN,),
    ),
    Mistake(
        edit(
            "VV33", "only the first arrays are checked, not some of everywhere", CHECK,
            "np.linspace(0, len(names) - 1, count)",
            "np.linspace(0, count - 1, count)",
        ),
        (_CHOSEN,),
    ),
    Mistake(
        edit(
            "VV34", "no limit to the number of parameters", CHECK,
            "if n_params > MOST_PARAMETERS:",
            "if n_params > 1e99:",
        ),
        (_CHOSEN,),
    ),
    Mistake(
        edit(
            "VV35", "one stage too many is not run again", CHECK,
            "islice(stages_of(oracle.config), first)",
            "islice(stages_of(oracle.config), first + 1)",
        ),
        (_ALL_CHECKED,),
    ),
    Mistake(
        edit(
            "VV36", "from the embedding up: streams that earlier checks have moved", CHECK,
            "key=lambda name: -stages[name]",
            "key=lambda name: stages[name]",
        ),
        (_ALL_CHECKED,),
    ),
    Mistake(
        edit(
            "VV37", "xhat moves the norm's output without its weight", CHECK,
            'moved * trace[node.arrays["weight"]].value',
            "moved",
        ),
        (_ALL_CHECKED,),
    ),
    Mistake(
        edit(
            "VV38", "scores are checked as if they were weights", CHECK,
            'if kind == "scores":',
            'if kind == "no such":',
        ),
        (_ALL_CHECKED,),
    ),
    Mistake(
        edit(
            "VV39", "a parameter that was moved stays where it was moved to", CHECK,
            "oracle.params[name].imag[...] = 0",
            "pass",
        ),
        (_ALL_CHECKED,),
    ),
    Mistake(
        edit(
            "VV40", "the steps of backward from the embedding to the loss", BACKWARDS,
            "backward = list(reversed(trace.diagram))",
            "backward = list(trace.diagram)",
        ),
        (_ORDER,),
    ),
    Mistake(
        edit(
            "VV41", "a step names itself as the other one of a sum", BACKWARDS,
            " and backward[k - 1] is not node]",
            "]",
        ),
        (_EQUATIONS,),
    ),
    Mistake(
        edit(
            "VV42", "the lines of code do not begin at the line of forward", BACKWARDS,
            "range(above[-1] if above else first, last + 1)",
            "range(first, last + 1)",
        ),
        (_CODE,),
    ),
    Mistake(
        edit(
            "VV43", "only the last line that writes a gradient is marked", BACKWARDS,
            '"marked": marked,',
            '"marked": marked[-1:],',
        ),
        (_CODE,),
    ),
    Mistake(
        edit(
            "VV44", "an equation of forward has a bias that the model does not have", DIAGRAM,
            'if "bias" in operation.backward and "bias" not in arrays:',
            "if False:",
        ),
        (_EQUATIONS,),
    ),
    Mistake(
        edit(
            "VV45", "the equation of a tied embedding leaves the head's half out", OPERATIONS,
            'if stage.backward_settings["tied"] else',
            'if not stage.backward_settings["tied"] else',
        ),
        (_EQUATIONS,),
    ),
    Mistake(
        edit(
            "VV46", "`<` gets into the page as it is", ASSEMBLE,
            '.replace("<", "\\\\u003c")',
            "",
        ),
        ("page:test_strings_of_the_run_are_only_in_the_json_and_cannot_end_it",),
    ),
    Mistake(
        edit(
            "VV47", "the policy allows any script", ASSEMBLE,
            "script-src '{_hash(script)}'",
            "script-src 'unsafe-inline'",
        ),
        ("page:test_the_policy_allows_only_this_style_and_this_script",),
    ),
    Mistake(
        edit(
            "VV50", "a thinned curve loses its end", HISTORY,
            "round(k * (len(points) - 1) / (most - 1))",
            "k * len(points) // most",
        ),
        (_THINNED,),
    ),
    Mistake(
        edit(
            "VV51", "the lowest loss of the points that are shown", HISTORY,
            "name: _facts(curve) for name, curve in curves.items() if curve",
            "name: _facts(_thinned(curve, MOST_POINTS)) for name, curve in curves.items() if curve",
        ),
        (_FACTS,),
    ),
    Mistake(
        edit(
            "VV52", "norms at the limit count as clipped", HISTORY,
            "norm > grad_clip for norm",
            "norm >= grad_clip for norm",
        ),
        (_FACTS,),
    ),
    Mistake(
        edit(
            "VV53", "lists of another length are taken for norms of a layer", HISTORY,
            "if isinstance(pair, list) and len(pair) == 2:",
            "if isinstance(pair, list):",
        ),
        (_DAMAGED,),
    ),
    Mistake(
        edit(
            "VV54", "a sample that is not a string", HISTORY,
            'if isinstance(entry.get("sample"), str)',
            'if "sample" in entry',
            'entry["sample"][:LONGEST_SAMPLE]',
            'str(entry["sample"])[:LONGEST_SAMPLE]',
        ),
        (_DAMAGED,),
    ),
    Mistake(
        edit(
            "VT1", "the key is the value's part of qkv", DIAGRAM,
            '("K", "key"), ("V", "value")', '("V", "value"), ("K", "key")',
        ),
        ("trace:test_every_activation_and_its_gradient_equal_pytorch[reference-A]",),
    ),
    Mistake(
        edit(
            "VT2", "a layer of two digits belongs to the head", DIAGRAM,
            '    if first == "h":\n',
            '    if first == "h" and rest[0] != "1":\n',
        ),
        ("inspect:test_the_table_shows_the_numbers_of_the_trace",),
    ),
    Mistake(
        edit(
            "VT3", "the order of gradients by the last reader of each array", DIAGRAM,
            'return ["losses", *reversed(order)]',
            'return ["losses", *dict.fromkeys(reversed([n.arrays[x] for n in listed '
            "for x in reversed(n.read)]))]",
        ),
        ("trace:test_the_orders_follow_the_computation[biased-reference]",),
    ),
    Mistake(
        edit(
            "VT4", "the gradient of a part is that of the whole", LOOKUP,
            "return None if whole is None else self._parts[name].view(whole)",
            "return whole",
        ),
        ("trace:test_every_activation_and_its_gradient_equal_pytorch[reference-A]",),
    ),
    Mistake(
        edit(
            "VT5", "a gradient is called with values instead of gradients", LOOKUP,
            "yield node.arrays.get(letter[1:]), True",
            "yield node.arrays.get(letter[1:]), False",
        ),
        ("trace:test_every_activation_and_its_gradient_equal_pytorch[reference-A]",),
    ),
    Mistake(
        edit(
            "VT6", "what a recomputed array needs is not kept", LOOKUP,
            "for table in (self.values, self.grads) if name in table",
            "for table in (self.grads,) if name in table",
        ),
        (
            "trace:test_only_what_a_pattern_names_is_kept_and_has_the_same_numbers[bi"
            "ased-reference]",
        ),
    ),
    Mistake(
        edit(
            "VT7", "norms of sequences: squares alone, no products between rows", NORMS,
            "return one.astype(np.float64) @ other.astype(np.float64).swapaxes(1, 2)",
            "return np.eye(one.shape[1]) * (one.astype(np.float64) @ "
            "other.astype(np.float64).swapaxes(1, 2))",
        ),
        (
            "trace:test_the_norm_of_a_sequence_equals_that_of_a_pass_over_it_alone[bi"
            "ased-reference]",
        ),
    ),
    Mistake(
        edit(
            "VT8", "norms: no products between the two halves of a tied weight", NORMS,
            "        for a2, b2 in listed\n    )",
            "        for a2, b2 in listed\n        if a1 is a2\n    )",
        ),
        (
            "trace:test_the_norm_of_a_sequence_equals_that_of_a_pass_over_it_alone[bi"
            "ased-reference]",
        ),
    ),
    Mistake(
        edit(
            "VT9", "norms of a norm's weight: dout without xhat", NORMS,
            'dout if letter == "bias" else dout * value(arrays["xhat"])',
            "dout",
        ),
        (
            "trace:test_the_norm_of_a_sequence_equals_that_of_a_pass_over_it_alone[bi"
            "ased-reference]",
        ),
    ),
    Mistake(
        edit(
            "VT10", "norms of the position table: the row of the token", NORMS,
            "np.broadcast_to(np.arange(dout.shape[1]), dout.shape[:2]), dout",
            'inputs["tokens"], dout',
        ),
        (
            "trace:test_the_norm_of_a_sequence_equals_that_of_a_pass_over_it_alone[bi"
            "ased-reference]",
        ),
    ),
    Mistake(
        edit(
            "VT11", "norms of tokens: those of sequences, spread over the tokens", NORMS,
            "x.reshape(B * T, 1, *x.shape[2:]) for x in both",
            "x.reshape(B * T, 1, *x.shape[2:])[::-1] for x in both",
        ),
        ("trace:test_norms_of_tokens_in_longer_sequences[biased-reference]",),
    ),
    Mistake(
        edit(
            "VT12", "the function of a gradient is that of forward", OPERATION,
            'name = table.get(direction, f"',
            'name = table.get("forward", f"',
        ),
        ("trace:test_the_function_of_a_step_was_called_with_that_array[biased-reference]",),
    ),
    Mistake(
        edit(
            "VT13", "an unknown layer has the equations of the head", OPERATIONS,
            "        return [_whole_layer(stage)]",
            "        return [HEAD]",
        ),
        (
            "trace:test_a_layer_without_equations_is_one_operation_with_all_its_array"
            "s[reference]",
        ),
    ),
    Mistake(
        edit(
            "VT14", "an unknown layer: gradients of the statistics, too", OPERATIONS,
            "for field, array in stage.kept.items() if array.grad]",
            "for field, array in stage.kept.items()]",
        ),
        (
            "trace:test_a_layer_without_equations_is_one_operation_with_all_its_array"
            "s[reference]",
        ),
    ),
    Mistake(
        edit(
            "VT15", "xhat without subtracting the mean", RECOMPUTED,
            "(x if mean is None else x - mean[..., None])",
            "(x if mean is not None else x)",
        ),
        ("trace:test_every_activation_and_its_gradient_equal_pytorch[reference-A]",),
    ),
    Mistake(
        edit(
            "VT16", "the gradient of scores without delta", RECOMPUTED,
            "return p * (dp - delta)",
            "return p * dp",
        ),
        ("trace:test_every_activation_and_its_gradient_equal_pytorch[reference-A]",),
    ),
    Mistake(
        edit(
            "VT17", "what a sublayer adds: without its bias", RECOMPUTED,
            "return x @ weight if bias is None else x @ weight + bias",
            "return x @ weight",
        ),
        ("trace:test_every_activation_and_its_gradient_equal_pytorch[reference-A]",),
    ),
    Mistake(
        edit(
            "VT18", "probabilities that need not sum to 1 where logits are large", RECOMPUTED,
            "return P / P.sum(axis=-1, keepdims=True)",
            "return P",
        ),
        ("trace:test_probabilities_of_large_logits_sum_to_1",),
    ),
    Mistake(
        edit(
            "VT19", "statistics are called activations", TRACE,
            "statistic = name in stored and not stored[name].grad",
            "statistic = name in stored and stored[name].grad",
        ),
        ("trace:test_every_activation_and_its_gradient_equal_pytorch[reference-A]",),
    ),
    Mistake(
        edit(
            "VT20", "a pattern that matches nothing is ignored", TRACE,
            '        if not found:\n            raise InputError(f"keep',
            '        if not names:\n            raise InputError(f"keep',
        ),
        ("trace:test_bad_arguments_and_unknown_names_are_refused[biased-reference]",),
    ),
    Mistake(
        edit(
            "VT21", "the terms of a gradient in the order of forward", TRACE,
            "steps[key] = (_step(node, letter, direction, sources, ops), *steps.get(key, ()))",
            "steps[key] = (*steps.get(key, ()), _step(node, letter, direction, sources, ops))",
        ),
        ("trace:test_terms_of_a_gradient_come_in_the_order_of_backward[biased-reference]",),
    ),
    Mistake(
        edit(
            "VT22", "norms of tokens over one head only", TRACE,
            "others = (1, 3) if grad.ndim == 4 else",
            "others = (3,) if grad.ndim == 4 else",
        ),
        ("trace:test_norms_of_tokens_in_longer_sequences[biased-reference]",),
    ),
    Mistake(
        edit(
            "VT23", "the norm of all gradients is that of the last array", TRACE,
            "math.sqrt(sum_of_squares(self._grads.flat))",
            "math.sqrt(sum_of_squares(self._grads.flat[-9:]))",
        ),
        ("inspect:test_the_update_is_that_of_the_next_step[0.01-AdamW]",),
    ),
    Mistake(
        edit(
            "VY1", "root mean square: the sum of squares is not divided", STATISTICS,
            "norm / math.sqrt(x.size))",
            "norm)",
        ),
        ("inspect:test_a_summary_has_the_right_statistics",),
    ),
    Mistake(
        edit(
            "VY2", "vanishing compared with the first block instead of the last", STATISTICS,
            "_comparisons(row, alike[0], alike[-1])",
            "_comparisons(row, alike[0], alike[0])",
        ),
        ("inspect:test_a_vanishing_gradient_is_marked",),
    ),
    Mistake(
        edit(
            "VY3", "an exploding gradient is not marked", STATISTICS,
            "if ratio < VANISHING or ratio > EXPLODING:",
            "if ratio < VANISHING:",
        ),
        ("inspect:test_an_exploding_gradient_is_marked",),
    ),
    Mistake(
        edit(
            "VY4", "exploding values are not marked", STATISTICS,
            "value.rms > EXPLODING * first.value.rms",
            "value.rms > EXPLODING * value.rms",
        ),
        ("inspect:test_exploding_values_are_marked",),
    ),
    Mistake(
        edit(
            "VY5", "a neuron is dead if it is silent once", STATISTICS,
            "(np.abs(value) <= SILENT).all(axis=(0, 1))",
            "(np.abs(value) <= SILENT).any(axis=(0, 1))",
        ),
        ("inspect:test_a_neuron_that_is_silent_at_some_positions_is_not_dead",),
    ),
    Mistake(
        edit(
            "VY6", "a tenth of the neurons is dead already below a tenth", STATISTICS,
            "if silent.mean() > DEAD:",
            "if silent.mean() > 0:",
        ),
        ("inspect:test_few_dead_neurons_are_not_marked",),
    ),
    Mistake(
        edit(
            "VY7", "saturated: the first query, which sees one key, counts", STATISTICS,
            "value[:, :, first:].max(axis=-1)",
            "value[:, :, :1].max(axis=-1)",
        ),
        ("inspect:test_nothing_is_marked_where_nothing_is_unusual",),
    ),
    Mistake(
        edit(
            "VY8", "the next update without clipping", STATISTICS,
            "optimizer.clip_factor(norm) if",
            "1.0 if",
        ),
        ("inspect:test_the_update_is_that_of_the_next_step[0.01-AdamW]",),
    ),
    Mistake(
        edit(
            "VY9", "the next update by the moments' step before", "training/optimizer.py",
            "step=self.steps + 1",
            "step=self.steps",
        ),
        ("inspect:test_the_update_is_that_of_the_next_step[0.0-AdamW]",),
    ),
    Mistake(
        edit(
            "VY10", "masked pairs count in the gradient of attention's weights", STATISTICS,
            "grad = np.where(value > 0, grad, 0)",
            "grad = np.asarray(grad)",
        ),
        ("page:test_the_norm_of_the_gradient_of_weights_leaves_masked_pairs_out",),
    ),
    Mistake(
        edit(
            "VY11", "arrays that are not finite are not marked", STATISTICS,
            '        yield "not finite"',
            '        yield "large"',
        ),
        ("inspect:test_arrays_that_are_not_finite_are_marked",),
    ),
    Mistake(
        edit(
            "VY12", "the table has the spread in the column of the mean", TABLE,
            "mean, spread, norm = numbers.mean, numbers.spread, numbers.norm",
            "spread, mean, norm = numbers.mean, numbers.spread, numbers.norm",
        ),
        ("inspect:test_the_table_shows_the_numbers_of_the_trace",),
    ),
    Mistake(
        edit(
            "VQ1", "ablation: the gradient passes through what was replaced", HOOKS,
            "lambda dout: np.where(where, 0, dout))",
            "lambda dout: dout)",
        ),
        ("hooks:test_no_gradient_passes_through_what_was_ablated",),
    ),
    Mistake(
        edit(
            "VQ2", "a head out of range is taken from the end", HOOKS,
            "if not 0 <= number < shape[axis]:",
            "if not -shape[axis] <= number < shape[axis]:",
        ),
        (_ABLATED,),
    ),
    Mistake(
        edit(
            "VQ3", "a head of an array without heads is its first position", HOOKS,
            "        if kind not in axes:\n",
            "        if kind not in ('head', *axes):\n",
            "axis = 1 + axes.index(kind)",
            "axis = 1 + (axes.index(kind) if kind in axes else 0)",
        ),
        (_ABLATED,),
    ),
    Mistake(
        edit(
            "VQ4", "gradients of several replacements in the order of forward", HOOKS,
            "in reversed(self.listed) if gradient else self.listed:",
            "in self.listed:",
        ),
        ("hooks:test_two_replacements_of_one_array_are_undone_in_reverse",),
    ),
    Mistake(
        edit(
            "VQ5", "the gradient of an array that replaces another is passed on", HOOKS,
            "new: Any = 0 if gradient else replacement",
            "new: Any = part.copy() if gradient else replacement",
        ),
        ("hooks:test_the_model_uses_the_replacement_within_the_block_only[reference]",),
    ),
    Mistake(
        edit(
            "VQ6", "an inner replacement undoes the outer one", HOOKS,
            "outer = before.listed if isinstance(before, Replacements) else []",
            "outer = [] if isinstance(before, Replacements) else []",
        ),
        ("hooks:test_a_trace_shows_the_replacement[reference]",),
    ),
    Mistake(
        edit(
            "VQ7", "after an error the replacement stays", HOOKS,
            "    try:\n        yield model\n    finally:\n        model.overrides = before",
            "    yield model\n    model.overrides = before",
        ),
        ("hooks:test_after_an_error_nothing_is_replaced",),
    ),
    Mistake(
        edit(
            "VQ8", "the change of a gradient that was zero is zero", HOOKS,
            "(math.inf if difference else 0.0)",
            "0.0",
        ),
        ("hooks:test_the_change_of_a_gradient_that_was_zero_is_infinite",),
    ),
    Mistake(
        edit(
            "VQ9", "statistics can be replaced", HOOKS,
            'if array.grad and n != "losses"]',
            'if n != "losses"]',
        ),
        (_ABLATED,),
    ),
    Mistake(
        edit(
            "VW1", "a damaged line ends the log", LOG,
            "            continue\n        if isinstance(entry, dict)",
            "            break\n        if isinstance(entry, dict)",
        ),
        ("curves:test_a_history_has_the_losses_of_the_log",),
    ),
    Mistake(
        edit(
            "VW2", "infinite losses are in the curve", LOG,
            "abs(value) <= sys.float_info.max",
            "abs(value) != sys.float_info.max",
        ),
        ("curves:test_a_history_has_the_losses_of_the_log",),
    ),
    Mistake(
        edit(
            "VW3", "true is an iteration", LOG,
            'type(entry.get("iter")) is int',
            'isinstance(entry.get("iter"), int)',
        ),
        ("curves:test_a_history_has_the_losses_of_the_log",),
    ),
    Mistake(
        edit(
            "VW4", "an empty log is drawn", LOG,
            "    if not (batches or train or val):\n",
            "    if not entries and val:\n",
        ),
        ("curves:test_bad_arguments_are_refused_in_one_line",),
    ),
    Mistake(
        edit(
            "VW5", "the loss before training is compared", MEASURED,
            "if i > 0 and i in measured.iterations]",
            "if i in measured.iterations]",
        ),
        ("curves:test_a_run_without_an_iteration_in_common_is_reported",),
    ),
    Mistake(
        edit(
            "VW6", "the first evaluation is compared, not the last", MEASURED,
            "iteration, loss = common[-1]",
            "iteration, loss = common[0]",
        ),
        ("curves:test_the_last_evaluation_is_compared",),
    ),
    Mistake(
        edit(
            "VW7", "a loss below the measured ones is within them", MEASURED,
            "    if loss < low:\n",
            "    if loss < 0:\n",
        ),
        (_COMPARED,),
    ),
    Mistake(
        edit(
            "VW8", "a run of another text is compared", MEASURED,
            'if history.data not in ("", measured.dataset):',
            'if history.data == "no such":',
        ),
        ("curves:test_a_run_of_another_text_is_not_measured_by_the_reference",),
    ),
    Mistake(
        edit(
            "VW9", "runs with other vocabularies are drawn without a word", LOG,
            "    if len({(h.vocab_size, h.data) for h in known}) < 2:",
            "    if len({h.data for h in known}) < 9:",
        ),
        ("curves:test_runs_over_other_texts_or_vocabularies_are_not_compared_without_a_word",),
    ),
    Mistake(
        edit(
            "VW10", "the reference is a line again", DRAWING,
            '"fmt": "D",',
            '"fmt": "D-",',
        ),
        ("curves:test_no_line_joins_the_measured_losses",),
    ),
    Mistake(
        edit(
            "VW11", "the bars of the reference upside down", DRAWING,
            'pairs = [(losses["mean"], losses["low"]), (losses["high"], losses["mean"])]',
            'pairs = [(losses["high"], losses["mean"]), (losses["mean"], losses["low"])]',
        ),
        ("curves:test_no_line_joins_the_measured_losses",),
    ),
    Mistake(
        edit(
            "VW12", "names at the ends over each other", DRAWING,
            "above = max(height, above + 0.045)",
            "above = height",
        ),
        ("curves:test_names_at_the_ends_do_not_lie_over_each_other",),
    ),
    Mistake(
        edit(
            "VW13", "any number of runs share the colours", DRAWING,
            "if len(histories) > MOST_RUNS:",
            "if len(histories) > 9 * MOST_RUNS:",
        ),
        ("curves:test_bad_arguments_are_refused_in_one_line",),
    ),
    Mistake(
        edit(
            "VW14", "names that begin with an underscore are not in the legend", DRAWING,
            'return f"./{shown}" if shown.startswith("_") else shown',
            "return shown",
        ),
        ("curves:test_an_svg_of_several_runs_names_everything",),
    ),
    *listed(
        "inspection/page/deflated.py",
        (
            "VL0", "parameters with characters that HTML escapes",
            ("*+-;,=.?@", "*+-;<=>?@"),
            "computes:the_parameters_arrive_as_they_are",
        ),
        (
            "VL90", "bytes of all weights are deflated mixed",
            ("numbers.itemsize).T", "numbers.itemsize)"),
            "page:test_packed_numbers_take_few_characters",
        ),
        (
            "VL91", "the end of what was packed is cut off",
            ("len(digits) - missing]", "len(digits) - 2 * missing]"), _DIGITS,
        ),
    ),
    *listed(
        "inspection/page/live.py",
        (
            "VL1", "a probe that does not feel an exchange of rows and columns",
            ("991 ** (array.ndim - 1 - axis)", "1"),
            "computes:a_probe_feels_every_number_and_every_exchange",
        ),
        (
            "VL2", "a model of any size travels in a page",
            ("if model.n_params > MOST_PARAMETERS:", "if model.n_params > 10**12:"),
            "computes:what_the_twin_does_not_know_is_recorded_and_said",
        ),
        (
            "VL3", "weights that the twin does not know are not noticed",
            ("set(stage.weights) - weights | set(stage.kept)", "set(stage.kept)"),
            "computes:what_the_twin_does_not_know_is_recorded_and_said",
        ),
        (
            "VL4", "what a layer keeps and the twin does not know is not noticed",
            (" | set(stage.kept) - kept)", ")"),
            "computes:what_the_twin_does_not_know_is_recorded_and_said",
        ),
        (
            "VL12", "a setting that the twin does not know is not noticed",
            ("if values is not None and value not in values:",
             "if values is not None and not values:"),
            "computes:what_the_twin_does_not_know_is_recorded_and_said",
        ),
        (
            "VL5", "a layer that the twin does not know is not noticed",
            ("return [stage.layer]", "return []"),
            "computes:what_the_twin_does_not_know_is_recorded_and_said",
        ),
        (
            "VL6", "numbers of a model without characters cannot be told from characters",
            ("list(tokenizer.characters) if isinstance(tokenizer, CharTokenizer) else None",
             'list(getattr(tokenizer, "characters", "?"))'),
            "computes:tokens_that_are_no_characters_have_no_characters",
        ),
    ),
    *listed(
        CONTENTS,
        (
            "VL15", "scores of long texts are stored whole",
            ("whole = not gradient and T <= MOST_WHOLE", "whole = not gradient"),
            "page:test_scores_of_a_long_text_are_stored_behind_the_mask_only",
        ),
    ),
    *listed(
        OPERATIONS,
        (
            "VL13", "a model whose queries and keys only turn has the equation of a norm",
            ("NORMED if normed else TURNED", "NORMED if turned else TURNED"),
            "computes:queries_and_keys_have_the_equations_of_this_model",
        ),
    ),
    *listed(
        BACKWARDS,
        (
            "VL10", "the weights of attention are not needed for their average",
            ('{("attention", "p"): "w", ("head", "x"): "norm"}', "{}"),
            "page:test_what_a_step_needs_from_forward_is_what_its_equations_read",
        ),
        (
            "VL14", "the norm of queries and keys needs nothing from forward",
            ('OTHER_LETTERS |= {("queries_keys", "qkv"): "x"}\n', ""),
            "computes:queries_and_keys_have_the_equations_of_this_model",
        ),
        (
            "VL11", "words of an equation are taken for arrays",
            ('texts = re.sub(r"\\(what .*?\\)", "", texts)', "texts = texts.strip()"),
            "page:test_what_a_step_needs_from_forward_is_what_its_equations_read",
        ),
    ),
    *listed(
        "inspection/page/earlier.py",
        (
            "VL8", "earlier checkpoints without a limit of their size",
            ("min(len(iterations), MOST, MOST_PARAMETERS // run.model.n_params)",
             "min(len(iterations), MOST)"),
            "computes:earlier_checkpoints_travel_too_as_many_as_fit",
        ),
        (
            "VL9", "an earlier checkpoint of another shape travels",
            ("if model.config == run.config:", "if model.config:"),
            "computes:earlier_checkpoints_travel_too_as_many_as_fit",
        ),
    ),
    *listed(
        "inspection/page/assemble.py",
        (
            "VL7", "a page without a worker allows one",
            ('"worker-src blob:; " if twin else ""', '"worker-src blob:; "'),
            "computes:the_worker_is_allowed_where_there_is_one",
        ),
    ),
    *listed(
        "base/html_table.py",
        (
            "VN1", "cells are not escaped",
            ("{escape(cell)}", "{cell}"),
            "notebook:numbers_stand_at_the_right_and_everything_is_escaped",
        ),
        (
            "VN2", "all columns at the left",
            ('"left" if k in left else "right"', '"left"'),
            "notebook:numbers_stand_at_the_right_and_everything_is_escaped",
        ),
    ),
    *listed(
        "gradients/report.py",
        (
            "VN3", "a wrong gradient is exact in a notebook",
            ('"✓ exact" if row.ok else "✗ WRONG"', '"✓ exact"'),
            "notebook:a_gradient_check_shows_its_verdicts_and_what_is_wrong",
        ),
        (
            "VN4", "a column of diagnoses without any",
            ("columns = 5 + any(row.diagnosis for row in self.rows)", "columns = 6"),
            "notebook:a_gradient_check_shows_its_verdicts_and_what_is_wrong",
        ),
    ),
    *listed(
        TRACE,
        (
            "VN5", "the norm of the array in place of that of its gradient",
            ("{_norm(grad):.3g}", "{_norm(entry.value):.3g}"),
            "notebook:a_trace_shows_every_array_with_both_norms_and_its_equation",
        ),
    ),
]  # fmt: skip
