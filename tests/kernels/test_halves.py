"""Activations in 16 bits: what is widened and rounded, to the bit, and nothing beyond it."""

import numpy as np
import pytest

from gpt_numpy.kernels.activation import NUMBERS
from gpt_numpy.kernels.halves import (
    activate_halves,
    activate_halves_backward,
    is_half,
    round_into,
    widened,
    workspace_like,
)
from gpt_numpy.reference.activation import BACKWARD, FORWARD
from gpt_numpy.reference.bfloat16 import loaded, rounded, stored
from tests.support.guards import Guards
from tests.support.twins import spoil_workspaces

SIZES = [1, 15, 33, 4096, 4097, 9001]  # a chunk has 4,096


def numbers(size):
    return np.random.default_rng(size).standard_normal(size).astype(np.float32)


@pytest.mark.parametrize("size", SIZES)
def test_numbers_go_to_16_bits_and_back_as_in_the_reference(size):
    guards = Guards()
    x = guards.array(numbers(size), np.float32, True)
    half = guards.array(np.full(size, 0x7FC0), np.uint16, True)
    round_into(x, half)
    assert np.array_equal(half, stored(x))
    wide = guards.array(np.full(size, np.nan), np.float32, True)
    assert widened(half, wide) is wide and np.array_equal(wide, rounded(x))
    guards.check()


@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "relu", "relu2"])
@pytest.mark.parametrize("size", SIZES)
def test_nonlinearities_read_and_write_16_bits(size, name):
    guards = Guards()
    x = guards.array(stored(3 * numbers(size)), np.uint16, True)
    out = guards.array(np.full(size, 0x7FC0), np.uint16, True)
    exact = np.empty(size)
    FORWARD[name](loaded(x).astype(np.float64), out=exact)
    spoil_workspaces()
    activate_halves(NUMBERS[name], x, out)
    close = np.abs(loaded(out) - exact) <= 2.0**-8 * np.abs(exact) + 1e-6
    assert close.all()
    dout, again = numbers(size + 1)[:size], guards.array(np.full(size, 0x7FC0), np.uint16, True)
    dx = guards.array(dout, np.float32, True)
    spoil_workspaces()
    activate_halves_backward(NUMBERS[name], x, dx, again)
    BACKWARD[name](dout.astype(np.float64), loaded(x).astype(np.float64), dx=exact)
    assert np.abs(dx - exact).max() <= 5e-6 * np.abs(exact).max()
    apart = np.flatnonzero(
        again != out
    )  # the same function in another loop: an ulp before rounding
    assert len(apart) <= 1 + size // 1000
    guards.check()


def test_float32_is_its_own_workspace():
    x = numbers(6)
    assert not is_half(x) and workspace_like(x, "unused") is x and widened(x, x) is x
    round_into(x, x)
    half = stored(x).reshape(2, 3)
    place = workspace_like(half, "tests")
    assert place.dtype == np.float32 and place.shape == (2, 3)
