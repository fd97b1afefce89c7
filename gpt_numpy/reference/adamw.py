"""AdamW: a step along the running mean of the gradient, divided by the root of its mean square.

Sources: Kingma, Ba, "Adam" (2015), algorithm 1; Loshchilov, Hutter, "Decoupled Weight Decay
Regularization" (2019), algorithm 2, with the decay scaled by the learning rate as in PyTorch.

With g the gradient, after clipping, of step t = 1, 2, ... (new values left, old ones right):

    m = beta1 m + (1 - beta1) g            running mean, started at 0
    v = beta2 v + (1 - beta2) g^2          running mean square, started at 0

    m_hat = m / (1 - beta1^t)
    v_hat = v / (1 - beta2^t)

    param = param - learning_rate (weight_decay param + m_hat / (sqrt(v_hat) + eps))

A mean that starts at 0 is too small at first: for constant g, m = (1 - beta1^t) g. Dividing
corrects that. eps keeps the quotient finite where v_hat is 0. The decay is no part of g: it does
not pass through m and v.

Clipping by the norm of the whole gradient multiplies g by

    min(1, grad_clip / (norm + 1e-6)),     norm = sqrt(sum of squares over all parameters)

The squares are summed chunk by chunk, and the chunks' sums from the first to the last: so several
processes, each with some of the chunks, compute the same bits as one.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from gpt_numpy.base.arrays import CHUNK, Array


class AdamWSettings(NamedTuple):
    """What is the same for all elements of a tensor in a step."""

    learning_rate: float
    beta1: float
    beta2: float
    eps: float
    weight_decay: float


class Stretch(NamedTuple):
    """Parameters that lie one after the other and are updated alike.

    They begin at `start` in the buffer of the parameters and in that of their gradients, and at
    `state` in those of the running means. `decays`: 1 with weight decay, 0 without.
    """

    start: int
    state: int
    size: int
    decays: int


def adamw_updates(
    params: Array,
    grads: Array,
    m: Array,
    v: Array,
    stretches: Iterable[Stretch],
    *,
    step: int,
    grad_scale: float,
    settings: AdamWSettings,
) -> None:
    """Update every stretch of a buffer of parameters in place: `adamw_update` of each."""
    for start, state, size, decays in stretches:
        where, there = slice(start, start + size), slice(state, state + size)
        adamw_update(
            params[where],
            grads[where],
            m[there],
            v[there],
            step=step,
            grad_scale=grad_scale,
            settings=settings._replace(weight_decay=settings.weight_decay * decays),
        )


def adamw_update(
    param: Array,
    grad: Array,
    m: Array,
    v: Array,
    *,
    step: int,
    grad_scale: float,
    settings: AdamWSettings,
) -> None:
    """Update `param`, `m` and `v` in place; `step` counts from 1, `grad_scale` is clipping's."""
    learning_rate, beta1, beta2, eps, weight_decay = settings
    g = grad * grad_scale
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g * g
    m_hat = m / (1 - beta1**step)
    v_hat = v / (1 - beta2**step)
    param[...] -= learning_rate * (weight_decay * param + m_hat / (np.sqrt(v_hat) + eps))


def sum_of_squares(x: Array) -> float:
    """The sum of the squares of all elements, in float64."""
    sums = squares_of_chunks(x)
    return float(np.cumsum(sums)[-1]) if sums.size else 0.0


def squares_of_chunks(x: Array) -> Array:
    """The sum of squares of each chunk of a vector, in float64."""
    starts = range(0, x.size, CHUNK)
    flat = x.reshape(-1)
    return np.array([np.square(flat[i : i + CHUNK], dtype=np.float64).sum() for i in starts])
