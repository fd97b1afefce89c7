"""Layer norm in two passes over a row that stays in the cache; sums in float64."""

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
from gpt_numpy.kernels.rows import add_in_place, fill

EPS = 1e-5  # as in the reference, unless a model says something else
CHUNK = 32  # rows of a task


@routine
def row_statistics(x, eps):
    """Mean and 1 / sqrt(variance + eps), in float64."""
    total = 0.0
    for i in range(x.size):
        total += np.float64(x[i])
    mean = total / x.size
    square = 0.0
    for i in range(x.size):
        square += (np.float64(x[i]) - mean) ** 2
    return mean, 1.0 / math.sqrt(square / x.size + eps)


@routine
def normalise_row(x, weight, bias, mean, rstd, out):
    """(x - mean) rstd weight + bias."""
    if bias.size > 0:
        for i in range(x.size):
            out[i] = (x[i] - mean) * rstd * weight[i] + bias[i]
    else:
        for i in range(x.size):
            out[i] = (x[i] - mean) * rstd * weight[i]


@routine
def backward_row(dout, x, weight, mean, rstd, dweight, dbias, add, dx):
    """Add to the sums of `dweight` and `dbias`, and write the row of dx or add it."""
    along_ones, along_xhat = 0.0, 0.0
    for i in range(x.size):
        xhat = (x[i] - mean) * rstd
        dxhat = dout[i] * weight[i]
        along_ones += np.float64(dxhat)
        along_xhat += np.float64(dxhat * xhat)
    for i in range(x.size):
        dweight[i] += dout[i] * ((x[i] - mean) * rstd)
        dbias[i] += dout[i]
    ones, slope = like(along_ones / x.size, x), like(along_xhat / x.size, x)
    if add:
        for i in range(x.size):
            dx[i] += (dout[i] * weight[i] - ones - (x[i] - mean) * rstd * slope) * rstd
    else:
        for i in range(x.size):
            dx[i] = (dout[i] * weight[i] - ones - (x[i] - mean) * rstd * slope) * rstd


@kernel
def forward(
    x: In, weight: In, bias: In, eps: Real, out: Out, mean: Out, rstd: Out,
    workers: Int, counter: Counter,
):  # fmt: skip
    """Statistics, then the row itself."""
    C, rows = weight.size, mean.size
    reset(counter)
    for worker in prange(workers):
        start = next_task(counter, worker, workers, rows, CHUNK)
        while start < rows:
            for r in range(start, min(start + CHUNK, rows)):
                row = x[r * C : (r + 1) * C]
                m, s = row_statistics(row, eps)
                mean[r], rstd[r] = m, s
                normalise_row(row, weight, bias, mean[r], rstd[r], out[r * C : (r + 1) * C])
            start = next_task(counter, worker, workers, rows, CHUNK)


@kernel
def backward(
    dout: In, x: In, weight: In, bias: In, mean: In, rstd: In, add: Int,
    dx: Out, dweight: Out, dbias: Out, out: Out, partial: Out, workers: Int, counter: Counter,
):  # fmt: skip
    """Each chunk of rows has its own sums for weight and bias; they are added up in order.

    Where `out` is wanted, the row is normalised again, while it is at hand.
    """
    C, rows = weight.size, mean.size
    chunks = -(-rows // CHUNK)
    reset(counter)
    for worker in prange(workers):
        chunk = next_task(counter, worker, workers, chunks)
        while chunk < chunks:
            dw = partial[2 * chunk * C : (2 * chunk + 1) * C]
            db = partial[(2 * chunk + 1) * C : (2 * chunk + 2) * C]
            fill(dw, 0.0)
            fill(db, 0.0)
            for r in range(chunk * CHUNK, min((chunk + 1) * CHUNK, rows)):
                part = slice(r * C, (r + 1) * C)
                backward_row(dout[part], x[part], weight, mean[r], rstd[r], dw, db, add, dx[part])
                if out.size > 0:
                    normalise_row(x[part], weight, bias, mean[r], rstd[r], out[part])
            chunk = next_task(counter, worker, workers, chunks)
    fill(dweight, 0.0)
    fill(dbias, 0.0)
    for chunk in range(chunks):
        add_in_place(dweight, partial[2 * chunk * C : (2 * chunk + 1) * C])
        if dbias.size > 0:
            add_in_place(dbias, partial[(2 * chunk + 1) * C : (2 * chunk + 2) * C])


def layernorm_forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    out: Array,
    mean: Array,
    rstd: Array,
    *,
    eps: float = EPS,
) -> None:
    """Write the normalised rows to `out`, and each row's `mean` and `rstd`.

    x, out (..., C); weight, bias (C,); mean, rstd (...).
    """
    forward(
        flat(x), flat(weight), flat(bias, x), eps, flat(out), flat(mean), flat(rstd),
        threads(), tasks(),
    )  # fmt: skip


def layernorm_backward(
    dout: Array,
    x: Array,
    weight: Array,
    bias: Array | None,
    mean: Array,
    rstd: Array,
    dx: Array,
    dweight: Array,
    dbias: Array | None,
) -> None:
    """Write the gradients of `x`, `weight` and `bias`; `dx` may be `dout`."""
    arrays = (dout, x, weight, bias, mean, rstd)
    _launch_backward(arrays, (dx, dweight, dbias, None), add=False)


def layernorm_backward_and_renormalise(
    dout: Array,
    x: Array,
    weight: Array,
    bias: Array | None,
    mean: Array,
    rstd: Array,
    dx: Array,
    dweight: Array,
    dbias: Array | None,
    out: Array,
) -> None:
    """Also recompute forward's `out`; the gradient of `x` is added to `dx`."""
    arrays = (dout, x, weight, bias, mean, rstd)
    _launch_backward(arrays, (dx, dweight, dbias, out), add=True)


def _launch_backward(
    read: tuple[Array | None, ...], written: tuple[Array | None, ...], *, add: bool
) -> None:
    x, weight, mean = read[1], read[2], read[4]
    partial = workspace("layernorm", 2 * weight.size * -(-mean.size // CHUNK), x.dtype)
    backward(
        *[flat(array, x) for array in read], int(add), *[flat(array, x) for array in written],
        partial, threads(), tasks(),
    )  # fmt: skip
