"""Numerical edges that broke other implementations, on every implementation of the layers here."""

import importlib
from types import SimpleNamespace

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.config import IMPLEMENTATIONS

CONFIG = gn.GPTConfig(vocab_size=7, block_size=6, n_layer=1, n_head=2, n_embd=8)
MODULES = ("layernorm", "attention", "cross_entropy", "activation", "embedding", "adamw")


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


@pytest.mark.parametrize("size", [1e3, 1e18])
def test_attention_with_huge_scores_picks_the_best_key(ops, size):
    qkv = np.zeros((1, 3, 6), np.float32)
    qkv[0, :, 0] = size  # queries
    qkv[0, :, 2] = [1, 3, 2]  # keys: the best that position 2 sees is that of position 1
    qkv[0, :, 4] = [10, 20, 30]  # values
    out, lse = np.full((1, 3, 2), np.nan, np.float32), np.empty((1, 1, 3), np.float32)
    ops.attention_forward(qkv, 1, 0.0, 0, 0, out=out, lse=lse)
    assert out[0, :, 0].tolist() == [10, 20, 20]
    dqkv = np.full_like(qkv, np.nan)
    ops.attention_backward(np.ones_like(out), qkv, 1, 0.0, 0, 0, out=out, lse=lse, dqkv=dqkv)
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


def test_mixing_float32_with_numpy_scalars_does_not_widen(ops):
    # NumPy 2: float32 array times np.float64 scalar is float64; out[...] = hides it.
    x = np.ones((2, 3, 4), np.float32)
    out = np.empty_like(x)
    ops.gelu_forward(x, out=out)
    assert out.dtype == np.float32
