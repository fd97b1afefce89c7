"""Softmax cross-entropy, a row of logits at a time: largest, exponentials, sums in float64."""

import math

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.elementary import exp, like, tanh
from gpt_numpy.kernels.engine.jit import (
    Counter,
    In,
    Int,
    Ints,
    Out,
    Real,
    flat,
    kernel,
    prange,
    routine,
    same_memory,
    tasks,
    threads,
    workspace,
)  # fmt: skip
from gpt_numpy.kernels.engine.tasks import next_task, reset
from gpt_numpy.kernels.rows import copy, exp_in_place, fill, largest, scale_in_place, sum_of_exp

IGNORED = -1


@routine
def cap_row(row, cap, out):
    """Cap tanh(row / cap)."""
    height = like(cap, row)
    steep = like(1.0 / cap, row)
    for i in range(row.size):
        out[i] = height * tanh(row[i] * steep)


@routine
def cap_backward_row(capped, cap, drow):
    """Multiply `drow` by the derivative of the cap, 1 - (capped / cap)^2."""
    one, steep = like(1.0, drow), like(1.0 / cap, drow)
    for i in range(drow.size):
        share = capped[i] * steep
        drow[i] *= (one - share) * (one + share)


@routine
def mean_below(row, top):
    """The mean of top - element, in float64."""
    total = 0.0
    for i in range(row.size):
        total += np.float64(top) - np.float64(row[i])
    return total / row.size


@routine
def smooth_row(drow, dout, y, smoothing):
    """Spread a part of what is wanted of the target, dout, over all tokens."""
    total, own = np.float64(dout) * smoothing, drow[y]
    share = like(total / drow.size, drow)
    for i in range(drow.size):
        drow[i] -= share
    drow[y] = own + like(total - total / drow.size, drow)  # exactly 0 where there is one token


@kernel
def forward(
    logits: In, targets: Ints, out: Out, lse: Out, V: Int, cap: Real, space: Out,
    workers: Int, counter: Counter,
):  # fmt: skip
    """Loss = log sum exp(logits) - logit of the target; capped logits are made in `space`."""
    reset(counter)
    for worker in prange(workers):
        r = next_task(counter, worker, workers, targets.size)
        while r < targets.size:
            row = logits[r * V : (r + 1) * V]
            if cap != 0.0:
                capped = space[worker * V : (worker + 1) * V]
                cap_row(row, cap, capped)
                row = capped
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
def smooth(
    logits: In, targets: Ints, out: Out, V: Int, cap: Real, smoothing: Real, space: Out,
    workers: Int, counter: Counter,
):  # fmt: skip
    """A part of the target's logit in the loss becomes the same part of the mean of all logits."""
    reset(counter)
    for worker in prange(workers):
        r = next_task(counter, worker, workers, targets.size)
        while r < targets.size:
            row, y = logits[r * V : (r + 1) * V], targets[r]
            if y != IGNORED:
                if cap != 0.0:
                    capped = space[worker * V : (worker + 1) * V]
                    cap_row(row, cap, capped)
                    row = capped
                out[r] += smoothing * mean_below(row, row[y])
            r = next_task(counter, worker, workers, targets.size)


@kernel
def backward(
    dout: In, logits: In, targets: Ints, lse: In, dlogits: Out, in_place: Int, V: Int,
    cap: Real, smoothing: Real, space: Out, workers: Int, counter: Counter,
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
                capped = space[worker * V : (worker + 1) * V]
                if cap != 0.0:
                    cap_row(row, cap, capped)
                    copy(capped, row)
                y, own = targets[r], row[targets[r]]
                row[y] = -np.inf
                others = exp_in_place(row, lse[r], like(1.0, row))
                # Divided by their sum, which is 1 except for the rounding of a large lse.
                factor = np.float64(dout[r]) / (others + np.float64(exp(own - lse[r])))
                scale_in_place(row, like(factor, row))
                row[y] = -others * factor  # P - 1, without losing the digits of a P near 1
                if smoothing != 0.0:
                    smooth_row(row, dout[r], y, smoothing)
                if cap != 0.0:
                    cap_backward_row(capped, cap, row)
            r = next_task(counter, worker, workers, targets.size)


def _space(logits: Array, softcap: float) -> Array:
    """A row of capped logits for each worker."""
    return workspace("capped logits", threads() * logits.shape[-1] if softcap else 0, logits.dtype)


def cross_entropy_forward(
    logits: Array,
    targets: Array,
    out: Array,
    lse: Array,
    *,
    softcap: float = 0.0,
    smoothing: float = 0.0,
) -> None:
    """Write each position's loss to `out` and its log-sum-exp to `lse`; softcap 0: no cap.

    logits (..., V); targets, out, lse (...).
    """
    forward(
        flat(logits), flat(targets), flat(out), flat(lse), logits.shape[-1],
        softcap, _space(logits, softcap), threads(), tasks(),
    )  # fmt: skip
    if smoothing:
        smooth(
            flat(logits), flat(targets), flat(out), logits.shape[-1],
            softcap, smoothing, _space(logits, softcap), threads(), tasks(),
        )  # fmt: skip


def cross_entropy_backward(
    dout: Array,
    logits: Array,
    targets: Array,
    lse: Array,
    dlogits: Array,
    *,
    softcap: float = 0.0,
    smoothing: float = 0.0,
) -> None:
    """Write the gradient of `logits`; `dlogits` may be `logits`."""
    in_place = same_memory(logits, dlogits)
    backward(
        flat(dout), flat(logits), flat(targets), flat(lse), flat(dlogits), int(in_place),
        logits.shape[-1], softcap, smoothing, _space(logits, softcap), threads(), tasks(),
    )  # fmt: skip
