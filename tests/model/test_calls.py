"""Sublayers whose launches are repeated: the same bits as when Python runs them every time."""

import gc
import tracemalloc
import weakref

import numpy as np
import pytest

from gpt_numpy import GPT, AdamW, GPTConfig
from gpt_numpy.kernels.engine import jit, pool

CONFIG = GPTConfig(
    vocab_size=17, block_size=24, n_layer=2, n_head=2, n_embd=16, dropout=0.25, bias=True
)
POOL = min(2, jit.numba.config.NUMBA_NUM_THREADS)


class Plain:
    """The same functions, without `repeat`."""

    def __init__(self, ops):
        self._ops = ops

    def __getattr__(self, name):
        function = getattr(self._ops, name)
        return lambda *arguments, **keywords: function(*arguments, **keywords)


def two_models(keep=()):
    repeating, plain = GPT(CONFIG, seed=3, keep=keep), GPT(CONFIG, seed=3, keep=keep)
    plain.ops = Plain(plain.ops)
    return repeating, plain


def passes(model, rng, shape, key=None, accumulate=False):
    """A pass over random tokens, with everything that it writes set to NaN before."""
    tokens, targets = rng.integers(0, CONFIG.vocab_size, (2, *shape))
    if not accumulate:
        model.grads.flat[...] = np.nan
    model._buffers.prepare(*shape)
    model._buffers._store[...] = np.nan
    loss = model.forward(tokens, targets, dropout_key=key)
    acts = {name: array.copy() for name, array in model.activations.items()}
    model.backward(accumulate=accumulate)
    grads = {name: array.copy() for name, array in model.activation_grads.items()}
    return loss, acts, grads, model.grads.flat.copy()


@pytest.mark.parametrize("keep", [(), ("*",), ("h.*.resid_mid", "h.1.attn.qkv")])
def test_repeated_launches_compute_the_same_bits(keep):
    repeating, plain = two_models(keep)
    # Shapes in turn, larger ones that need more room, dropout between, and micro-batches added up.
    calls = [((2, 5),), ((2, 5),), ((3, 24),), ((2, 5),), ((2, 5), 7), ((2, 5), 8), ((2, 5),)]
    calls += [((2, 5), None, True), ((2, 5), None, True), ((40, 24),), ((3, 24),), ((2, 5),)]
    for n, call in enumerate(calls):
        results = [passes(m, np.random.default_rng(n), *call) for m in (repeating, plain)]
        (loss, acts, dacts, grads), (loss_2, acts_2, dacts_2, grads_2) = results
        assert loss == loss_2 and np.array_equal(grads, grads_2), call
        assert np.isfinite(grads).all()
        for one, other in ((acts, acts_2), (dacts, dacts_2)):
            assert one.keys() == other.keys()
            assert all(np.array_equal(one[k], other[k], equal_nan=True) for k in one), call


def test_launches_are_noted_anew_for_another_number_of_threads():
    repeating, plain = two_models()
    before = pool.threads()
    try:
        for n, count in enumerate((1, POOL, 1, POOL)):
            pool.set_threads(count)
            for model in (repeating, plain):
                passes(model, np.random.default_rng(n), (3, 24))
            assert np.array_equal(repeating.grads.flat, plain.grads.flat)
    finally:
        pool.set_threads(before)


def test_repeated_launches_read_parameters_that_an_optimizer_changed():
    repeating, plain = two_models()
    losses = []
    for model in (repeating, plain):
        optimizer, rng = AdamW(model, learning_rate=1e-2), np.random.default_rng(0)
        losses.append([])
        for _ in range(4):
            losses[-1].append(passes(model, rng, (3, 24))[0])
            optimizer.step()
    assert losses[0] == losses[1] and len(set(losses[0])) == 4


def test_a_launch_is_repeated_and_an_exception_leaves_nothing_noted(monkeypatch):
    model = GPT(CONFIG, seed=3)
    rng = np.random.default_rng(0)
    noted = []
    right = model._arguments
    monkeypatch.setattr(model, "_arguments", lambda *a, **k: noted.append(a[0]) or right(*a, **k))
    passes(model, rng, (2, 5))
    first = len(noted)
    passes(model, rng, (2, 5))
    assert len(noted) - first == first - 8  # the four sublayers' passes ask for no arguments

    def broken(*arguments, **keywords):
        raise RuntimeError("broken")

    monkeypatch.setattr(model, "_arguments", broken)
    tokens = rng.integers(0, CONFIG.vocab_size, (2, 9))
    with pytest.raises(RuntimeError, match="broken"):
        model.forward(tokens, tokens)
    assert pool._thread.notes is None
    monkeypatch.undo()
    assert np.isfinite(model.forward(tokens, tokens))


def test_what_is_noted_goes_with_the_model():
    model = GPT(CONFIG, seed=3)
    passes(model, np.random.default_rng(0), (2, 5))
    arrays = [weakref.ref(a) for a in (model.params.flat, model.grads.flat, model._buffers._store)]
    del model
    gc.collect()
    assert all(array() is None for array in arrays)


def test_a_step_allocates_less_than_4_kb():
    model = GPT(CONFIG)
    optimizer = AdamW(model, learning_rate=1e-4)
    tokens = np.random.default_rng(0).integers(0, CONFIG.vocab_size, (200, 24))

    def step():
        model.forward(tokens, tokens)
        model.backward()
        optimizer.step()

    for _ in range(3):
        step()
    gc.collect()
    tracemalloc.start()
    try:
        step()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        step()
        assert tracemalloc.get_traced_memory()[1] - before < 4096
    finally:
        tracemalloc.stop()
