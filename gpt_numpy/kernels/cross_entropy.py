"""Softmax cross-entropy, a row of logits at a time: largest, exponentials, sums in float64."""

import math

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.elementary import exp, like
from gpt_numpy.kernels.engine.jit import (
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
from gpt_numpy.kernels.engine.tasks import next_task, reset
from gpt_numpy.kernels.rows import copy, exp_in_place, fill, largest, scale_in_place, sum_of_exp

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
            y = targets[r]
            if y == IGNORED:
                lse[r] = top + math.log(sum_of_exp(row, top))
                out[r] = 0.0
            else:
                # Apart, so that neither a probability near 1 nor a large lse takes the digits.
                others = sum_of_exp(row[:y], top) + sum_of_exp(row[y + 1 :], top)
                log_sum = math.log1p(others + (np.float64(exp(row[y] - top)) - 1.0))
                lse[r] = top + log_sum
                out[r] = log_sum + (top - row[y])
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
                y, own = targets[r], row[targets[r]]
                row[y] = -np.inf
                others = exp_in_place(row, lse[r], like(1.0, row))
                # Divided by their sum, which is 1 except for the rounding of a large lse.
                factor = np.float64(dout[r]) / (others + np.float64(exp(own - lse[r])))
                scale_in_place(row, like(factor, row))
                row[y] = -others * factor  # P - 1, without losing the digits of a P near 1
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
