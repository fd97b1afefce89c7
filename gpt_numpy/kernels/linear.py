"""Linear layer: the three products of `matmul.py`, and sums over rows for the bias."""

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.engine.jit import (
    Counter,
    In,
    Int,
    Out,
    flat,
    kernel,
    prange,
    tasks,
    threads,
    workspace,
)  # fmt: skip
from gpt_numpy.kernels.engine.tasks import next_task, reset
from gpt_numpy.kernels.products.matmul import multiply, multiply_columns
from gpt_numpy.kernels.rows import add_in_place, fill

BREADTH = 64  # columns of a task
HEIGHT = 64  # rows that are summed before their sum is added to the total, which keeps it exact


@kernel
def sum_rows(x: In, out: Out, columns: Int, workers: Int, counter: Counter, space: Out):
    """Sum a strip of columns at a time, in two levels."""
    rows = x.size // columns
    reset(counter)
    for worker in prange(workers):
        j0 = next_task(counter, worker, workers, columns, BREADTH)
        while j0 < columns:
            breadth = min(BREADTH, columns - j0)
            total = out[j0 : j0 + breadth]
            subtotal = space[worker * BREADTH : worker * BREADTH + breadth]
            fill(total, 0.0)
            for i0 in range(0, rows, HEIGHT):
                fill(subtotal, 0.0)
                for i in range(i0, min(i0 + HEIGHT, rows)):
                    add_in_place(subtotal, x[i * columns + j0 : i * columns + j0 + breadth])
                add_in_place(total, subtotal)
            j0 = next_task(counter, worker, workers, columns, BREADTH)


def linear_forward(x: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Write `x @ weight + bias` to `out`: x (..., I), weight (I, O), bias (O,), out (..., O)."""
    multiply(x, weight, out, bias=bias)


def linear_backward(
    dout: Array,
    x: Array,
    weight: Array,
    bias: Array | None,
    dx: Array,
    dweight: Array,
    dbias: Array | None,
) -> None:
    """Write the gradients of `x`, `weight` and `bias`."""
    # forward: out = x @ weight + bias
    multiply(dout, weight, dx, transposed=True)
    parameter_gradients(dout, x, dweight, dbias)


def parameter_gradients(dout: Array, x: Array, dweight: Array, dbias: Array | None) -> None:
    """Write the gradients of the weight and of the bias, if there is one."""
    multiply_columns(x, dout, dweight)
    if dbias is not None:
        space = workspace("bias", threads() * BREADTH, dout.dtype)
        sum_rows(flat(dout), flat(dbias), dout.shape[-1], threads(), tasks(), space)
