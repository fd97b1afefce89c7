"""Every pair of functions in `reference/`, differentiated by the complex step from one example."""

import numpy as np
import pytest
import scipy.special

from gpt_numpy.reference import attention, embedding, erf, layernorm
from gpt_numpy.reference.dropout import keep_mask, mix64
from tests.support.complex_step import PAIRS, STEP, complex_step
from tests.support.errors import errors
from tests.support.layers import EXAMPLES, is_float, pair_of, run_backward, run_forward


def test_every_pair_has_an_example():
    assert set(PAIRS) == set(map(pair_of, EXAMPLES))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_backward_is_the_exact_derivative_of_forward(name, seed):
    forward, backward = PAIRS[pair_of(name)]
    rng = np.random.default_rng(seed)
    example = EXAMPLES[name](rng)
    outputs = run_forward(forward, example, np.float64)
    assert all(np.isfinite(value).all() for value in outputs.values())
    dout = rng.standard_normal(outputs["out"].shape)
    written = run_backward(backward, example, outputs, dout, np.float64)
    exact = complex_step(forward, example, dout)
    assert any(value.any() for value in exact.values())
    for argument, error in errors(written, exact).items():
        assert error <= 1e-13, argument


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_backward_writes_everything_that_it_lists(name):
    forward, backward = PAIRS[pair_of(name)]
    example = EXAMPLES[name](np.random.default_rng(0))
    outputs = run_forward(forward, example, np.float64)
    written = run_backward(backward, example, outputs, np.ones_like(outputs["out"]), np.float64)
    for argument, value in written.items():
        assert np.isfinite(value).all(), argument


@pytest.mark.parametrize("dtype", [np.float32, np.complex128])
@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_other_types_agree_with_float64(name, dtype):
    forward, backward = PAIRS[pair_of(name)]
    example = EXAMPLES[name](np.random.default_rng(0))
    example.inputs = {
        n: v.astype(np.float32).astype(np.float64) if is_float(v) else v
        for n, v in example.inputs.items()
    }
    rng = np.random.default_rng(1)
    expected = run_forward(forward, example, np.float64)
    dout = rng.standard_normal(expected["out"].shape).astype(np.float32).astype(np.float64)
    got = run_forward(forward, example, dtype)
    tolerance = 5e-6 if dtype == np.float32 else 1e-13
    for argument, value in expected.items():
        assert got[argument].dtype == dtype
        assert np.abs(got[argument] - value).max() <= tolerance * np.abs(value).max()
    expected_grads = run_backward(backward, example, expected, dout, np.float64)
    grads = run_backward(backward, example, got, dout, dtype)
    scale = max(np.abs(value).max() for value in expected_grads.values())
    for argument, value in expected_grads.items():
        worst = np.abs(grads[argument] - value).max()
        assert worst <= tolerance * max(np.abs(value).max(), 1e-3 * scale), argument


@pytest.mark.parametrize("name", ["layernorm", "linear", "attention_sublayer", "mlp_sublayer"])
def test_layers_work_without_biases(name):
    forward, backward = PAIRS[pair_of(name)]
    example = EXAMPLES[name](np.random.default_rng(0))
    zeroed = {n: v * 0 if n.endswith("bias") else v for n, v in example.inputs.items()}
    absent = {n: None if n.endswith("bias") else v for n, v in example.inputs.items()}
    with_zero = run_forward(forward, type(example)(zeroed, example.outputs), np.float64)
    without = run_forward(forward, type(example)(absent, example.outputs), np.float64)
    assert np.array_equal(with_zero["out"], without["out"])


def test_erf_is_exact_to_rounding_on_the_whole_line():
    x = np.concatenate([np.linspace(-7, 7, 100_001), [0.0, np.inf, -np.inf, 1e300]])
    assert np.abs(erf.erf(x) - scipy.special.erf(x)).max() < 4e-16
    assert np.isnan(erf.erf(np.array([np.nan])))[0]
    slope = erf.erf(x[:-3] + 1j * STEP).imag / STEP
    assert np.abs(slope - 2 / np.sqrt(np.pi) * np.exp(-(x[:-3] ** 2))).max() < 2e-15


def test_positions_do_not_see_the_future():
    example = EXAMPLES["attention"](np.random.default_rng(0))
    before = run_forward(attention.attention_forward, example, np.float64)["out"]
    changed = example.inputs["qkv"].copy()
    changed[:, 3:] += 10
    example.inputs["qkv"] = changed
    after = run_forward(attention.attention_forward, example, np.float64)["out"]
    assert np.array_equal(before[:, :3], after[:, :3])
    assert not np.allclose(before[:, 3:], after[:, 3:])


def test_dropout_keeps_the_right_share_and_scales_it():
    keep = keep_mask((200, 1000), 0.2, key=7, site=1)
    assert abs(keep.mean() - 0.8) < 0.004
    # Neighbours in a row, in a column, and in the next site are independent.
    for other in (np.roll(keep, 1, 1), np.roll(keep, 1, 0), keep_mask(keep.shape, 0.2, 7, 2)):
        assert abs((keep & other).mean() - 0.64) < 0.004
    assert keep_mask((4,), 0.999999999999, 1, 1).sum() == 0


def test_the_dropout_mask_is_the_specified_one():
    # By hand from the specification in reference/dropout.py, with Python's own integers.
    def mix32(z):
        z = (z ^ z >> 16) * 0x7FEB352D & 0xFFFFFFFF
        z = (z ^ z >> 15) * 0x846CA68B & 0xFFFFFFFF
        return z ^ z >> 16

    words = mix64((mix64(5) + mix64(9 + 1)) % 2**64)
    a, b = words & 0xFFFFFFFF, words >> 32
    expected = [mix32((mix32(i ^ a) + b) & 0xFFFFFFFF) >= round(0.3 * 2**32) for i in range(60)]
    assert keep_mask((3, 20), 0.3, key=5, site=9).ravel().tolist() == expected


def test_a_mask_does_not_depend_on_the_shape_only_on_the_index():
    assert np.array_equal(keep_mask((6, 10), 0.5, 3, 4).ravel(), keep_mask((60,), 0.5, 3, 4))


def test_sinusoids_are_those_of_the_paper():
    table = embedding.sinusoidal_positions(50, 7)
    for t, c in [(0, 0), (3, 0), (49, 5), (17, 2), (49, 6)]:
        angle = t / 10000 ** (2 * (c // 2) / 7)
        wave = np.cos(angle) if c % 2 else np.sin(angle)
        assert table[t, c] == pytest.approx(wave / np.sqrt(7), abs=1e-15)


def test_layernorm_of_a_constant_row_is_the_bias():
    for value in (0.0, 1.0, 1234.0, 1e-30):
        x = np.full((1, 1, 6), value)
        out, mean, rstd = np.empty((1, 1, 6)), np.empty((1, 1)), np.empty((1, 1))
        bias = np.arange(6.0)
        layernorm.layernorm_forward(x, np.full(6, 2.0), bias, out=out, mean=mean, rstd=rstd)
        assert np.array_equal(out[0, 0], bias)
