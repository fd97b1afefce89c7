"""Numerical edges that broke other implementations, on every implementation of the layers here."""

import dataclasses
import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numba
import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.config.choices import IMPLEMENTATIONS
from gpt_numpy.kernels.dropout import drop_row, mask_arguments, mask_base
from gpt_numpy.reference.adamw import AdamWSettings, Stretch
from gpt_numpy.reference.adamw import adamw_update as reference_adamw
from gpt_numpy.reference.dropout import NO_DROPOUT, Dropout, mix64
from gpt_numpy.reference.embedding import EmbeddingWeights

CONFIG = gn.GPTConfig(vocab_size=7, block_size=6, n_layer=1, n_head=2, n_embd=8)
MODULES = ("layernorm", "attention", "cross_entropy", "activation", "embedding", "adamw")

SETTINGS = AdamWSettings(1e-3, beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1)


@pytest.fixture(params=IMPLEMENTATIONS)
def ops(request):
    """All primitives of one implementation."""
    names = {}
    for module in MODULES:
        names |= vars(importlib.import_module(f"gpt_numpy.{request.param}.{module}"))
    return SimpleNamespace(name=request.param, **{k: v for k, v in names.items() if k[0] != "_"})


def cross_entropy(ops, logits, targets):
    targets = np.asarray(targets, np.int64)
    losses, lse = (
        np.full(targets.shape, np.nan, logits.dtype),
        np.empty(targets.shape, logits.dtype),
    )
    dlogits = np.full_like(logits, np.nan)
    with np.errstate(over="ignore"):
        ops.cross_entropy_forward(logits, targets, out=losses, lse=lse)
        ops.cross_entropy_backward(np.ones_like(losses), logits, targets, lse, dlogits=dlogits)
    return losses, dlogits


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e2, 1e4, 1e30, 1e38])
def test_large_logits_give_finite_losses_and_gradients(ops, size, dtype):
    logits = np.array([[size, 0, -size], [-size, -size, size], [size, size, size]], dtype)
    losses, dlogits = cross_entropy(ops, logits, [0, 2, 1])
    assert np.isfinite(losses).all()
    assert np.isfinite(dlogits).all()
    assert losses[:2] == pytest.approx(0, abs=1e-6)
    assert losses[2] == pytest.approx(np.log(3) if size < 1e6 else 0, abs=1e-3 * max(1, size / 1e7))
    assert np.abs(dlogits.sum(axis=-1)).max() < 5e-6


def test_rows_of_very_negative_logits_are_a_softmax_like_any_other(ops):
    logits = np.array([[-20000.0, -20001.0]])
    losses, _ = cross_entropy(ops, logits, [0])
    assert losses[0] == pytest.approx(-np.log(1 / (1 + np.exp(-1))), rel=1e-12)


def test_a_gap_of_200_nats_is_a_loss_of_200(ops):
    losses, _ = cross_entropy(ops, np.array([[200.0, 0.0]]), [1])
    assert losses[0] == pytest.approx(200, abs=1e-12)


@pytest.mark.parametrize(("dtype", "gap"), [(np.float32, 16), (np.float64, 36)])
def test_the_kernel_keeps_the_digits_of_a_loss_near_0(dtype, gap):
    # P - 1 would have one digit, or none, left.
    ops = SimpleNamespace(**vars(importlib.import_module("gpt_numpy.kernels.cross_entropy")))
    losses, dlogits = cross_entropy(ops, np.array([[3, 3 + gap, 3 + 1]], dtype), [1])
    others = np.exp(-float(gap)) + np.exp(1.0 - gap)
    assert losses[0] == pytest.approx(np.log1p(others), rel=1e-6)
    assert dlogits[0, 1] == pytest.approx(-others / (1 + others), rel=1e-6)
    assert dlogits[0, 1] == pytest.approx(-dlogits[0, 0] - dlogits[0, 2], rel=1e-6)


@pytest.mark.parametrize("size", [1e3, 1e18])
def test_attention_with_huge_scores_picks_the_best_key(ops, size):
    qkv = np.zeros((1, 3, 6), np.float32)
    qkv[0, :, 0] = size  # queries
    qkv[0, :, 2] = [1, 3, 2]  # keys: the best that position 2 sees is that of position 1
    qkv[0, :, 4] = [10, 20, 30]  # values
    out, lse = np.full((1, 3, 2), np.nan, np.float32), np.empty((1, 1, 3), np.float32)
    ops.attention_forward(qkv, 1, NO_DROPOUT, out=out, lse=lse)
    assert out[0, :, 0].tolist() == [10, 20, 20]
    dqkv = np.full_like(qkv, np.nan)
    ops.attention_backward(np.ones_like(out), qkv, 1, NO_DROPOUT, out=out, lse=lse, dqkv=dqkv)
    assert np.isfinite(dqkv).all()


def layernorm(ops, x):
    C = x.shape[-1]
    out, mean, rstd = np.full_like(x, np.nan), np.empty_like(x[..., 0]), np.empty_like(x[..., 0])
    weight, bias = np.full(C, 2, x.dtype), np.arange(C).astype(x.dtype)
    ops.layernorm_forward(x, weight, bias, out=out, mean=mean, rstd=rstd)
    dx, dweight, dbias = np.full_like(x, np.nan), np.empty_like(weight), np.empty_like(bias)
    dout = np.linspace(-1, 1, x.size).astype(x.dtype).reshape(x.shape)
    ops.layernorm_backward(dout, x, weight, bias, mean, rstd, dx=dx, dweight=dweight, dbias=dbias)
    return out, dx, dweight, bias


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [0, 1, 1234, 0.1, 1e-30, 1e30])
@pytest.mark.parametrize("C", [5, 768])
def test_a_constant_row_becomes_the_bias_exactly(ops, value, C, dtype):
    out, dx, dweight, bias = layernorm(ops, np.full((2, 3, C), value, dtype))
    if dtype == np.float64 and value in (0.1, 1e-30, 1e30):  # their sums round
        assert np.abs(out - bias).max() <= 1e-10 or value == 1e30
    else:
        assert np.array_equal(out, np.broadcast_to(bias, out.shape))
    assert np.isfinite(dx).all()
    assert np.isfinite(dweight).all()


@pytest.mark.parametrize("mean", [100.0, 1000.0, 10000.0])
def test_layernorm_of_rows_with_a_large_mean_is_as_good_as_its_input(ops, mean):
    x = (mean + np.random.default_rng(0).standard_normal((4, 8, 64))).astype(np.float32)
    out, *_ = layernorm(ops, x)
    exact, *_ = layernorm(ops, x.astype(np.float64))
    # weight is 2, and each row has standard deviation 1
    assert np.abs(out - exact).max() <= 2 * 2 * np.spacing(np.float32(mean)) + 2e-5


def test_layernorm_in_float64_takes_rows_of_1e30(ops):
    x = 1e30 * np.random.default_rng(0).standard_normal((1, 2, 16))
    out, dx, *_ = layernorm(ops, x)
    scaled, *_ = layernorm(ops, x / 1e20)
    assert np.abs(out - scaled).max() < 1e-9
    assert np.isfinite(dx).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "relu"])
def test_activations_have_their_limits_far_out(ops, name, dtype):
    x = np.array([-1e4, -50.0, -0.0, 0.0, 50.0, 1e4], dtype)
    out, dx = np.full_like(x, np.nan), np.full_like(x, np.nan)
    getattr(ops, f"{name}_forward")(x, out=out)
    getattr(ops, f"{name}_backward")(np.ones_like(x), x, dx=dx)
    assert out == pytest.approx(np.where(x > 0, x, 0), abs=1e-12)
    half = 0 if name == "relu" else 0.5
    assert dx == pytest.approx([0, 0, half, half, 1, 1], abs=1e-12)


def test_a_million_squares_are_summed_to_the_last_digits(ops):
    x = np.random.default_rng(0).standard_normal(1_000_000).astype(np.float32)
    exact = float(np.sum(x.astype(np.longdouble) ** 2))
    assert abs(ops.sum_of_squares(x) - exact) <= 2e-7 * exact


def test_the_log_sum_of_gpt2s_vocabulary_is_good_to_float32s_last_digits(ops):
    logits = np.random.default_rng(0).standard_normal((3, 50257)).astype(np.float32)
    losses, _ = cross_entropy(ops, logits, [0, 1, 50256])
    exact, _ = cross_entropy(ops, logits.astype(np.float64), [0, 1, 50256])
    assert np.abs(losses / exact - 1).max() <= 4e-7


def models(**options):
    return [gn.GPT(CONFIG, ops=name, **options) for name in IMPLEMENTATIONS]


@pytest.mark.parametrize("model", models(), ids=IMPLEMENTATIONS)
def test_all_targets_left_out_give_loss_and_gradients_zero(model):
    tokens, nothing = np.ones((2, 6), int), np.full((2, 6), -1)
    assert model.forward(tokens, nothing) == 0
    model.backward()
    assert not model.grads.flat.any()
    model.forward(tokens, tokens, divisor=12)
    model.backward()
    before = model.grads.flat.copy()
    assert model.forward(tokens, nothing, divisor=12) == 0
    model.backward(accumulate=True)
    assert np.array_equal(model.grads.flat, before)


def test_a_thousand_bad_targets_are_a_thousand_errors():
    model, rng = gn.GPT(CONFIG), np.random.default_rng(0)
    for _ in range(1000):
        targets = rng.integers(-1, 7, (2, 6))
        bad = int(rng.choice([-2, -100, 7, 8, 2**31, -(2**63), 2**63 - 1]))
        targets[rng.integers(2), rng.integers(6)] = bad
        with pytest.raises(gn.InputError, match=rf"targets contains {bad}\b"):
            model.forward(np.zeros((2, 6), int), targets)


@pytest.mark.parametrize("model", models(dtype="float64"), ids=IMPLEMENTATIONS)
def test_tokens_may_lie_in_memory_as_they_like(model):
    rng = np.random.default_rng(0)
    plain = rng.integers(0, 7, (4, 6))
    wide = rng.integers(0, 7, (8, 12))
    wide[::2, ::2] = plain
    expected = model.forward(plain, plain)
    for tokens in (np.asfortranarray(plain), wide[::2, ::2], plain[::-1][::-1], plain.astype("u1")):
        assert model.forward(tokens, tokens) == expected
    row = np.broadcast_to(plain[0], (4, 6))  # stride 0
    assert model.forward(row, row) == model.forward(row.copy(), row.copy())


@pytest.mark.parametrize("model", models(keep=("*",)), ids=IMPLEMENTATIONS)
def test_a_float32_model_holds_nothing_but_float32(model):
    optimizer = gn.AdamW(model)
    tokens = np.random.default_rng(0).integers(0, 7, (2, 6))
    model.forward(tokens, tokens, dropout_key=1)
    model.backward()
    optimizer.step()
    arrays = [model.activations, model.activation_grads, model.grads, model.params]
    for named in [*arrays, optimizer.m, optimizer.v]:
        assert {array.dtype for array in named.values()} == {np.dtype(np.float32)}


def test_no_function_of_the_reference_widens_float32():
    # NumPy 2: float32 times a NumPy scalar of float64 is float64, and out[...] = hides it. So look
    # at every array that any function of reference/ or model/ has in hand when it returns.
    config = gn.GPTConfig(
        vocab_size=7, block_size=6, n_layer=2, n_head=2, n_embd=8, dropout=0.1, activation="gelu"
    )
    tokens = np.random.default_rng(0).integers(0, 7, (2, 6))
    widened, seen = set(), set()

    def look(frame, event, result):
        file = frame.f_code.co_filename
        if event == "return" and Path(file).parent.name in ("reference", "model"):
            seen.add(frame.f_code.co_name)
            for name, value in frame.f_locals.items():
                if isinstance(value, np.ndarray) and value.dtype in (np.float64, np.complex128):
                    widened.add((frame.f_code.co_name, name))
        widened.difference_update(
            {("_forward", "wide"), ("_workspace", "found")}
        )  # to sum the losses

    for activation in ("gelu", "gelu_tanh", "relu"):
        model = gn.GPT(dataclasses.replace(config, activation=activation), ops="reference")
        optimizer = gn.AdamW(model)
        sys.setprofile(look)
        try:
            model.forward(tokens, tokens, dropout_key=1)
            model.backward()
            model.logits(tokens)
            optimizer.step()
        finally:
            sys.setprofile(None)
    assert {"attention_backward", "layernorm_forward", "erf", "adamw_update"} <= seen
    assert widened == set()


@pytest.mark.parametrize("scale", [1e17, 1e-17])
def test_layernorm_in_float32_is_right_in_its_documented_range(ops, scale):
    x = np.random.default_rng(0).standard_normal((2, 3, 768)).astype(np.float32)
    out, dx, *_ = layernorm(ops, x * np.float32(scale))
    exact, exact_dx, *_ = layernorm(ops, (x * np.float32(scale)).astype(np.float64))
    assert np.abs(out - exact).max() < 1e-5 * np.abs(exact).max()
    assert np.abs(dx - exact_dx).max() < 1e-5 * np.abs(exact_dx).max()


def test_no_row_of_attention_is_masked_whole(ops):
    # The first position sees itself, with whatever score: its weight is 1 and it is its value.
    for score in (0.0, 1e30, -1e30, 1e18):
        qkv = np.random.default_rng(0).standard_normal((2, 3, 12)).astype(np.float32)
        qkv[:, 0, 0:8:2] = np.sqrt(abs(score))
        qkv[:, 0, 4:8:2] *= np.sign(score)
        out, lse = np.full((2, 3, 4), np.nan, np.float32), np.empty((2, 2, 3), np.float32)
        ops.attention_forward(qkv, 2, NO_DROPOUT, out=out, lse=lse)
        assert np.array_equal(out[:, 0], qkv[:, 0, 8:])
        assert np.isfinite(lse).all()


@pytest.mark.parametrize("leading", [(1,), (12,), (3, 4), (2, 3, 2)])
def test_rows_may_come_in_any_number_of_dimensions(ops, leading):
    rng = np.random.default_rng(0)
    rows, weight, bias = rng.standard_normal((12, 5)), rng.standard_normal(5), np.zeros(5)
    rows = rows[: int(np.prod(leading))]
    dout, dlast = rng.standard_normal((2, *rows.shape))
    results = []
    for shape in (rows.shape[:1], leading):
        x, out, mean, rstd = rows.reshape(*shape, 5), *np.empty((3, *shape, 5))
        mean, rstd = mean[..., 0].copy(), rstd[..., 0].copy()
        ops.layernorm_forward(x, weight, bias, out=out, mean=mean, rstd=rstd)
        dx, dweight, dbias = np.empty_like(x), np.empty(5), np.empty(5)
        ops.layernorm_backward(
            dout.reshape(x.shape), x, weight, bias, mean, rstd, dx=dx, dweight=dweight, dbias=dbias
        )
        targets = np.arange(rows.shape[0]).reshape(shape) % 5
        losses, dlogits = cross_entropy(ops, x.copy(), targets)
        results.append([out, dx, dweight, dbias, losses, dlogits])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one.ravel(), other.ravel(), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("model", models(dtype="float64"), ids=IMPLEMENTATIONS)
def test_the_logits_of_every_prefix_are_those_of_the_whole(model):
    tokens = np.random.default_rng(0).integers(0, 7, (2, 6))
    whole = model.logits(tokens)
    for length in range(1, 7):
        prefix = model.logits(tokens[:, :length])
        np.testing.assert_allclose(prefix, whole[:, :length], rtol=1e-12, atol=1e-15)
        alone = model.logits(tokens[1:, :length])
        np.testing.assert_allclose(alone, whole[1:, :length], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("ops_name", IMPLEMENTATIONS)
def test_a_vocabulary_of_one_token_is_no_surprise(ops_name):
    config = gn.GPTConfig(vocab_size=1, block_size=3, n_layer=1, n_head=1, n_embd=1)
    model = gn.GPT(config, ops=ops_name)
    tokens = np.zeros((1, 1), int)
    assert model.forward(tokens, tokens) == 0
    model.backward()
    assert not model.grads.flat.any()
    assert gn.generate(model, tokens, 4).tolist() == [[0] * 5]


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_an_empty_batch_is_refused(shape):
    model, nothing = gn.GPT(CONFIG), np.zeros(shape, int)
    for call in (
        lambda: model.forward(nothing, nothing),
        lambda: model.logits(nothing),
        lambda: gn.generate(model, nothing, 1),
    ):
        with pytest.raises(gn.InputError, match=r"tokens has shape"):
            call()


def test_the_log_sum_of_a_million_logits_is_good_to_float32s_last_digits(ops):
    logits = np.random.default_rng(0).standard_normal((1, 1_000_000)).astype(np.float32)
    losses, _ = cross_entropy(ops, logits, [3])
    exact, _ = cross_entropy(ops, logits.astype(np.float64), [3])
    assert np.abs(losses / exact - 1).max() <= 2e-7


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_moments_that_fade_below_the_normal_numbers_do_no_harm(ops, dtype):
    # Of rows of the embedding that no batch has: their gradient is 0 from some step on.
    tiny = np.finfo(dtype).tiny
    param, grad, m, v = np.ones((4, 1000), dtype)
    grad[...], m[...], v[...] = 0, 8 * tiny, tiny
    exact = [np.array(a, np.float64) for a in (param, grad, m, v)]
    for step in range(200, 900):
        settings = {"step": step, "grad_scale": 1.0, "settings": SETTINGS}
        flat = [array.reshape(-1) for array in (param, grad, m, v)]
        ops.adamw_updates(*flat, np.array([Stretch(0, 0, param.size, 1)]), **settings)
        reference_adamw(*exact, **settings)
    assert np.abs(param - exact[0]).max() <= 1e-6
    assert ((0 <= m) & (m < tiny)).all() and ((0 <= v) & (v < tiny)).all()


def test_rows_beyond_two_to_the_31_elements_are_found(ops, tmp_path):
    # A table of 2^31 elements and more, in a sparse file: only what is read or written exists.
    V, C = 2**16 + 3, 2**15 + 1
    assert V * C > 2**31
    wte = np.memmap(tmp_path / "wte", np.float32, "w+", shape=(V, C))
    places = {0: 1.0, 1: 2.0, V // 2: 3.0, V - 1: 4.0}
    for row, value in places.items():
        wte[row] = value
    tokens, wpe = np.array([list(places)]), np.zeros((4, C), np.float32)
    out = np.full((1, 4, C), np.nan, np.float32)
    ops.embedding_forward(tokens, EmbeddingWeights(wte, wpe), dropout=NO_DROPOUT, out=out)
    assert (out[0] == np.array(list(places.values()))[:, None]).all()


def test_the_mask_of_dropout_goes_on_beyond_two_to_the_32_elements():
    # Kernels cut an array into parts, each with its first index: here around a multiple of 2^32.
    @numba.njit
    def part(row, index, base, threshold, scale):
        drop_row(row, index, base, threshold, scale)

    def mix32(z):
        z = (z ^ z >> 16) * 0x7FEB352D & 0xFFFFFFFF
        z = (z ^ z >> 15) * 0x846CA68B & 0xFFFFFFFF
        return z ^ z >> 16

    def kept(index, rate, key, site):  # as reference/dropout.py specifies it
        words = mix64((mix64(key) + mix64(site + 1) + (index >> 32)) % 2**64)
        a, b = words & 0xFFFFFFFF, words >> 32
        return mix32((mix32((index & 0xFFFFFFFF) ^ a) + b) & 0xFFFFFFFF) >= round(rate * 2**32)

    key, site, threshold, scale = mask_arguments(Dropout.of(0.5, 7, 2))
    base = numba.njit(lambda key, site: mask_base(key[0], site))(key, site)
    for start in (2**31 - 40, 2**32 - 40, 5 * 2**32 - 1, 2**40):
        row = np.ones(100, np.float32)
        part(row, start, np.uint64(base), np.uint64(threshold), scale)
        expected = [2.0 * kept(start + i, 0.5, 7, 2) for i in range(100)]
        assert row.tolist() == expected
