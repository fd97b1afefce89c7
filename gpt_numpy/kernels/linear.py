"""Linear layer: the three products, in float32 or bfloat16, and sums over rows for the bias."""

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
from gpt_numpy.kernels.products import matmul, matmul_bf16
from gpt_numpy.kernels.products.epilogue import RESIDUAL, Epilogue
from gpt_numpy.kernels.rows import add_in_place, fill
from gpt_numpy.reference.dropout import Dropout

BREADTH = 64  # columns of a task
FULL = "full"  # as in the reference
PRODUCTS = {FULL: matmul, "bfloat16": matmul_bf16}  # by the precision of their operands
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


def linear_forward(
    x: Array, weight: Array, bias: Array | None, out: Array, *, precision: str = FULL
) -> None:
    """Write `x @ weight + bias` to `out`: x (..., I), weight (I, O), bias (O,), out (..., O)."""
    PRODUCTS[precision].multiply(x, weight, out, bias=bias)


def linear_and_sum(
    x: Array,
    weight: Array,
    bias: Array | None,
    residual: Array,
    dropout: Dropout,
    out: Array,
    *,
    precision: str,
) -> None:
    """Write residual + dropout(x @ weight + bias) to `out`."""
    epilogue = Epilogue(RESIDUAL, other=residual, dropout=dropout)
    PRODUCTS[precision].multiply(x, weight, out, bias=bias, epilogue=epilogue)


def linear_backward(
    dout: Array,
    x: Array,
    weight: Array,
    bias: Array | None,
    dx: Array,
    dweight: Array,
    dbias: Array | None,
    *,
    precision: str = FULL,
) -> None:
    """Write the gradients of `x`, `weight` and `bias`."""
    # forward: out = x @ weight + bias
    PRODUCTS[precision].multiply(dout, weight, dx, transposed=True)
    parameter_gradients(dout, x, dweight, dbias, precision=precision)


def parameter_gradients(
    dout: Array, x: Array, dweight: Array, dbias: Array | None, *, precision: str = FULL
) -> None:
    """Write the gradients of the weight and of the bias, if there is one."""
    PRODUCTS[precision].multiply_columns(x, dout, dweight)
    if dbias is not None:
        space = workspace("bias", threads() * BREADTH, dout.dtype)
        sum_rows(flat(dout), flat(dbias), dout.shape[-1], threads(), tasks(), space)
