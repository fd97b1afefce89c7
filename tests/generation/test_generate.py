"""Generation: which tokens may be drawn, how often, and that a seed decides all draws."""

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.base.errors import InputError, NotFiniteError
from gpt_numpy.generation.generate import check_prompts, generate, stream
from gpt_numpy.generation.sampling import Sampler, Sampling
from gpt_numpy.generation.streaming import TextStream
from tests.support.sampling import next_distribution


@pytest.fixture
def model():
    config = gn.GPTConfig(vocab_size=11, block_size=8, n_layer=1, n_head=2, n_embd=8)
    model = gn.GPT(config, seed=1, ops="reference")
    model.params.flat[...] *= 20  # far from uniform
    return model


@pytest.fixture
def logits():
    return np.random.default_rng(0).standard_normal((50, 30)).astype(np.float32)


@pytest.mark.parametrize("k", [1, 2, 7, 29, 30, 31, 200])
def test_top_k_keeps_the_k_most_likely(logits, k):
    p = next_distribution(logits, 0.7, k)
    assert ((p > 0).sum(axis=-1) == min(k, 30)).all()
    kept = np.where(p > 0, logits, np.inf).min(axis=-1)
    dropped = np.where(p > 0, -np.inf, logits).max(axis=-1)
    assert (dropped < kept).all()
    assert np.allclose(p.sum(axis=-1), 1, rtol=1e-14)


@pytest.mark.parametrize("p", [1e-9, 0.3, 0.5, 0.9, 0.999])
def test_top_p_keeps_the_fewest_most_likely_that_reach_p(logits, p):
    whole = next_distribution(logits)
    kept = next_distribution(logits, top_p=p)
    for before, after in zip(whole, kept, strict=True):
        ordered = np.sort(before)[::-1].cumsum()
        assert (after > 0).sum() == np.searchsorted(ordered, p) + 1
        assert before[after > 0].min() > before[after == 0].max(initial=0)
        assert np.allclose(after[after > 0], before[after > 0] / before[after > 0].sum())


def test_zero_and_one_leave_the_softmax_unchanged(logits):
    z = logits.astype(np.float64)
    expected = np.exp(z / 0.5) / np.exp(z / 0.5).sum(axis=-1, keepdims=True)
    for top_k, top_p in ((0, 1.0), (30, 1.0), (31, 1.0)):
        assert np.allclose(next_distribution(logits, 0.5, top_k, top_p), expected, rtol=1e-13)


@pytest.mark.parametrize("temperature", [0.0, 5e-324, 1e-300])
def test_at_temperature_zero_the_most_likely_token_is_certain(logits, temperature):
    p = next_distribution(logits, temperature)
    assert (p == np.eye(30)[logits.argmax(axis=-1)]).all()


def test_temperature_zero_is_greedy_decoding(model):
    out = generate(model, np.array([[1, 2, 3]]), 12, temperature=0, seed=0)
    for end in range(3, 15):
        seen = out[:, max(0, end - 8) : end]
        assert out[0, end] == model.logits(seen)[0, -1].argmax()


def test_the_seed_decides_everything(model):
    start = np.ones((4, 2), dtype=np.int64)
    first = generate(model, start, 20, seed=5)
    assert (generate(model, start, 20, seed=5) == first).all()
    assert (generate(model, start, 20, seed=6) != first).any()
    everything = generate(model, start, 20, seed=5, top_k=0, top_p=1.0)
    assert (generate(model, start, 20, seed=5, top_k=None, top_p=None) == everything).all()
    assert len({tuple(row) for row in first.tolist()}) == 4


def test_draws_follow_the_distribution(model):
    draws = 40_000
    start = np.full((draws, 1), 3)
    p = next_distribution(model.logits(start[:1])[:, -1], 0.8, 9)[0]
    drawn = generate(model, start, 1, temperature=0.8, top_k=9, seed=2)[:, 1]
    counts = np.bincount(drawn, minlength=11)
    assert counts[p == 0].sum() == 0
    chi_square = ((counts - draws * p) ** 2)[p > 0] / (draws * p[p > 0])
    assert chi_square.sum() < 26.1  # 8 degrees of freedom: exceeded once in a thousand seeds


def test_the_model_sees_the_end_of_a_long_prompt_and_all_of_it_is_returned(model):
    rng = np.random.default_rng(3)
    long = rng.integers(0, 11, (2, 30))
    out = generate(model, long, 10, seed=1)
    assert out.shape == (2, 40)
    assert (out[:, :30] == long).all()
    assert (generate(model, long[:, -8:], 10, seed=1)[:, 8:] == out[:, 30:]).all()


def test_a_single_sequence_is_returned_as_a_vector(model):
    row = generate(model, np.array([1, 2], dtype=np.uint16), 3, seed=1)
    assert row.shape == (5,)
    assert (generate(model, [[1, 2]], 3, seed=1)[0] == row).all()
    assert generate(model, [1, 2], 0).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"max_new_tokens": -1}, "max_new_tokens=-1"),
        ({"max_new_tokens": 1.5}, "max_new_tokens=1.5"),
        ({"temperature": -1}, "temperature=-1"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"top_k": -1}, "top_k=-1"),
        ({"top_k": 2.0}, "top_k=2.0"),
        ({"min_p": -0.1}, "min_p=-0.1"),
        ({"min_p": 1.1}, "min_p=1.1"),
        ({"repetition_penalty": 0}, "repetition_penalty=0"),
        ({"window": "third"}, "window='third'"),
        ({"temperature": "1"}, "temperature='1'"),
        ({"tokens": [[1], []]}, r"tokens\[1\] has shape"),
        ({"tokens": [[1], [1, 11]]}, r"tokens\[1\] contains 11"),
        ({"tokens": []}, "shape"),
        ({"top_p": 0.0}, "top_p=0.0"),
        ({"top_p": 1.5}, "top_p=1.5"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": 2**64}, "seed="),
        ({"tokens": [[11]]}, "contains 11"),
        ({"tokens": [[-1] + [0] * 30]}, "contains -1"),
        ({"tokens": [[0.5]]}, "float64"),
        ({"tokens": [[]]}, "shape"),
        ({"tokens": 3}, "shape"),
        ({"tokens": None}, "tokens=None: must be an array of integers"),
        ({"tokens": np.ma.masked_array([[1, 2]], [[0, 1]])}, "tokens is a masked array"),
        ({"tokens": [np.ma.masked_array([1]), [1, 2]]}, r"tokens\[0\] is a masked array"),
        ({"tokens": [[[1]]]}, "shape"),
    ],
)
def test_wrong_arguments_are_refused(model, changed, message):
    given = {"tokens": [[1]], "max_new_tokens": 1} | changed
    with pytest.raises(InputError, match=message):
        generate(model, given.pop("tokens"), given.pop("max_new_tokens"), **given)


def test_a_model_that_is_not_finite_generates_nothing(model):
    model.params["ln_f.weight"][0] = np.nan
    with pytest.raises(NotFiniteError, match="not finite"):
        generate(model, [[1]], 1)


def uncached(model, prompt, count, how):
    """The same tokens with all logits recomputed in every step, as nanoGPT does."""
    sampler, text = Sampler(how, model.config.vocab_size, 1), list(prompt)
    sampler.note(0, np.array(prompt))
    for _ in range(count):
        seen = np.array([text[-model.config.block_size :]])
        text.append(sampler.draw(0, model.logits(seen)[0, -1]))
    return text


@pytest.mark.parametrize("ops", ["reference", "kernels"])
@pytest.mark.parametrize("length", [1, 3, 7, 8, 9, 20])
@pytest.mark.parametrize("changed", [{"temperature": 0}, {}, {"repetition_penalty": 1.7}])
def test_the_tokens_are_those_of_the_uncached_forward(ops, length, changed):
    config = gn.GPTConfig(vocab_size=11, block_size=8, n_layer=2, n_head=2, n_embd=8)
    model = gn.GPT(config, seed=1, ops=ops)
    model.params.flat[...] *= 20
    prompt = np.random.default_rng(length).integers(0, 11, length)
    out = generate(model, prompt, 14, seed=3, **changed)
    assert out.tolist() == uncached(model, prompt, 14, Sampling(**({"seed": 3} | changed)))


def test_sequences_of_different_lengths_get_what_each_gets_alone(model):
    rows = [[1], [1, 2, 3], [4] * 8, [5] * 11]
    together = generate(model, rows, 12, seed=2)
    assert [len(row) for row in together] == [13, 15, 20, 23]
    assert together[0].tolist() == generate(model, rows[0], 12, seed=2).tolist()
    changed = generate(model, [[1], [7, 7], [4] * 8, [5] * 11], 12, seed=2)
    for b in (0, 2, 3):
        assert (together[b] == changed[b]).all()
    assert [len(row) for row in generate(model, rows, 0)] == [1, 3, 8, 11]


def test_half_a_window_continues_from_the_last_half(model):
    out = generate(model, [1, 2], 20, temperature=0, window="half")
    full = generate(model, [1, 2], 20, temperature=0)
    assert (out[:9] == full[:9]).all()  # as long as it fits
    text, begin = [1, 2], 0
    while len(text) < 22:
        if len(text) - begin > 8:
            begin = len(text) - 4
        text.append(int(model.logits(np.array([text[begin:]]))[0, -1].argmax()))
    assert out.tolist() == text


def test_a_context_of_one_token():
    config = gn.GPTConfig(vocab_size=5, block_size=1, n_layer=1, n_head=1, n_embd=4)
    model = gn.GPT(config, ops="reference")
    model.params.flat[...] *= 20
    wanted = uncached(model, [3], 6, Sampling(temperature=0))
    for window in ("full", "half"):
        assert generate(model, [3], 6, temperature=0, window=window).tolist() == wanted


@pytest.mark.parametrize("min_p", [0.05, 0.5, 1.0])
def test_min_p_keeps_what_is_likely_enough(logits, min_p):
    whole = next_distribution(logits)
    kept = next_distribution(logits, min_p=min_p)
    likely = whole >= min_p * whole.max(axis=-1, keepdims=True) * (1 - 1e-12)
    assert ((kept > 0) == likely).all()
    assert np.allclose(kept.sum(axis=-1), 1)


def test_a_penalty_lowers_the_logits_of_tokens_that_occur():
    for logits, drawn in (([2.0, 1.5], 1), ([2.0, 0.9], 0), ([-1.0, -1.9], 1), ([-1.0, -2.1], 0)):
        sampler = Sampler(Sampling(temperature=0, repetition_penalty=2.0), 2, 1)
        sampler.note(0, np.array([0]))
        assert sampler.draw(0, np.array(logits)) == drawn


def test_log_probabilities_are_those_of_the_model(model):
    prompts, _ = check_prompts(model, [[1, 2]])
    how = Sampling(temperature=0.5, top_k=3, seed=4)
    text = [1, 2]
    for drawn in stream(model, prompts, 5, how, log_probabilities=True):
        p = next_distribution(model.logits(np.array([text]))[:, -1])[0]
        assert drawn.log_probability == pytest.approx(np.log(p[drawn.token]), abs=1e-5)
        text.append(drawn.token)
    assert all(d.log_probability is None for d in stream(model, prompts, 2, how))


def test_a_finished_sequence_leaves_the_others_as_they_are(model):
    prompts, _ = check_prompts(model, np.ones((3, 2), int))
    whole = generate(model, np.ones((3, 2), int), 12, seed=9)
    texts = {b: [1, 1] for b in range(3)}
    for drawn in stream(
        model,
        prompts,
        12,
        Sampling(seed=9),
        finished=lambda d: d.sequence == 1 and len(texts[1]) > 4,
    ):
        texts[drawn.sequence].append(drawn.token)
    assert [len(texts[b]) for b in range(3)] == [14, 6, 14]
    for b, text in texts.items():
        assert whole[b, : len(text)].tolist() == text


def streamed(stop, pieces):
    stream = TextStream(lambda tokens: "".join(pieces[t] for t in tokens), stop)
    out = [stream.add(t) for t in range(len(pieces))]
    return [*out, stream.end()], stream.stopped


def test_a_stop_string_is_found_across_tokens_and_never_printed():
    assert streamed("END", ["a", "bE", "N", "Dc"]) == (["a", "b", "", "", ""], True)
    assert streamed("END", ["a", "bE", "N", "ENx"]) == (["a", "b", "", "ENENx", ""], False)
    assert streamed("END", ["aE", "N"]) == (["a", "", "EN"], False)
    assert streamed("aab", ["a", "a", "a", "b"]) == (["", "", "a", "", ""], True)
    assert streamed("END", ["aEND", "b", "ENDc"]) == (["a", "", "", ""], True)
    assert streamed("", ["a", "b"]) == (["a", "b", ""], False)
    assert streamed("b", ["ab\ufffd"]) == (["", "a"], True)  # the last character is not whole


def test_only_whole_characters_are_returned():
    letters = "é→🙂".encode()

    def decode(tokens):
        return bytes(letters[t] for t in tokens).decode(errors="replace")

    stream = TextStream(decode)
    out = [stream.add(t) for t in range(len(letters))]
    assert out == ["", "é", "", "", "→", "", "", "", "🙂"] and stream.end() == ""
    broken = TextStream(decode)
    assert broken.add(0) == "" and broken.end() == "\ufffd"


def test_bytes_that_are_no_character_come_out():
    broken = TextStream(lambda tokens: bytes([0x80] * len(tokens)).decode(errors="replace"))
    out = [broken.add(0) for _ in range(20)]
    assert "".join(out) == "\ufffd" * 16 and out.index("\ufffd" * 8) == 7


def test_a_token_is_decoded_after_the_one_before():
    # As decoders do that drop the space before the first word.
    words = TextStream(lambda tokens: "".join(f" {t}" for t in tokens).removeprefix(" "))
    assert [words.add(token) for token in (5, 6, 7)] == ["5", " 6", " 7"]


def test_draws_are_the_same_in_every_version():
    logits = np.random.default_rng(0).standard_normal(40)
    drawn = []
    for top_k, top_p in ((0, 1.0), (9, 1.0), (0, 0.8)):
        sampler = Sampler(Sampling(1.0, top_k, top_p, seed=5), 40, 2)
        drawn.append([sampler.draw(b, logits) for b in (0, 1, 0, 1, 0, 1)])
    assert drawn == [
        [31, 30, 24, 19, 6, 33],
        [33, 33, 24, 19, 6, 38],
        [33, 33, 23, 19, 6, 34],
    ]


def test_a_penalty_counts_the_prompt_and_what_was_drawn():
    def sampler():
        return Sampler(Sampling(temperature=0, repetition_penalty=2.0), 4, 2)

    logits = np.array([4.0, 3.9, 3.8, 3.0])
    one = sampler()
    assert [one.draw(0, logits) for _ in range(4)] == [0, 1, 2, 3]
    one = sampler()
    one.note(0, np.array([0, 1, 2]))
    assert one.draw(0, logits) == 3 and one.draw(1, logits) == 0


def test_one_logit_that_is_not_finite_is_enough():
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(NotFiniteError):
            Sampler(Sampling(), 3, 1).draw(0, np.array([1.0, bad, 2.0]))


def test_top_k_of_one_is_the_most_likely_token(model):
    greedy = generate(model, [[1, 2], [3, 4]], 12, temperature=0)
    assert (generate(model, [[1, 2], [3, 4]], 12, top_k=1, temperature=1.5) == greedy).all()
    sampler = Sampler(Sampling(top_k=1), 3, 1)
    assert [sampler.draw(0, np.array([1.0, 2.0, 2.0])) for _ in range(5)] == [1] * 5


def test_prompts_that_end_alike_are_different_prompts(model):
    prompts = np.random.default_rng(1).integers(0, 11, (8, 6))
    prompts[:, -2:] = 3, 7
    together = generate(model, prompts, 8, temperature=0)
    for row in together:
        assert (generate(model, row[:6], 8, temperature=0) == row).all()
    assert len({tuple(row[6:]) for row in together.tolist()}) > 1


def test_equal_prompts_get_what_each_gets_alone(model):
    prompt = [3, 1, 4, 1, 5]
    alone = generate(model, prompt, 9, temperature=0)
    assert (generate(model, [prompt] * 3, 9, temperature=0) == alone).all()


def test_no_limit_is_no_limit():
    config = gn.GPTConfig(vocab_size=1000, block_size=4, n_layer=1, n_head=1, n_embd=4)
    model = gn.GPT(config, seed=1, ops="reference")
    start = np.zeros((60, 1), int)
    free = generate(model, start, 1, top_k=None, temperature=1.0)
    assert (free == generate(model, start, 1, top_k=0, temperature=1.0)).all()
    assert (free != generate(model, start, 1, top_k=200, temperature=1.0)).any()


# ---------------------------------------------------------------- equal tokens, and the ends


def test_of_equal_tokens_top_k_keeps_the_first_wherever_they_are():
    logits = np.array([[2.0, 5.0, 2.0, 2.0, 5.0, 2.0]])
    for k, kept in ((1, [1]), (2, [1, 4]), (3, [0, 1, 4]), (4, [0, 1, 2, 4]), (5, [0, 1, 2, 3, 4])):
        assert np.flatnonzero(next_distribution(logits, top_k=k)[0]).tolist() == kept
    (greedy,) = next_distribution(logits, temperature=0)
    assert np.flatnonzero(greedy).tolist() == [1]


def test_of_equal_tokens_top_p_keeps_the_first_and_no_more_than_needed():
    equal = np.zeros((1, 8))  # of probability 1/8 each, exactly
    for top_p, count in ((1e-9, 1), (0.125, 1), (0.126, 2), (0.25, 2), (0.5, 4), (0.51, 5)):
        (p,) = next_distribution(equal, top_p=top_p)
        assert p.tolist() == [1 / count] * count + [0] * (8 - count)
    peak = np.log([[0.125, 0.25, 0.25, 0.25, 0.125]])
    for top_p, kept in ((0.2, [1]), (0.4, [1, 2]), (0.7, [1, 2, 3]), (0.8, [0, 1, 2, 3])):
        assert np.flatnonzero(next_distribution(peak, top_p=top_p)[0]).tolist() == kept


def test_top_p_is_a_share_of_what_top_k_leaves():
    logits = np.log([[0.4, 0.3, 0.2, 0.1]])
    (p,) = next_distribution(logits, top_k=2, top_p=0.6)  # 0.57 and 0.43 are left
    assert np.flatnonzero(p).tolist() == [0, 1]
    (p,) = next_distribution(logits, top_k=2, top_p=0.57)
    assert np.flatnonzero(p).tolist() == [0]


@pytest.mark.parametrize("prompt", [[4, 2], [2, 4, 4], [9, 0, 5], [0, *[1] * 20], [3]])
def test_the_penalty_holds_for_all_of_the_prompt_and_for_drawn_tokens(model, prompt):
    """Greedy, with token 0 the most likely one, 1 the next: each comes once. block_size is 8."""
    model.params.flat[...] = 0
    model.params["ln_f.bias"][0] = 1
    model.params["wte.weight"][:, 0] = np.arange(11, 0, -1) * 0.1
    unseen = [token for token in range(11) if token not in prompt]
    new = generate(model, prompt, len(unseen), temperature=0, repetition_penalty=1e6)
    assert new[len(prompt) :].tolist() == unseen


class Fixed:
    """A stream of random words that are all the same."""

    def __init__(self, word):
        self.word = word

    def random_raw(self):
        """The word."""
        return self.word


@pytest.mark.parametrize("how", [{}, {"top_k": 3}, {"top_p": 0.6}, {"min_p": 0.2}])
@pytest.mark.parametrize("word", [0, 2**64 - 1])
def test_the_smallest_and_the_largest_uniform_draw_a_token_that_may_be_drawn(how, word):
    logits = np.log(np.array([1e-300, 0.1, 0.4, 0.1, 0.3, 1e-300]))
    (p,) = next_distribution(logits[None], **{"top_k": 0, **how})
    sampler = Sampler(Sampling(1.0, **{"top_k": 0, **how}), 6, 1)
    sampler._streams = [Fixed(word)]
    possible = np.flatnonzero(p)
    assert sampler.draw(0, logits) in (possible[:1] if word == 0 else possible)


def test_a_uniform_of_zero_never_draws_a_token_without_weight():
    sampler = Sampler(Sampling(1.0, top_k=0, top_p=0.5), 4, 1)
    sampler._streams = [Fixed(0)]
    assert sampler.draw(0, np.array([0.0, 0.0, 9.0, 1.0])) == 2


def test_tokens_beyond_the_given_number_are_never_drawn():
    logits = np.array([0.0, 1.0, 5.0, 9.0])
    for how in ({"temperature": 0}, {"top_k": 1}, {"top_k": 2}, {"top_p": 0.1}, {"min_p": 0.9}):
        sampler = Sampler(Sampling(**how, vocab_size=2), 4, 1)
        assert {sampler.draw(0, logits) for _ in range(50)} <= {0, 1}
    sampler = Sampler(Sampling(temperature=0), 4, 1)
    assert sampler.draw(0, logits) == 3
