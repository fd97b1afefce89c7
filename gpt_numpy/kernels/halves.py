"""Activations in 16 bits, of which products and the layer's own backward are the only readers.

With bfloat16 products the queries, keys and values, attention's output and the MLP's hidden layer
are stored as bfloat16 numbers, in arrays of uint16: products would round them anyway. Products read
and write such arrays themselves (products/matmul_bf16.py). Here is what others need: attention
widens rows of queries, keys and values as it reads them, its output is rounded after it, and the
nonlinearity is a pass of its own, chunk by chunk in the first cache. `reference/` rounds the same
arrays in place.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.activation import activate_backward_row, activate_row
from gpt_numpy.kernels.engine.jit import (
    Counter,
    Half,
    Int,
    Single,
    exact,
    flat,
    kernel,
    prange,
    routine,
    tasks,
    threads,
    workspace,
)  # fmt: skip
from gpt_numpy.kernels.engine.tasks import next_task, reset
from gpt_numpy.kernels.products.packing_bf16 import store_row
from gpt_numpy.kernels.products.tile import Matrix

CHUNK = 4096  # elements of a task


@intrinsic
def single(typing: Any, half: Any) -> Any:
    """A bfloat16 number, given by its 16 bits, in float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(32)
        bits = builder.shl(builder.zext(arguments[0], word), ir.Constant(word, 16))
        return builder.bitcast(bits, ir.FloatType())

    return types.float32(types.uint16), generate


@exact
def widen_row(x, out):
    """Write bfloat16 numbers as float32."""
    for i in range(out.size):
        out[i] = single(x[i])


@routine
def numbers_of(x, x16, at, stride, rows, columns, space):
    """Rows of whichever of two arrays has elements: those of `x16` are widened to `space`."""
    if x16.size == 0:
        return Matrix(x, at, stride)
    for r in range(rows):
        row = x16[at + r * stride : at + r * stride + columns]
        widen_row(row, space[r * columns : (r + 1) * columns])
    return Matrix(space, 0, columns)


@kernel
def widen(out: Single, x: Half, workers: Int, counter: Counter):
    """Chunk by chunk."""
    reset(counter)
    for worker in prange(workers):
        start = next_task(counter, worker, workers, x.size, CHUNK)
        while start < x.size:
            widen_row(x[start : start + CHUNK], out[start : start + CHUNK])
            start = next_task(counter, worker, workers, x.size, CHUNK)


@kernel
def narrow(x: Single, out: Half, workers: Int, counter: Counter):
    """Round to bfloat16, chunk by chunk."""
    reset(counter)
    for worker in prange(workers):
        start = next_task(counter, worker, workers, x.size, CHUNK)
        while start < x.size:
            store_row(x[start : start + CHUNK], out, start)
            start = next_task(counter, worker, workers, x.size, CHUNK)


@kernel
def activate(space: Single, x: Half, kind: Int, out: Half, workers: Int, counter: Counter):
    """The nonlinearity, chunk by chunk, rounded; `space` has two chunks for each worker.

    Not in place: where the arrays that a loop reads and writes overlap, its scalar version runs.
    """
    reset(counter)
    for worker in prange(workers):
        start = next_task(counter, worker, workers, x.size, CHUNK)
        while start < x.size:
            size, at = min(CHUNK, x.size - start), 2 * worker * CHUNK
            row, result = space[at : at + size], space[at + CHUNK : at + CHUNK + size]
            widen_row(x[start : start + CHUNK], row)
            activate_row(kind, row, result)
            store_row(result, out, start)
            start = next_task(counter, worker, workers, x.size, CHUNK)


@kernel
def activate_backward(
    dx: Single, x: Half, kind: Int, out: Half, space: Single, workers: Int, counter: Counter
):  # fmt: skip
    """Multiply `dx` by the derivative, and write what forward wrote; two chunks for each worker."""
    reset(counter)
    for worker in prange(workers):
        start = next_task(counter, worker, workers, x.size, CHUNK)
        while start < x.size:
            size, at = min(CHUNK, x.size - start), 2 * worker * CHUNK
            row, again = space[at : at + size], space[at + CHUNK : at + CHUNK + size]
            widen_row(x[start : start + CHUNK], row)
            activate_backward_row(kind, row, dx[start : start + CHUNK], again)
            store_row(again, out, start)
            start = next_task(counter, worker, workers, x.size, CHUNK)


def is_half(x: Array) -> bool:
    """Whether an activation is stored as bfloat16 numbers."""
    return x.dtype == np.uint16


def widened(x: Array, out: Array) -> Array:
    """The numbers of `x` as float32: itself, or `out`, to which they are written."""
    if not is_half(x):
        return x
    widen(flat(out), flat(x), threads(), tasks())
    return out


def round_into(wide: Array, x: Array) -> None:
    """Round what was written in float32 to `x`; nothing if it was written to `x` itself."""
    if is_half(x):
        narrow(flat(wide), flat(x), threads(), tasks())


def activate_halves(kind: int, x: Array, out: Array) -> None:
    """Write f(x), rounded, to `out`; both uint16."""
    space = workspace("activation in 16 bits", 2 * threads() * CHUNK, np.float32)
    activate(space, flat(x), kind, flat(out), threads(), tasks())


def activate_halves_backward(kind: int, x: Array, dx: Array, out: Array) -> None:
    """Multiply `dx` (float32) by f'(x), and write f(x), rounded, to `out`; x, `out` uint16."""
    space = workspace("activation in 16 bits", 2 * threads() * CHUNK, np.float32)
    activate_backward(flat(dx), flat(x), kind, flat(out), space, threads(), tasks())
