"""The cached step: twins, every prefix of a text, threads, batches, guards around every buffer."""

import tracemalloc

import numpy as np
import pytest

import gpt_numpy as gn
import gpt_numpy.kernels
import gpt_numpy.reference
from gpt_numpy.generation.kv_cache import Cache, decoding_settings, parameter_places
from gpt_numpy.kernels.engine import jit, pool
from gpt_numpy.reference.decoding import DecodingWeights, KeysValues
from tests.support.errors import TOLERANCE
from tests.support.guards import Guards

SHAPES = [
    {},
    {"n_layer": 1, "n_head": 1, "n_embd": 4, "vocab_size": 2, "block_size": 2},
    {"bias": False, "activation": "gelu", "n_head": 3, "n_embd": 39},
    {"activation": "relu", "tied": False, "positions": "sinusoidal", "n_embd": 130},
    {  # Llama's: grouped heads, SwiGLU, no biases
        "norm": "rmsnorm",
        "positions": "rotary",
        "activation": "swiglu",
        "bias": False,
        "n_head": 4,
        "n_kv_head": 2,
        "n_embd": 24,
        "n_inner": 19,
        "tied": False,
    },
    {  # nanochat's
        "norm": "rmsnorm",
        "positions": "rotary",
        "qk_norm": True,
        "activation": "relu2",
        "logit_softcap": 1.5,
        "norm_eps": 0.1,
        "n_head": 2,
        "n_kv_head": 1,
        "n_embd": 36,
        "tied": False,
    },
    {"positions": "none", "qk_norm": True, "activation": "swiglu", "n_head": 3, "n_embd": 9},
    {"n_head": 2, "n_embd": 300, "vocab_size": 1601, "block_size": 33},  # most tasks: the logits
    {"norm_eps": 0.1},
]


def make(ops="kernels", dtype="float32", **changes):
    sizes = {"vocab_size": 17, "block_size": 9, "n_layer": 2, "n_head": 2, "n_embd": 6}
    model = gn.GPT(gn.GPTConfig(**(sizes | changes)), ops=ops, dtype=dtype)
    model.params.flat[...] = 0.3 * np.random.default_rng(0).standard_normal(model.n_params)
    return model


def texts(model, count):
    config = model.config
    return np.random.default_rng(1).integers(0, config.vocab_size, (count, config.block_size))


@pytest.mark.parametrize("changes", SHAPES)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("ops", ["kernels", "reference"])
def test_every_prefix_gives_the_logits_of_the_whole_text(ops, dtype, changes):
    model = make(ops, dtype, **changes)
    T = model.config.block_size
    rows = texts(model, T)
    wanted = model.logits(rows)
    cache = Cache(model, T)
    for s in range(T):  # all lengths at once
        cache.fill(s, rows[s, :s])
    slots = np.arange(T)
    while slots.size:
        at = cache.lengths[slots]
        logits = cache.step(slots, rows[slots, at])
        error = np.abs(logits - wanted[slots, at]).max() / np.abs(wanted).max()
        assert error <= TOLERANCE[dtype]
        slots = slots[cache.lengths[slots] < T]


@pytest.mark.parametrize("changes", SHAPES)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_kernel_agrees_with_its_twin_and_writes_nothing_else(dtype, changes):
    model, exact = make("kernels", dtype, **changes), make("reference", "float64", **changes)
    exact.params.flat[...] = model.params.flat
    config, rng = model.config, np.random.default_rng(2)
    L, G, D, T = config.n_layer, config.n_groups, config.head_size, config.block_size
    slots, lengths = np.array([2, 0]), np.array([T - 1, 5, T // 2])
    tokens = rng.integers(0, config.vocab_size, 2)
    kept = [rng.standard_normal(s).astype(dtype) for s in ((L, 3, G, D, T), (L, 3, G, T, D))]
    guards, results = Guards(), []
    for m, kind in ((model, dtype), (exact, "float64")):
        k, v = (guards.array(array, kind, True) for array in kept)
        out = guards.array(np.full((2, config.vocab_size), np.nan), kind, True)
        params = guards.array(m.params.flat, kind, True)
        ops = gpt_numpy.kernels if m is model else gpt_numpy.reference
        ops.decode_step(
            tokens, slots, lengths, 
            DecodingWeights(params, parameter_places(m), m.positions, None, m.rotations),
            KeysValues(k, v), settings=decoding_settings(config), out=out,
        )  # fmt: skip
        assert (params == m.params.flat).all()
        results.append((out, k, v))
    guards.check()
    for ours, theirs in zip(*results, strict=True):
        assert np.abs(ours - theirs).max() <= TOLERANCE[dtype] * np.abs(theirs).max()


def bits(model, threads, groups):
    pool.set_threads(threads)
    try:
        cache, rows = Cache(model, 3), texts(model, 3)
        for s in range(3):
            cache.fill(s, rows[s, :s])
        found = {}
        for _ in range(4):
            for group in groups:
                slots = np.array(group)
                logits = cache.step(slots, rows[slots, cache.lengths[slots]])
                for s, row in zip(group, logits, strict=True):
                    found[s] = found.get(s, b"") + row.tobytes()
        return found
    finally:
        pool.set_threads(min(2, jit.numba.config.NUMBA_NUM_THREADS))


@pytest.mark.parametrize("changes", SHAPES[2:])
def test_neither_threads_nor_other_sequences_change_a_bit(changes):
    model = make(**changes)
    alone = bits(model, 1, [[0], [1], [2]])
    assert bits(model, 1, [[2, 0, 1]]) == alone
    if jit.numba.config.NUMBA_NUM_THREADS >= 2:
        assert bits(model, 2, [[0, 1, 2]]) == alone
        assert bits(model, 2, [[1], [0, 2]]) == alone


def test_a_copied_slot_goes_on_like_its_source():
    model = make()
    cache, rows = Cache(model, 3), texts(model, 1)
    cache.fill(0, rows[0, :4])
    cache.copy(0, 2)
    out = cache.step(np.array([0, 2]), np.array([7, 7]))
    assert (out[0] == out[1]).all() and cache.lengths.tolist() == [5, 0, 5]


def test_a_slot_can_be_filled_again():
    model = make()
    cache, rows = Cache(model, 1), texts(model, 2)
    cache.fill(0, rows[0])
    cache.fill(0, rows[1, :3])
    fresh = Cache(model, 1)
    fresh.fill(0, rows[1, :3])
    token = rows[1, 3:4]
    again = cache.step(np.zeros(1, int), token).copy()
    assert (again == fresh.step(np.zeros(1, int), token)).all()


def test_a_step_leaves_the_other_slots_as_they_are():
    model = make(ops="reference")
    cache, rows = Cache(model, 2), texts(model, 2)
    cache.fill(0, rows[0, :3])
    cache.fill(1, rows[1, :2])
    cache.step(np.array([0]), rows[:1, 3])
    assert cache.lengths.tolist() == [4, 2]
    alone = Cache(model, 1)
    alone.fill(0, rows[1, :2])
    found = cache.step(np.array([1]), rows[1:, 2]).copy()
    assert np.array_equal(found, alone.step(np.array([0]), rows[1:, 2]))


def test_steps_after_the_first_take_no_memory():
    model = make(vocab_size=4001, block_size=64, n_embd=64)
    cache = Cache(model, 2)
    slots, tokens = np.arange(2), np.zeros(2, np.int64)
    cache.step(slots, tokens)
    tracemalloc.start()
    for _ in range(20):
        cache.step(slots, tokens)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8192  # views and numbers of a call; the logits alone would be 32,008
