"""What sublayers do at the residual stream, in backward, and at the encoder's output."""

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.dropout import dropout_backward, dropout_forward
from gpt_numpy.kernels.engine.jit import (
    Counter,
    In,
    Int,
    Out,
    flat,
    kernel,
    prange,
    same_memory,
    tasks,
    threads,
)  # fmt: skip
from gpt_numpy.kernels.engine.tasks import next_task, reset
from gpt_numpy.kernels.rows import add_in_place
from gpt_numpy.reference.dropout import NO_DROPOUT, Dropout

CHUNK = 16384  # elements of a task


@kernel
def add(total: Out, x: In, workers: Int, counter: Counter):
    """Chunk by chunk."""
    reset(counter)
    for worker in prange(workers):
        start = next_task(counter, worker, workers, x.size, CHUNK)
        while start < x.size:
            add_in_place(total[start : start + CHUNK], x[start : start + CHUNK])
            start = next_task(counter, worker, workers, x.size, CHUNK)


def add_to(total: Array, x: Array) -> None:
    """Add `x` to `total`: the gradients of whoever read the same array."""
    add(flat(total), flat(x), threads(), tasks())


def through_dropout(dout: Array, dropout: Dropout, workspace: Array) -> Array:
    """The gradient of what was dropped out: `dout` itself, or written to `workspace`."""
    if dropout.rate == 0:
        return dout
    dropout_backward(dout, dropout, dx=workspace)
    return workspace


def copy_unless_same(dout: Array, dx: Array) -> None:
    """Let `dx` begin as the gradient that the residual stream hands down unchanged."""
    if not same_memory(dx, dout):
        # A copy by a launch: NumPy's would be made once, when the launches are recorded.
        dropout_forward(dout, NO_DROPOUT, out=dx)
