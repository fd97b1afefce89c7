"""RMSNorm, a row at a time while it stays in the cache; sums in float64."""

import math

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.elementary import like
from gpt_numpy.kernels.engine.jit import (
    Counter,
    In,
    Int,
    Out,
    Real,
    flat,
    kernel,
    prange,
    routine,
    tasks,
    threads,
    workspace,
)  # fmt: skip
from gpt_numpy.kernels.engine.tasks import next_task, reset
from gpt_numpy.kernels.layernorm import CHUNK, EPS
from gpt_numpy.kernels.rows import add_in_place, fill


@routine
def reciprocal_root(x, eps):
    """1 / sqrt(mean square + eps), in float64."""
    square = 0.0
    for i in range(x.size):
        square += np.float64(x[i]) * np.float64(x[i])
    return 1.0 / math.sqrt(square / x.size + eps)


@routine
def divide_row(x, weight, rstd, out):
    """X rstd weight."""
    for i in range(x.size):
        out[i] = x[i] * rstd * weight[i]


@routine
def divide_backward_row(dout, x, weight, rstd, dweight, add, dx):
    """Add to the sums of `dweight`, and write the row of dx or add it."""
    along_xhat = 0.0
    for i in range(x.size):
        along_xhat += np.float64(dout[i] * weight[i] * (x[i] * rstd))
    for i in range(x.size):
        dweight[i] += dout[i] * (x[i] * rstd)
    slope = like(along_xhat / x.size, x)
    if add:
        for i in range(x.size):
            dx[i] += (dout[i] * weight[i] - x[i] * rstd * slope) * rstd
    else:
        for i in range(x.size):
            dx[i] = (dout[i] * weight[i] - x[i] * rstd * slope) * rstd


@kernel
def forward(x: In, weight: In, eps: Real, out: Out, rstd: Out, workers: Int, counter: Counter):
    """The root, then the row itself."""
    C, rows = weight.size, rstd.size
    reset(counter)
    for worker in prange(workers):
        start = next_task(counter, worker, workers, rows, CHUNK)
        while start < rows:
            for r in range(start, min(start + CHUNK, rows)):
                row = x[r * C : (r + 1) * C]
                rstd[r] = reciprocal_root(row, eps)
                divide_row(row, weight, rstd[r], out[r * C : (r + 1) * C])
            start = next_task(counter, worker, workers, rows, CHUNK)


@kernel
def backward(
    dout: In, x: In, weight: In, rstd: In, add: Int,
    dx: Out, dweight: Out, out: Out, partial: Out, workers: Int, counter: Counter,
):  # fmt: skip
    """Each chunk of rows has its own sum for the weight; they are added up in order.

    Where `out` is wanted, the row is divided again, while it is at hand.
    """
    C, rows = weight.size, rstd.size
    chunks = -(-rows // CHUNK)
    reset(counter)
    for worker in prange(workers):
        chunk = next_task(counter, worker, workers, chunks)
        while chunk < chunks:
            dw = partial[chunk * C : (chunk + 1) * C]
            fill(dw, 0.0)
            for r in range(chunk * CHUNK, min((chunk + 1) * CHUNK, rows)):
                part = slice(r * C, (r + 1) * C)
                divide_backward_row(dout[part], x[part], weight, rstd[r], dw, add, dx[part])
                if out.size > 0:
                    divide_row(x[part], weight, rstd[r], out[part])
            chunk = next_task(counter, worker, workers, chunks)
    fill(dweight, 0.0)
    for chunk in range(chunks):
        add_in_place(dweight, partial[chunk * C : (chunk + 1) * C])


def rmsnorm_forward(x: Array, weight: Array, out: Array, rstd: Array, *, eps: float = EPS) -> None:
    """Write the normalised rows to `out`, and each row's `rstd`.

    x, out (..., C); weight (C,); rstd (...).
    """
    forward(flat(x), flat(weight), eps, flat(out), flat(rstd), threads(), tasks())


def rmsnorm_backward(
    dout: Array, x: Array, weight: Array, rstd: Array, dx: Array, dweight: Array
) -> None:
    """Write the gradients of `x` and `weight`; `dx` may be `dout`."""
    _launch_backward((dout, x, weight, rstd), (dx, dweight, None), add=False)


def rmsnorm_backward_and_renormalise(
    dout: Array, x: Array, weight: Array, rstd: Array, dx: Array, dweight: Array, out: Array
) -> None:
    """Also recompute forward's `out`; the gradient of `x` is added to `dx`."""
    _launch_backward((dout, x, weight, rstd), (dx, dweight, out), add=True)


def _launch_backward(
    read: tuple[Array, ...], written: tuple[Array | None, ...], *, add: bool
) -> None:
    _, x, weight, rstd = read
    partial = workspace("rmsnorm", weight.size * -(-rstd.size // CHUNK), x.dtype)
    backward(
        *map(flat, read), int(add), *[flat(array, x) for array in written],
        partial, threads(), tasks(),
    )  # fmt: skip
