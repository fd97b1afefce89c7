"""A pass is a list of calls, prepared once: the same bits as when every layer is called anew."""

import gc
import tracemalloc
import weakref

import numpy as np
import pytest

import gpt_numpy.kernels
import gpt_numpy.reference
from gpt_numpy import GPT, AdamW, GPTConfig
from gpt_numpy.kernels.engine import jit, pool

CONFIG = GPTConfig(
    vocab_size=17, block_size=24, n_layer=2, n_head=2, n_embd=16, dropout=0.25, bias=True
)
POOL = min(2, jit.numba.config.NUMBA_NUM_THREADS)


def call_anew(call):
    """An override that calls the layer function, nothing prepared."""
    function = getattr(gpt_numpy.kernels, f"{call.stage.layer}_{call.direction}")
    function(*call.args, **call.kwargs)


def two_models(keep=()):
    prepared, plain = GPT(CONFIG, seed=3, keep=keep), GPT(CONFIG, seed=3, keep=keep)
    plain.overrides = {call.stage.name: call_anew for call in plain.calls((1, 1)).forward}
    return prepared, plain


def passes(model, rng, shape, key=None, accumulate=False):
    """A pass over random tokens, with everything that it writes set to NaN before."""
    tokens, targets = rng.integers(0, CONFIG.vocab_size, (2, *shape))
    if not accumulate:
        model.grads.flat[...] = np.nan
    model._buffers.layout(*shape)
    model._buffers._store[...] = np.nan
    loss = model.forward(tokens, targets, dropout_key=key)
    acts = {name: array.copy() for name, array in model.activations.items()}
    model.backward(accumulate=accumulate)
    grads = {name: array.copy() for name, array in model.activation_grads.items()}
    return loss, acts, grads, model.grads.flat.copy()


@pytest.mark.parametrize("keep", [(), ("*",), ("h.*.resid_mid", "h.1.attn.qkv")])
def test_prepared_calls_compute_the_same_bits(keep):
    prepared, plain = two_models(keep)
    # Shapes in turn, larger ones that need more memory, dropout between, and micro-batches.
    calls = [((2, 5),), ((2, 5),), ((3, 24),), ((2, 5),), ((2, 5), 7), ((2, 5), 8), ((2, 5),)]
    calls += [((2, 5), None, True), ((2, 5), 9, True), ((40, 24),), ((3, 24),), ((2, 5), 2**64 - 1)]
    losses = set()
    for n, call in enumerate(calls):
        results = [passes(m, np.random.default_rng(n), *call) for m in (prepared, plain)]
        (loss, acts, dacts, grads), (loss_2, acts_2, dacts_2, grads_2) = results
        losses.add(loss)
        assert loss == loss_2 and np.array_equal(grads, grads_2), call
        assert np.isfinite(grads).all()
        for one, other in ((acts, acts_2), (dacts, dacts_2)):
            assert one.keys() == other.keys()
            assert all(np.array_equal(one[k], other[k], equal_nan=True) for k in one), call
    assert len(losses) == len(calls)


def test_the_key_of_dropout_is_read_anew_in_every_pass():
    model = GPT(CONFIG, seed=3)
    tokens = np.random.default_rng(0).integers(0, CONFIG.vocab_size, (2, 5))
    first, again, other, none = (
        model.forward(tokens, tokens, dropout_key=k) for k in (1, 1, 2, None)
    )
    assert first == again and len({first, other, none}) == 3
    assert model.calls((2, 5), rate=CONFIG.dropout) is model.calls((2, 5), rate=CONFIG.dropout)


def test_launches_are_recorded_anew_for_another_number_of_threads():
    prepared, plain = two_models()
    before = pool.threads()
    try:
        for n, count in enumerate((1, POOL, 1, POOL)):
            pool.set_threads(count)
            for model in (prepared, plain):
                passes(model, np.random.default_rng(n), (3, 24))
            assert np.array_equal(prepared.grads.flat, plain.grads.flat)
    finally:
        pool.set_threads(before)


def test_prepared_calls_read_parameters_that_an_optimizer_changed():
    prepared, plain = two_models()
    losses = []
    for model in (prepared, plain):
        optimizer, rng = AdamW(model, learning_rate=1e-2), np.random.default_rng(0)
        losses.append([])
        for _ in range(4):
            losses[-1].append(passes(model, rng, (3, 24), key=5)[0])
            optimizer.step()
    assert losses[0] == losses[1] and len(set(losses[0])) == 4


def test_a_layer_function_runs_once_and_an_exception_leaves_nothing_recording(monkeypatch):
    right, ran = gpt_numpy.kernels.mlp_sublayer_forward, []

    def counted(*args, **kwargs):
        ran.append(1)
        right(*args, **kwargs)

    monkeypatch.setattr(gpt_numpy.kernels, "mlp_sublayer_forward", counted)
    model, rng = GPT(CONFIG, seed=3), np.random.default_rng(0)
    for _ in range(3):
        passes(model, rng, (2, 5), key=1)
    assert len(ran) == CONFIG.n_layer

    def broken(*args, **kwargs):
        raise RuntimeError("broken")

    monkeypatch.setattr(gpt_numpy.kernels, "mlp_sublayer_forward", broken)
    tokens = rng.integers(0, CONFIG.vocab_size, (2, 9))
    with pytest.raises(RuntimeError, match="broken"):
        model.forward(tokens, tokens)
    assert pool._thread.recording is None
    with pytest.raises(gpt_numpy.InputError, match="no forward"):
        model.backward()
    monkeypatch.undo()
    assert np.isfinite(GPT(CONFIG, seed=3).forward(tokens, tokens))


@pytest.mark.parametrize("ops", ["kernels", "reference"])
def test_the_calls_are_the_stages_forward_and_mirrored(ops):
    model = GPT(CONFIG, ops=ops)
    calls = model.calls((2, 5))
    names = [call.stage.name for call in calls.forward]
    assert names == ["embedding", "h.0.attn", "h.0.mlp", "h.1.attn", "h.1.mlp", "head"]
    assert [call.stage.name for call in calls.backward] == names[::-1]
    assert calls.backward[1].name == "h.1.mlp backward"


def test_a_layer_that_is_not_the_last_hands_its_gradient_down_in_another_array():
    # The residual stream's gradient is one buffer; where both ends are kept there are two.
    kept, plain = GPT(CONFIG, seed=3, keep=("h.0.*",)), GPT(CONFIG, seed=3)
    results = [passes(m, np.random.default_rng(0), (3, 24), key=4)[3] for m in (kept, plain)]
    assert np.array_equal(*results)


def test_what_is_prepared_goes_with_the_model():
    model = GPT(CONFIG, seed=3)
    passes(model, np.random.default_rng(0), (2, 5))
    arrays = [weakref.ref(a) for a in (model.params.flat, model.grads.flat, model._buffers._store)]
    del model
    gc.collect()
    assert all(array() is None for array in arrays)


@pytest.mark.parametrize("key", [None, 3])
def test_a_step_allocates_less_than_4_kb(key):
    model = GPT(CONFIG)
    optimizer = AdamW(model, learning_rate=1e-4)
    tokens = np.random.default_rng(0).integers(0, CONFIG.vocab_size, (200, 24))

    def step():
        model.forward(tokens, tokens, dropout_key=key)
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


@pytest.mark.parametrize("sequences", [2, 400])
def test_one_thread_computes_a_small_batch_and_all_a_large_one(sequences, monkeypatch):
    model = GPT(GPTConfig(vocab_size=11, block_size=8, n_layer=1, n_head=2, n_embd=8))
    tokens = np.zeros((sequences, 8), np.int64)
    model.forward(tokens, tokens)
    model.backward()
    launch, alone, used = pool.launch, set(), set()

    def noted(launches, **how):
        alone.add(how["alone"])
        launch(launches, **how)

    monkeypatch.setattr(pool, "launch", noted)
    for call in [*model.calls(tokens.shape).forward, *model.calls(tokens.shape).backward]:
        call.run()
        largest = max(a.size for a in arrays_in((call.args, tuple(call.kwargs.values()))))
        assert (largest <= pool.SMALL) == (sequences == 2)
        used.add(jit.numba.get_num_threads())
    assert alone == {sequences == 2}
    assert used == {1 if sequences == 2 else pool.threads()}


def arrays_in(value):
    if isinstance(value, np.ndarray):
        return [value]
    return [a for item in value for a in arrays_in(item)] if isinstance(value, tuple | list) else []
