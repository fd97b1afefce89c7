"""Softmax cross-entropy, a row of logits at a time: largest, exponentials, sums in float64."""

import math

import numpy as np

from gpt_numpy.arrays import Array
from gpt_numpy.kernels.elementary import like
from gpt_numpy.kernels.jit import (
    Counter,
    In,
    Int,
    Ints,
    Out,
    flat,
    kernel,
    prange,
    same_memory,
    tasks,
    threads,
)
from gpt_numpy.kernels.rows import copy, exp_in_place, fill, largest, scale_in_place, sum_of_exp
from gpt_numpy.kernels.tasks import next_task, reset

IGNORED = -1


@kernel
def forward(
    logits: In, targets: Ints, out: Out, lse: Out, V: Int, workers: Int, counter: Counter
):  # fmt: skip
    """Loss = log sum exp(logits) - logit of the target."""
    reset(counter)
    for worker in prange(workers):
        r = next_task(counter, worker, workers, targets.size)
        while r < targets.size:
            row = logits[r * V : (r + 1) * V]
            top = largest(row)
            log_sum = math.log(sum_of_exp(row, top))
            lse[r] = top + log_sum
            out[r] = 0.0
            if targets[r] != IGNORED:
                out[r] = log_sum + (top - row[targets[r]])  # not rounded to the size of lse
            r = next_task(counter, worker, workers, targets.size)


@kernel
def backward(
    dout: In, logits: In, targets: Ints, lse: In, dlogits: Out, in_place: Int, V: Int,
    workers: Int, counter: Counter,
):  # fmt: skip
    """Dlogits = dout (softmax - 1 at the target), made in place from a copy of the logits."""
    reset(counter)
    for worker in prange(workers):
        r = next_task(counter, worker, workers, targets.size)
        while r < targets.size:
            row = dlogits[r * V : (r + 1) * V]
            if targets[r] == IGNORED:
                fill(row, 0.0)
            else:
                if not in_place:
                    copy(logits[r * V : (r + 1) * V], row)
                # Divided by their sum, which is 1 but for the rounding of a large lse.
                total = exp_in_place(row, lse[r], like(1.0, row))
                scale_in_place(row, like(np.float64(dout[r]) / total, row))
                row[targets[r]] -= dout[r]
            r = next_task(counter, worker, workers, targets.size)


def cross_entropy_forward(logits: Array, targets: Array, out: Array, lse: Array) -> None:
    """Write each position's loss to `out` and its log-sum-exp to `lse`.

    logits (..., V); targets, out, lse (...).
    """
    V = logits.shape[-1]
    forward(flat(logits), flat(targets), flat(out), flat(lse), V, threads(), tasks())


def cross_entropy_backward(
    dout: Array, logits: Array, targets: Array, lse: Array, dlogits: Array
) -> None:
    """Write the gradient of `logits`; `dlogits` may be `logits`."""
    in_place = same_memory(logits, dlogits)
    backward(
        flat(dout), flat(logits), flat(targets), flat(lse), flat(dlogits), int(in_place),
        logits.shape[-1], threads(), tasks(),
    )  # fmt: skip
