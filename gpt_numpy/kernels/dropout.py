"""Dropout by the hash that `reference/dropout.py` specifies; a mask is never stored.

A kernel gets the array of the key, so that its arguments stay the same from pass to pass, and the
site: `mask_base` mixes them. A value's hash must reach `threshold`; with `scale` 0 nothing is
dropped.
"""

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.elementary import like
from gpt_numpy.kernels.engine.jit import (
    Counter,
    In,
    Int,
    Key,
    Out,
    Real,
    Word,
    exact,
    flat,
    kernel,
    prange,
    routine,
    tasks,
    threads,
)  # fmt: skip
from gpt_numpy.kernels.engine.tasks import next_task, reset
from gpt_numpy.kernels.rows import copy
from gpt_numpy.reference.dropout import Dropout

CHUNK = 16384  # elements of a task

_u32, _u64 = np.uint32, np.uint64


def mask_arguments(dropout: Dropout) -> tuple[Array, int, int, float]:
    """What a kernel takes of a mask: the array of the key, site, threshold and scale."""
    rate, key, site = dropout
    if rate == 0:
        return key, site, 0, 0.0
    return key, site, min(round(rate * 2**32), 2**32 - 1), 1 / (1 - rate)


@exact
def mix64(z):
    """A 64-bit integer with its bits mixed thoroughly."""
    z = _u64(z + _u64(0x9E3779B97F4A7C15))
    z = _u64((z ^ (z >> _u64(30))) * _u64(0xBF58476D1CE4E5B9))
    z = _u64((z ^ (z >> _u64(27))) * _u64(0x94D049BB133111EB))
    return _u64(z ^ (z >> _u64(31)))


@exact
def mix32(z):
    """A 32-bit integer with its bits mixed thoroughly."""
    z = _u32((z ^ (z >> _u32(16))) * _u32(0x7FEB352D))
    z = _u32((z ^ (z >> _u32(15))) * _u32(0x846CA68B))
    return _u32(z ^ (z >> _u32(16)))


@exact
def mask_base(key, site):
    """The part of the hash that key and site decide."""
    return _u64(mix64(key) + mix64(_u64(site + 1)))


@routine
def drop_row(row, index, base, threshold, scale):
    """Drop elements of `row`, whose first has the row-major index `index`, and scale the others."""
    factor, zero, least = like(scale, row), like(0.0, row), _u32(threshold)
    done = 0
    while done < row.size:  # more than one round only where the index passes a multiple of 2^32
        words = mix64(base + _u64((index + done) >> 32))
        a, b = _u32(words & _u64(0xFFFFFFFF)), _u32(words >> _u64(32))
        low = (index + done) & 0xFFFFFFFF
        part = row[done : min(row.size, done + (1 << 32) - low)]
        start = _u32(low)
        for i in range(part.size):
            hashed = mix32(_u32(mix32(_u32(_u32(start + _u32(i)) ^ a)) + b))
            part[i] = part[i] * factor if hashed >= least else zero
        done += part.size


@kernel
def drop(
    x: In, out: Out, key: Key, site: Int, threshold: Word, scale: Real,
    workers: Int, counter: Counter,
):  # fmt: skip
    """Copy each chunk and drop elements of the copy."""
    base = mask_base(key[0], site)
    reset(counter)
    for worker in prange(workers):
        start = next_task(counter, worker, workers, x.size, CHUNK)
        while start < x.size:
            part = out[start : start + CHUNK]
            copy(x[start : start + CHUNK], part)
            if scale != 0.0:
                drop_row(part, start, base, threshold, scale)
            start = next_task(counter, worker, workers, x.size, CHUNK)


def dropout_forward(x: Array, dropout: Dropout, out: Array) -> None:
    """Write `x`, with some values dropped and the rest scaled up, to `out`; both (...)."""
    drop(flat(x), flat(out), *mask_arguments(dropout), threads(), tasks())


def dropout_backward(dout: Array, dropout: Dropout, dx: Array) -> None:
    """Write the gradient of `x`: the same mask, the same scale."""
    dropout_forward(dout, dropout, out=dx)
