"""Generation with bfloat16 products: rounded as in the forward pass, from copies never stale."""

import numpy as np
import pytest

import gpt_numpy as gn
import gpt_numpy.kernels
import gpt_numpy.reference
from gpt_numpy.generation.generate import stream
from gpt_numpy.generation.kv_cache import Cache, decoding_settings, parameter_places
from gpt_numpy.generation.sampling import Sampling
from gpt_numpy.kernels.engine import jit
from gpt_numpy.reference.bfloat16 import stored
from gpt_numpy.reference.decoding import DecodingWeights, KeysValues
from tests.generation.test_kv_cache import SHAPES, bits, make, texts
from tests.support.guards import Guards

# The first two have odd numbers of channels, with and without eight pairs, and few operands.
ALL = [{"n_head": 1, "n_embd": 17}, {"n_head": 5, "n_embd": 35, "tied": False}, *SHAPES]
CASES = [
    pytest.param(ops, changes, id=f"{ops}{k}")
    for ops in ("kernels", "reference")
    for k, changes in enumerate(ALL)
    if ops == "kernels" or changes.get("n_embd", 0) < 200  # the reference would take minutes
]


def twins(ops="kernels", **changes):
    """The same model in bfloat16 and float32."""
    return make(ops, "bfloat16", **changes), make(ops, "float32", **changes)


def distance(a, b):
    """Root mean square difference."""
    return np.sqrt(np.mean((a - b) ** 2))


def limit(changes):
    """How far two implementations may be apart, as a share of the whole effect of rounding.

    What is an ulp next to the middle of two bfloat16 numbers rounds one way here, the other there;
    among few operands that is rare. An operand that one of the two does not round at all adds a
    good part of the whole effect.
    """
    return 0.02 if changes.get("n_embd", 6) < 20 else 0.25


@pytest.mark.parametrize(("ops", "changes"), CASES)
def test_every_prefix_gives_the_logits_of_the_whole_text(ops, changes):
    rounded, exact = twins(ops, **changes)
    T = rounded.config.block_size
    rows = texts(rounded, T)
    wanted, single = rounded.logits(rows), exact.logits(rows)
    cache = Cache(rounded, T)
    for s in range(T):
        cache.fill(s, rows[s, :s])
    found, slots = np.empty_like(wanted), np.arange(T)
    started = np.arange(T)[:, None] <= np.arange(T)
    while slots.size:
        at = cache.lengths[slots]
        found[slots, at] = cache.step(slots, rows[slots, at])
        slots = slots[cache.lengths[slots] < T]
    effect = distance(single[started], wanted[started])
    assert 0 < effect and distance(found[started], wanted[started]) < limit(changes) * effect


@pytest.mark.parametrize("changes", ALL)
def test_the_kernel_agrees_with_its_twin_and_writes_nothing_else(changes):
    model = make("kernels", "bfloat16", **changes)
    config, rng = model.config, np.random.default_rng(2)
    L, G, D, T = config.n_layer, config.n_groups, config.head_size, config.block_size
    slots, lengths = np.array([2, 0]), np.array([T - 1, 5, T // 2])
    tokens, places = rng.integers(0, config.vocab_size, 2), parameter_places(model)
    kept = [rng.standard_normal(s).astype("f4") for s in ((L, 3, G, D, T), (L, 3, G, T, D))]
    guards, results = Guards(), []
    settings = decoding_settings(config)
    sizes = {"settings": settings, "vocab_size": config.vocab_size}
    for ops, rounding in (
        (gpt_numpy.kernels, True), (gpt_numpy.reference, True), (gpt_numpy.reference, False)
    ):  # fmt: skip
        params, copies = guards.array(model.params.flat, "f4", True), None
        if rounding:
            made = ops.decoding_copies(params, places, **sizes)
            copies = guards.array(made, made.dtype, True)
        k, v = (guards.array(array, "f4", True) for array in kept)
        out = guards.array(np.full((2, config.vocab_size), np.nan), "f4", True)
        ops.decode_step(
            tokens, slots, lengths,
            DecodingWeights(params, places, model.positions, copies, model.rotations),
            KeysValues(k, v), settings=settings, out=out,
        )  # fmt: skip
        assert np.array_equal(params, model.params.flat)
        assert copies is None or np.array_equal(copies, made)
        results.append((out, k, v))
    guards.check()
    for ours, theirs, single in zip(*results, strict=True):
        effect = distance(theirs, single)
        assert 0 < effect and distance(ours, theirs) < limit(changes) * effect


@pytest.mark.parametrize("changes", ALL)
def test_the_copies_are_the_rounded_matrices_bit_for_bit(changes):
    model = make("kernels", "bfloat16", **changes)
    special = np.float32([np.nan, np.inf, -0.0, 1e-40, 3.4e38, 1 + 2.0**-8, 1 + 3 * 2.0**-8])
    model.params.flat[::3] = np.resize(special, model.params.flat[::3].size)
    config = model.config
    C, V = config.n_embd, config.vocab_size
    pairs = gpt_numpy.kernels.decoding_copies(
        model.params.flat, parameter_places(model), settings=decoding_settings(config), vocab_size=V
    )
    at = 0
    for i in range(config.n_layer):
        for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"):
            wanted = stored(model.params[f"h.{i}.{name}.weight"])
            rows, columns = -(-len(wanted) // 2), wanted.shape[1]
            words = pairs[at : at + rows * columns].reshape(rows, columns)
            assert np.array_equal(words & 0xFFFF, wanted[::2])
            upper = np.pad(wanted[1::2], ((0, len(wanted) % 2), (0, 0)))
            assert np.array_equal(words >> 16, upper)
            at += words.size
    wanted = stored(model.params["wte.weight" if config.tied else "lm_head.weight"])
    half = -(-C // 2)
    words = pairs[at:].reshape(V, half)
    assert np.array_equal(words & 0xFFFF, wanted[:, :half])
    assert np.array_equal(words >> 16, np.pad(wanted[:, half:], ((0, 0), (0, C % 2))))


@pytest.mark.parametrize("changes", SHAPES[2:])
def test_neither_threads_nor_other_sequences_change_a_bit(changes):
    model = make("kernels", "bfloat16", **changes)
    alone = bits(model, 1, [[0], [1], [2]])
    assert bits(model, 1, [[2, 0, 1]]) == alone
    if jit.numba.config.NUMBA_NUM_THREADS >= 2:
        assert bits(model, 2, [[0, 1, 2]]) == alone
        assert bits(model, 2, [[1], [0, 2]]) == alone


@pytest.mark.parametrize("ops", ["kernels", "reference"])
def test_weights_that_change_between_two_generations_are_read_anew(ops):
    model = make(ops, "bfloat16")
    first = gn.generate(model, [1], 8, seed=3)
    optimizer = gn.AdamW(model, learning_rate=0.3)
    tokens, targets = np.random.default_rng(0).integers(0, 17, (2, 2, 9))
    model.forward(tokens, targets)
    model.backward()
    optimizer.step()
    second = gn.generate(model, [1], 8, seed=3)
    fresh = make(ops, "bfloat16")
    fresh.params.flat[...] = model.params.flat
    assert np.array_equal(second, gn.generate(fresh, [1], 8, seed=3))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("ops", ["kernels", "reference"])
def test_parameters_that_are_written_between_two_generations_are_read_anew(ops):
    model, fresh = make(ops, "bfloat16"), make(ops, "bfloat16")
    Cache(model, 1)
    memory = model.decoding_copies
    for name in ("h.0.mlp.c_fc.weight", "wte.weight"):
        for each in (model, fresh):
            each.params[name][-1, -1] += 0.5  # one number of a matrix
        found, wanted = Cache(model, 1), Cache(fresh, 1)
        fresh.decoding_copies = None  # so that the next cache does not write to it
        assert np.array_equal(model.decoding_copies, wanted._weights.copies)
        assert found._weights.copies is memory


def test_generations_of_one_model_may_take_turns():
    model, prompts = make("kernels", "bfloat16"), [np.array([1]), np.array([2])]
    alone = [[d.token for d in stream(model, [p], 6, Sampling(seed=3))] for p in prompts]
    turns = zip(*(stream(model, [p], 6, Sampling(seed=3)) for p in prompts), strict=True)
    assert [[d.token for d in drawn] for drawn in zip(*turns, strict=True)] == alone


def test_the_precision_may_change_between_two_generations():
    model, single = make("kernels", "bfloat16"), make("kernels")
    model.set_precision("float32")
    for s, tokens in enumerate(texts(model, 3)):
        caches = [Cache(m, 3) for m in (model, single)]
        for cache in caches:
            cache.fill(s, tokens[:4])
        one, other = (cache.step(np.array([s]), tokens[4:5]) for cache in caches)
        assert np.array_equal(one, other)
