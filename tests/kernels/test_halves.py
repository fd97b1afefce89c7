"""Activations in 16 bits: what is widened and rounded, to the bit, and nothing beyond it."""

import numpy as np
import pytest

from gpt_numpy.kernels.activation import NUMBERS
from gpt_numpy.kernels.attention import attention_backward, attention_forward
from gpt_numpy.kernels.cross_attention import cross_attention_backward, cross_attention_forward
from gpt_numpy.kernels.halves import (
    activate_halves,
    activate_halves_backward,
    is_half,
    round_into,
    widened,
)
from gpt_numpy.reference.activation import BACKWARD, FORWARD
from gpt_numpy.reference.bfloat16 import loaded, rounded, stored
from gpt_numpy.reference.dropout import Dropout
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
    assert not is_half(x) and widened(x, x) is x
    round_into(x, x)


def attend(forward, backward, read, lse_shape, out_shape, grads):
    """What both directions of attention write, each array between guards."""
    guards = Guards()
    read = [guards.array(x, x.dtype, True) for x in read]
    out, lse, dout, *dread = (
        guards.array(np.full(shape, np.nan), np.float32, True)
        for shape in (out_shape, lse_shape, out_shape, *grads)
    )
    dout[...] = numbers(dout.size).reshape(out_shape)
    spoil_workspaces()
    forward(*read, out=out, lse=lse)
    spoil_workspaces()
    backward(dout, *read, out=out, lse=lse, **dict(zip(names_of(grads), dread, strict=True)))
    guards.check()
    return [out, lse, *dread]


def names_of(grads):
    return ("dqkv",) if len(grads) == 1 else ("dq", "dkv")


@pytest.mark.parametrize(
    ("T", "G", "D", "lengths"), [(7, 3, 4, None), (100, 1, 20, None), (45, 3, 16, [45, 3])]
)
def test_attention_reads_16_bits_as_the_numbers_that_they_are(T, G, D, lengths):
    B, H = 2, 3
    dropout = Dropout(0.2, np.array([5], np.uint64), 1)
    lengths = None if lengths is None else np.array(lengths)

    def forward(qkv, out, lse):
        attention_forward(qkv, H, dropout, out, lse, n_kv_head=G, lengths=lengths)

    def backward(dout, qkv, out, lse, dqkv):
        attention_backward(dout, qkv, H, dropout, out, lse, dqkv, n_kv_head=G, lengths=lengths)

    shape = (B, T, (H + 2 * G) * D)
    half = stored(numbers(B * T * shape[2])).reshape(shape)
    shapes = ((B, H, T), (B, T, H * D), [shape])
    results = [attend(forward, backward, [x], *shapes) for x in (half, loaded(half))]
    for ours, theirs in zip(*results, strict=True):
        assert np.array_equal(ours, theirs) and np.isfinite(ours).all()


def test_cross_attention_reads_16_bits_as_the_numbers_that_they_are():
    B, T, S, H, C = 2, 17, 60, 2, 24
    lengths, dropout = np.array([60, 31]), Dropout(0.2, np.array([5], np.uint64), 1)

    def forward(q, kv, out, lse):
        cross_attention_forward(q, kv, lengths, H, dropout, out, lse)

    def backward(dout, q, kv, out, lse, dq, dkv):
        cross_attention_backward(dout, q, kv, lengths, H, dropout, out, lse, dq, dkv)

    halves = [stored(numbers(B * n * c)).reshape(B, n, c) for n, c in ((T, C), (S, 2 * C))]
    shapes = ((B, H, T), (B, T, C), [half.shape for half in halves])
    wide = [loaded(half) for half in halves]
    results = [attend(forward, backward, read, *shapes) for read in (halves, wide)]
    for ours, theirs in zip(*results, strict=True):
        assert np.array_equal(ours, theirs) and np.isfinite(ours).all()
