"""Every kernel against its twin in `reference/`: values, edges of buffers, threads, aliases."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gpt_numpy.kernels
import gpt_numpy.reference
from gpt_numpy import GPT, AdamW, GPTConfig, InputError
from gpt_numpy.gradients.model_check import randomise
from gpt_numpy.kernels.attention import attention_backward, attention_forward
from gpt_numpy.kernels.dropout import drop_row, mask_arguments, mask_base
from gpt_numpy.kernels.engine import jit, pool
from gpt_numpy.reference.adamw import AdamWSettings, Stretch
from gpt_numpy.reference.dropout import NO_DROPOUT, Dropout, mix32, mix64
from tests.support import layers
from tests.support.errors import TOLERANCE, assert_close
from tests.support.layers import EXAMPLES
from tests.support.twins import (
    both,
    compare,
    example_of,
    function_of,
    kernel_backward,
    kernel_forward,
    run_guarded,
    sizes,
    spoil_workspaces,
)

POOL = min(2, jit.numba.config.NUMBA_NUM_THREADS)


@st.composite
def all_sizes(draw):
    H = draw(st.integers(1, 3))
    return sizes(
        B=draw(st.integers(1, 3)),
        T=draw(st.sampled_from([1, 2, 5, 7, 16, 33, 50, 64, 97])),
        H=H,
        D=draw(st.integers(9 - H, 65)),  # with few channels the layer norm's gradient is rounding
        F=draw(st.integers(1, 100)),
        V=draw(st.sampled_from([1, 2, 3, 17, 65, 130])),
    )


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_kernels_agree_with_the_reference(name, dtype):
    compare(name, dtype, seed=0)


ELEMENTWISE = {"gelu", "gelu_tanh", "relu", "relu2"}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - ELEMENTWISE))
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(chosen=all_sizes(), seed=st.integers(0, 99))
def test_kernels_agree_for_any_shape(name, dtype, chosen, seed):
    compare(name, dtype, seed, chosen)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", sorted(ELEMENTWISE))
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(size=st.integers(1, 40_000), seed=st.integers(0, 99))
def test_elementwise_kernels_agree_for_any_size(name, dtype, size, seed):
    x = 3 * np.random.default_rng(seed).standard_normal(size)
    example = layers.Example({"x": x}, {"out": (size,)})
    with mock.patch.dict(EXAMPLES, {name: lambda rng: example}):
        compare(name, dtype, seed)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("D", range(1, 66))
def test_attention_agrees_for_every_head_size(D, dtype):
    compare("attention", dtype, D, sizes(B=2, T=D % 19 + 1, H=3, D=D))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", ["cross_entropy", "embedding", "head", "head_loss"])
@pytest.mark.parametrize("V", [2, 50257])
def test_kernels_agree_for_the_smallest_vocabulary_and_gpt2s(name, V, dtype):
    compare(name, dtype, 0, sizes(B=1, T=4, H=1, D=9, V=V))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - ELEMENTWISE))
def test_kernels_agree_for_a_single_position(name, dtype):
    compare(name, dtype, 0, sizes(B=1, T=1, H=1, D=5, V=2))


LARGE = {
    "B": 3, "T": 97, "H": 3, "C": 195, "F": 100, "V": 130,
    "_NORM_OUT": {
        "out": (3, 97, 195), "mean": (3, 97), "rstd": (3, 97), "norm": (3, 97, 195)
    },
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_one_task_does_not_do_all(name):
    # Several chunks, strips, blocks and stretches of each kernel, and none of them comes out even.
    if name in ELEMENTWISE:
        rng = np.random.default_rng(0)
        example = layers.Example({"x": 3 * rng.standard_normal(9001)}, {"out": (9001,)})
        for ours, exact in both(name, "float64", rng, example):
            assert_close(ours, exact, "float64")
    else:
        compare(name, "float64", 0, LARGE)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_few_long_heads_are_cut_into_parts(rate, dtype):
    B, T, H, D = 1, 230, 2, 10
    rng = np.random.default_rng(1)
    qkv = rng.standard_normal((B, T, 3 * H * D)).astype(dtype)
    dout = rng.standard_normal((B, T, H * D)).astype(dtype)
    arguments = {"n_head": H, "dropout": Dropout.of(rate, 9, 4)}
    results = []
    for package, kind in ((gpt_numpy.reference, "float64"), (gpt_numpy.kernels, dtype)):
        out, lse = np.full((B, T, H * D), np.nan, kind), np.full((B, H, T), np.nan, kind)
        dqkv = np.full(qkv.shape, np.nan, kind)
        inputs = {"qkv": qkv.astype(kind)} | arguments
        spoil_workspaces()
        function_of(package, "attention_forward")(**inputs, out=out, lse=lse)
        spoil_workspaces()
        function_of(package, "attention_backward")(
            dout.astype(kind), **inputs, out=out, lse=lse, dqkv=dqkv
        )
        results.append({"out": out, "lse": lse, "dqkv": dqkv})
    assert_close(results[1], results[0], dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_products_larger_than_one_block(dtype):
    rng = np.random.default_rng(2)
    # In the first two no worker can pack all of an operand; in the last each packs one once.
    sizes = [(1300, 401, 150), (1300, 150, 401), (401, 777, 195), (1, 64, 3), (401, 70, 50)]
    sizes += [(300, 3, 70), (5, 2, 1)]  # rows of the left operand narrower than a vector
    sizes += [(100, 70, 1024)]  # and of one whose rows lie a power of two apart, which are copied
    for rows, inner, columns in sizes:
        x, w = rng.standard_normal((rows, inner)), rng.standard_normal((inner, columns))
        dout = rng.standard_normal((rows, columns))
        linear = function_of(gpt_numpy.kernels, "linear_backward")
        x, w, dout = (a.astype(dtype) for a in (x, w, dout))
        exact = [a.astype(np.float64) for a in (x, w, dout)]
        got = run_guarded(
            linear, {"dout": dout, "x": x, "weight": w, "bias": None},
            {"dx": x.shape, "dweight": w.shape, "dbias": columns}, dtype,
        )  # fmt: skip
        wanted = {
            "dx": exact[2] @ exact[1].T, "dweight": exact[0].T @ exact[2],
            "dbias": exact[2].sum(axis=0),
        }  # fmt: skip
        assert_close(got, wanted, dtype)


@pytest.mark.parametrize("columns", [40, 49, 50, 100, 160])
def test_an_operand_packed_whole_leaves_room_for_the_copied_rows(columns):
    # Rows 4 KiB apart are copied to the second half of what a worker packs in.
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal((340, 1024)), rng.standard_normal((1024, columns))
    x, w = x.astype(np.float32), w.astype(np.float32)
    got = run_guarded(
        function_of(gpt_numpy.kernels, "linear_forward"), {"x": x, "weight": w, "bias": None},
        {"out": (340, columns)}, np.float32,
    )  # fmt: skip
    assert_close(got, {"out": x.astype(np.float64) @ w.astype(np.float64)}, "float32")


@pytest.mark.parametrize("package", [gpt_numpy.kernels, gpt_numpy.reference])
@pytest.mark.parametrize("rate", [1 - 1e-10, 1 - 2.0**-33, 1 - 2.0**-53])
def test_a_rate_next_to_1_drops_everything(rate, package):
    # round(rate 2^32) is 2^32, which in 32 bits is 0: nothing would be dropped.
    for site in range(3):
        out = np.full(5000, np.nan, np.float32)
        function_of(package, "dropout_forward")(
            np.ones(5000, np.float32), Dropout.of(rate, 77, site), out=out
        )
        assert not out.any()


@pytest.mark.parametrize("size", [3e3, 2e4, 1e5])
def test_gradients_at_large_logits_do_not_feel_the_rounding_of_lse(size):
    rng = np.random.default_rng(6)
    logits = (size + rng.standard_normal((6, 37))).astype(np.float32)
    targets = np.array([0, 36, 5, 7, 9, 11])
    p = np.exp(logits - logits.max(axis=-1, keepdims=True), dtype=np.float64)
    wanted = p / p.sum(axis=-1, keepdims=True)
    wanted[range(6), targets] -= 1
    out, lse, dlogits = np.empty(6, np.float32), np.empty(6, np.float32), np.empty_like(logits)
    function_of(gpt_numpy.kernels, "cross_entropy_forward")(logits, targets, out=out, lse=lse)
    function_of(gpt_numpy.kernels, "cross_entropy_backward")(
        np.ones(6, np.float32), logits, targets, lse, dlogits=dlogits
    )
    assert_close({"dlogits": dlogits}, {"dlogits": wanted}, "float32")


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("positions", [1, 3, 5, 9, 10])
def test_the_head_works_with_a_part_of_the_logits_at_a_time(positions, dtype):
    rng = np.random.default_rng(4)
    example = example_of("head_loss", rng)
    forward, backward = (exact for _, exact in both("head_loss", dtype, rng, example))
    dout = np.random.default_rng(4)  # what `both` drew
    example_of("head_loss", dout)
    dout = dout.standard_normal((layers.B, layers.T)).astype(dtype)
    example.outputs = example.outputs | {"logits": (positions, layers.V)}
    ours = kernel_forward("head_loss", example, dtype)
    written = kernel_backward("head_loss", example, ours, dout, dtype)
    assert_close(ours, {n: v for n, v in forward.items() if n != "logits"}, dtype)
    assert_close(written, {n: v for n, v in backward.items() if n != "dlogits"}, dtype)


def test_a_model_with_room_for_a_part_of_the_logits_computes_the_same(monkeypatch):
    config = GPTConfig(vocab_size=11, block_size=5, n_layer=2, n_head=2, n_embd=6)
    tokens, targets = np.random.default_rng(0).integers(0, 11, (2, 2, 5))
    gradients = []
    for most in (jit.np.inf, 40, 1):
        monkeypatch.setattr(gpt_numpy.kernels, "LOGITS", most)
        model = GPT(config, dtype="float64")
        randomise(model, 0)
        losses = model.forward(tokens, targets), model.forward(tokens, targets)
        model.backward()
        gradients.append((losses, model.grads.flat.copy(), model.logits(tokens)))
    for losses, grads, logits in gradients[1:]:
        assert losses == gradients[0][0]
        assert np.abs(grads - gradients[0][1]).max() <= 1e-15
        assert np.array_equal(logits, gradients[0][2])


def test_a_mask_goes_on_beyond_2_to_the_32nd_index():
    # The weights of a few long sequences are so many. By hand from reference/dropout.py.
    @jit.numba.njit
    def drop(row, index, base, threshold, scale):
        drop_row(row, index, base, threshold, scale)

    key, site, threshold, scale = mask_arguments(Dropout.of(0.5, 3, 4))
    base = jit.numba.njit(lambda key, site: mask_base(key[0], site))(key, site)
    indices = range(2**32 - 40, 2**32 + 60)
    row = np.ones(len(indices))
    drop(row, indices[0], np.uint64(base), np.uint64(threshold), scale)
    expected = []
    for index in indices:
        words = mix64((mix64(3) + mix64(4 + 1) + (index >> 32)) % 2**64)
        a, b = np.uint32(words % 2**32), np.uint32(words >> 32)
        hashed = mix32(mix32(np.array([index % 2**32], np.uint32) ^ a) + b)[0]
        expected.append(2.0 if hashed >= 2**31 else 0.0)
    assert row.tolist() == expected


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_optimizer_kernels(dtype):
    rng = np.random.default_rng(3)
    arrays = rng.standard_normal((4, 40_001)).astype(dtype)
    arrays[3] = np.abs(arrays[3])
    ours, exact = arrays.copy(), arrays.astype(np.float64)
    settings_ = {
        "step": 3,
        "grad_scale": 0.7,
        "settings": AdamWSettings(0.01, beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.5),
    }
    # Some parameters are another optimizer's, and not all decay; several chunks in one stretch.
    stretches = [
        Stretch(2, 0, 38_000, 1),
        Stretch(38_100, 38_000, 1, 0),
        Stretch(38_103, 38_001, 1801, 1),
    ]
    gpt_numpy.kernels.adamw_updates(*ours, np.array(stretches), **settings_)
    gpt_numpy.reference.adamw_updates(*exact, stretches, **settings_)
    assert_close(dict(enumerate(ours)), dict(enumerate(exact)), dtype)
    for untouched in (
        slice(0, 2),
        slice(38_002, 38_100),
        slice(38_101, 38_103),
        slice(39_904, None),
    ):
        assert np.array_equal(ours[0][untouched], arrays[0][untouched])
    assert (ours[0] != arrays[0]).sum() == pytest.approx(39_802, rel=0.01)
    total = gpt_numpy.kernels.sum_of_squares(arrays)
    assert total == pytest.approx(gpt_numpy.reference.sum_of_squares(arrays), rel=1e-14)


def model_config(**changes):
    sizes = {"vocab_size": 11, "block_size": 8, "n_layer": 2, "n_head": 2, "n_embd": 6}
    return GPTConfig(**(sizes | {"dropout": 0.2} | changes))


LLAMA = {
    "norm": "rmsnorm", "positions": "rotary", "activation": "swiglu", "bias": False, "tied": False,
    "n_head": 4, "n_kv_head": 2, "n_embd": 24, "n_inner": 19,
}  # fmt: skip
NANOCHAT = {
    "norm": "rmsnorm", "positions": "rotary", "qk_norm": True, "activation": "relu2",
    "tied": False, "n_head": 3, "n_kv_head": 1, "n_embd": 36, "logit_softcap": 2.0,
}  # fmt: skip


def passes(model, seed=0):
    """Two micro-batches of unequal weight, with repeated tokens and targets left out."""
    rng = np.random.default_rng(seed)
    randomise(model, seed)
    model.params.flat[...] = model.params.flat.astype(np.float32)  # the same in every type
    T, V = model.config.block_size - 1, model.config.vocab_size
    tokens, targets = rng.integers(0, V, (2, 2, 2, T))
    tokens[:, :, -1], targets[0, :, 0], targets[1, 0] = tokens[:, :, 0], -1, -1
    model.grads.flat[...] = 0
    losses = []
    for i in range(2):
        losses.append(model.forward(tokens[i], targets[i], dropout_key=i, divisor=10))
        model.backward(accumulate=True)
    return np.array(losses)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"activation": "gelu", "bias": False},
        {"activation": "relu", "tied": False, "positions": "sinusoidal"},
        {"n_head": 3, "n_embd": 9, "block_size": 4},
        {"norm": "rmsnorm", "n_embd": 10},
        LLAMA,
        NANOCHAT,
        {"positions": "none", "qk_norm": True, "activation": "swiglu", "norm": "rmsnorm"},
        {"block_size": 2},
        {"n_head": 4, "n_embd": 16, "block_size": 5},
        {"n_head": 4, "n_embd": 128, "block_size": 64, "vocab_size": 65, "bias": False},
    ],
)
def test_whole_model_agrees_with_the_reference(changes, seed, dtype):
    config = model_config(**changes)
    ours = GPT(config, ops="kernels", dtype=dtype)
    exact = GPT(config, ops="reference", dtype="float64")
    np.testing.assert_allclose(passes(ours, seed), passes(exact, seed), rtol=TOLERANCE[dtype])
    assert_close(ours.grads, dict(exact.grads), dtype)


def test_float32_gradients_of_a_model_as_it_starts_are_those_of_float64():
    # The preset `tiny`: 4 layers, 128 channels, 64 positions.
    config = model_config(
        vocab_size=65, block_size=64, n_layer=4, n_head=4, n_embd=128, bias=False, dropout=0.0
    )
    tokens, targets = np.random.default_rng(0).integers(0, 65, (2, 12, 64))
    ours = GPT(config)
    exact = GPT(config, seed=None, ops="reference", dtype="float64")
    exact.params.flat[...] = ours.params.flat
    losses = [model.forward(tokens, targets) for model in (ours, exact)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    ours.backward(), exact.backward()
    assert_close(ours.grads, dict(exact.grads), "float32")
    one, other = ours.grads.flat.astype(np.float64), exact.grads.flat
    assert one @ other >= (1 - 1e-10) * np.linalg.norm(one) * np.linalg.norm(other)


def test_kept_activations_and_gradients_agree():
    config = model_config(activation="gelu_tanh")
    ours, exact = (
        GPT(config, ops=ops, dtype="float64", keep=("*",)) for ops in ("kernels", "reference")
    )
    passes(ours), passes(exact)
    assert_close(ours.activations, dict(exact.activations), "float64")
    assert_close(ours.activation_grads, dict(exact.activation_grads), "float64")


def bits_of_a_run(threads, config):
    pool.set_threads(threads)
    try:
        model = GPT(config, ops="kernels")
        optimizer = AdamW(model)
        losses = passes(model)
        optimizer.step()
        return losses.tobytes() + model.params.flat.tobytes() + model.grads.flat.tobytes()
    finally:
        pool.set_threads(POOL)


@pytest.mark.skipif(POOL < 2, reason="one thread")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"n_embd": 130, "block_size": 300, "vocab_size": 300},
        {"bias": False, "n_head": 1},
        LLAMA | {"n_embd": 144, "block_size": 65},
        NANOCHAT | {"n_embd": 144, "block_size": 230},
    ],
)
def test_any_number_of_threads_gives_the_same_bits(changes):
    config = model_config(**changes)
    assert bits_of_a_run(1, config) == bits_of_a_run(2, config)


def test_two_python_threads_get_what_one_gets():
    config = model_config()
    expected = bits_of_a_run(POOL, config)
    results = []
    workers = [
        threading.Thread(target=lambda: results.append(bits_of_a_run(POOL, config)))
        for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert results == [expected] * 3


def test_arrays_that_are_not_contiguous_are_refused():
    x = np.zeros((4, 6), np.float32)[:, ::2]
    with pytest.raises(InputError, match="contiguous"):
        function_of(gpt_numpy.kernels, "gelu_forward")(x, out=np.zeros((4, 3), np.float32))


@pytest.mark.parametrize("size", [1e2, 1e4, 1e30, 3e38])
def test_large_logits(size):
    logits = np.array([[size, 0, -size], [-size, -size, -size]], np.float32)
    targets = np.array([0, 1])
    out, lse = np.empty((2, 2), np.float32)
    function_of(gpt_numpy.kernels, "cross_entropy_forward")(logits, targets, out=out, lse=lse)
    assert out == pytest.approx([0, np.log(3)])
    dlogits = np.empty_like(logits)
    function_of(gpt_numpy.kernels, "cross_entropy_backward")(
        np.ones(2, np.float32), logits, targets, lse, dlogits=dlogits
    )
    assert np.isfinite(dlogits).all()


@pytest.mark.parametrize("value", [0, 1, 1234, 1e-30, 1e30])
def test_layernorm_of_equal_channels_is_its_bias(value):
    x = np.full((3, 7), value, np.float32)
    weight, bias = np.ones(7, np.float32), np.arange(7, dtype=np.float32)
    out, dx = np.empty((2, 3, 7), np.float32)
    mean, rstd = np.empty((2, 3), np.float32)
    forward = function_of(gpt_numpy.kernels, "layernorm_forward")
    forward(x, weight, bias, out=out, mean=mean, rstd=rstd)
    assert (out == bias).all()
    function_of(gpt_numpy.kernels, "layernorm_backward")(
        x, x, weight, bias, mean, rstd, dx=dx, dweight=np.empty(7, np.float32), dbias=None
    )
    assert np.isfinite(dx).all()


def test_not_a_number_is_seen():
    for width in (1, 3, 8, 40):
        qkv = np.ones((1, 9, 3 * width), np.float32)
        qkv[0, 4, 0] = np.nan
        out, lse = np.empty((1, 9, width), np.float32), np.empty((1, 1, 9), np.float32)
        attention_forward(qkv, 1, NO_DROPOUT, out=out, lse=lse)
        assert np.isfinite(out[0, :4]).all() and np.isnan(out[0, 4]).all()
        dqkv = np.empty_like(qkv)
        attention_backward(np.ones_like(out), qkv, 1, NO_DROPOUT, out=out, lse=lse, dqkv=dqkv)
        assert np.isnan(dqkv).any()


def run_python(code, **environment):
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, timeout=300,
        env={**os.environ, **environment},
    )  # fmt: skip


TINY_KERNEL = """
import numpy as np
from gpt_numpy.kernels.adamw import sum_of_squares
print(sum_of_squares(np.ones(10)))
"""


def test_a_damaged_cache_is_replaced(tmp_path):
    environment = {"NUMBA_CACHE_DIR": str(tmp_path)}
    assert run_python(TINY_KERNEL, **environment).stdout == "10.0\n"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files and all(d.stat().st_mode & 0o022 == 0 for d in tmp_path.iterdir())
    for path in files:
        path.write_bytes(path.read_bytes()[:100])
    result = run_python(TINY_KERNEL, **environment)
    assert result.stdout == "10.0\n", result.stderr
