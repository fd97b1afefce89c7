"""AdamW in one pass over parameter, gradient and moments, with clipping's scale; and the norm."""

import math

import numpy as np

from gpt_numpy.base.arrays import CHUNK, Array
from gpt_numpy.kernels.elementary import like
from gpt_numpy.kernels.engine.jit import (
    Counter,
    In,
    Int,
    Ints,
    Out,
    Real,
    Wide,
    flat,
    kernel,
    prange,
    routine,
    tasks,
    threads,
)  # fmt: skip
from gpt_numpy.kernels.engine.tasks import next_task, reset
from gpt_numpy.kernels.rows import dot
from gpt_numpy.reference.adamw import AdamWSettings

ALONE = 4 * CHUNK  # elements that one thread has done before another is awake
FIELDS = 4  # of a reference.adamw.Stretch


@routine
def update(param, grad, m, v, scalars):
    """One step; everything is in the type of the parameters."""
    grad_scale, learning_rate, beta1, beta2, eps, decay, m_correction, v_correction = scalars
    rest1, rest2 = like(1.0 - beta1, param), like(1.0 - beta2, param)
    b1, b2, g_scale = like(beta1, param), like(beta2, param), like(grad_scale, param)
    rate, shrink, small = like(learning_rate, param), like(decay, param), like(eps, param)
    m_unbias, v_unbias = like(m_correction, param), like(v_correction, param)
    for i in range(param.size):
        g = grad[i] * g_scale
        mean = b1 * m[i] + rest1 * g
        square = b2 * v[i] + rest2 * g * g
        m[i], v[i] = mean, square
        step = mean * m_unbias / (math.sqrt(square * v_unbias) + small)
        param[i] -= rate * (shrink * param[i] + step)


@routine
def place_of(stretches, task):
    """Where the elements of a task begin and how many there are; tasks of a stretch follow.

    Returned are `start`, `state` (reference/adamw.py), the size, and whether they decay.
    """
    for i in range(0, stretches.size, FIELDS):
        size = stretches[i + 2]
        count = -(-size // CHUNK)
        if task < count:
            at = task * CHUNK
            start, state = stretches[i] + at, stretches[i + 1] + at
            return start, state, min(CHUNK, size - at), stretches[i + 3]
        task -= count
    return 0, 0, 0, 0


@routine
def tasks_of(stretches):
    """How many chunks there are in all stretches."""
    count = 0
    for i in range(0, stretches.size, FIELDS):
        count += -(-stretches[i + 2] // CHUNK)
    return count


@kernel
def adamw(
    params: Out, grads: In, m: Out, v: Out, stretches: Ints, grad_scale: Real, learning_rate: Real,
    beta1: Real, beta2: Real, eps: Real, decay: Real, m_correction: Real, v_correction: Real,
    workers: Int, counter: Counter,
):  # fmt: skip
    """Chunk by chunk, stretch after stretch."""
    count = tasks_of(stretches)
    reset(counter)
    for worker in prange(workers):
        task = next_task(counter, worker, workers, count)
        while task < count:
            start, state, size, decays = place_of(stretches, task)
            where, there = slice(start, start + size), slice(state, state + size)
            shrink = decay if decays else 0.0
            update(
                params[where], grads[where], m[there], v[there],
                (grad_scale, learning_rate, beta1, beta2, eps, shrink, m_correction, v_correction),
            )  # fmt: skip
            task = next_task(counter, worker, workers, count)


@kernel
def squares(x: In, sums: Wide, workers: Int, counter: Counter):
    """A sum for each chunk."""
    chunks = -(-x.size // CHUNK)
    reset(counter)
    for worker in prange(workers):
        chunk = next_task(counter, worker, workers, chunks)
        while chunk < chunks:
            part = x[chunk * CHUNK : (chunk + 1) * CHUNK]
            sums[chunk] = dot(part, part)
            chunk = next_task(counter, worker, workers, chunks)


def adamw_updates(
    params: Array,
    grads: Array,
    m: Array,
    v: Array,
    stretches: Array,
    *,
    step: int,
    grad_scale: float,
    settings: AdamWSettings,
) -> None:
    """Update all stretches of a buffer of parameters in place: `stretches` are Stretches (n, 4)."""
    corrections = 1 / (1 - settings.beta1**step), 1 / (1 - settings.beta2**step)
    adamw(
        flat(params), flat(grads), flat(m), flat(v), flat(stretches), grad_scale, *settings,
        *corrections, threads(), tasks(), alone=params.size <= ALONE,
    )  # fmt: skip


def sum_of_squares(x: Array) -> float:
    """The sum of the squares of all elements, in float64."""
    sums = squares_of_chunks(x)
    return float(np.cumsum(sums)[-1]) if sums.size else 0.0


def squares_of_chunks(x: Array) -> Array:
    """The sum of squares of each chunk of a vector, in float64."""
    sums = np.empty(-(-x.size // CHUNK))
    squares(flat(x), sums, threads(), tasks(), alone=x.size <= ALONE)
    return sums
