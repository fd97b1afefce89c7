"""Muon: a step along the nearest orthogonal matrix to the running mean of the gradient.

Sources: K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024), whose
coefficients these are; J. Bernstein, L. Newhouse, "Old Optimizer, New Norm" (2024), for the reason.

Why orthogonal. A weight W (in, out) acts on rows, x W. Among all changes D of W that change no
output by more than a given share of its input, |x D| <= r |x| for every x (so the spectral norm of
D is at most r), which one lowers the loss most? With the singular value decomposition of the
gradient, G = U S V^T, to first order the loss changes by

    sum(G * D) = trace(V S U^T D) = sum_i S_i (u_i^T D v_i)  >=  -r sum_i S_i,

because |u_i^T D v_i| <= r; and D = -r U V^T attains it. So every singular value of the step is the
same, where gradient descent follows the few largest and leaves the others behind. AdamW's rule
is the same with another norm: the largest |D_ij| instead of the spectral norm gives -r sign(G).

How, without a decomposition. A polynomial with odd powers acts on the singular values alone:

    X = U S V^T   =>   a X + b (X X^T) X + c (X X^T)^2 X = U (a S + b S^3 + c S^5) V^T

With X = G / |G|, where |G| is the root of the sum of squares, so that 0 <= S <= 1, the polynomial
p(s) = a s + b s^3 + c s^5 is applied five times. p'(0) = a is as large as it can be, so that small
values grow fast, 3.4445^5 = 485 times in all; the price is that they do not converge to 1. Those
above |G| / 500 end between 0.68 and 1.21, which no loss curve shows; smaller ones, the noise of the
gradient, remain small. A matrix with more rows than columns is transposed before and after, which
gives the same U V^T and the smaller X X^T.

The mean, with g the gradient after clipping (new values left, old ones right):

    momentum = beta momentum + (1 - beta) g
    u        = beta momentum + (1 - beta) g     Nesterov: the next mean, if g came again

    W = W - learning_rate (weight_decay W + sqrt(max(1, out / in)) orthogonal(u))

The scale: for x whose elements are of size 1, |x| = sqrt(in), and a change of all out elements of
x D by r is |x D| = r sqrt(out). An orthogonal matrix has |x D| = |x| at most; times sqrt(out / in)
its outputs change by 1 as well, whatever the shape. Where out < in the factor is left at 1.

Muon is for weights that multiply the residual stream or what comes from it. A token's row of an
embedding is used alone, and biases and norms are no matrices: AdamW updates all these (adamw.py).
Clipping multiplies g by one factor for all parameters, AdamW's and Muon's, as there. As
orthogonal(u) does not depend on the length of u, it only keeps a step with an unusually large
gradient from dominating the mean.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from gpt_numpy.base.arrays import Array


class NewtonSchulz(NamedTuple):
    """The polynomial's coefficients, how often it is applied, and what is added to the norm.

    Because of the last, a gradient of zeros gives a step of zeros.
    """

    a: float
    b: float
    c: float
    iterations: int
    eps: float


QUINTIC = NewtonSchulz(a=3.4445, b=-4.7750, c=2.0315, iterations=5, eps=1e-7)


class MuonSettings(NamedTuple):
    """What is the same for all matrices in a step."""

    learning_rate: float
    momentum: float
    weight_decay: float


class Place(NamedTuple):
    """Where a matrix lies: columns first, first + 1, ... of an array (rows, width).

    The array begins at `start` in the buffer of the parameters and in that of their gradients, and
    at `state` in the buffer of the running means.
    """

    start: int
    state: int
    rows: int
    width: int
    first: int
    columns: int

    def of(self, flat: Array, start: int) -> Array:
        """The matrix, a view of a buffer in which its array begins at `start`."""
        whole = flat[start : start + self.rows * self.width].reshape(self.rows, self.width)
        return whole[:, self.first : self.first + self.columns]


def orthogonal(x: Array) -> Array:
    """Nearly U V^T of x = U S V^T, by Newton and Schulz's iteration of degree five."""
    a, b, c, iterations, eps = QUINTIC
    wide = x if x.shape[0] <= x.shape[1] else x.T
    norm = np.sqrt(np.square(wide, dtype=np.float64).sum())
    wide = wide * (1 / (norm + eps)).astype(x.dtype)
    for _ in range(iterations):
        gram = wide @ wide.T
        wide = a * wide + (b * gram + c * (gram @ gram)) @ wide
    return wide if x.shape[0] <= x.shape[1] else wide.T


def muon_update(
    param: Array, grad: Array, momentum: Array, *, grad_scale: float, settings: MuonSettings
) -> None:
    """Update a weight (in, out) and its `momentum` in place; `grad_scale` is clipping's."""
    learning_rate, beta, weight_decay = settings
    n_in, n_out = param.shape
    g = grad * grad_scale
    momentum[...] = beta * momentum + (1 - beta) * g
    step = orthogonal(beta * momentum + (1 - beta) * g)
    scale = max(1.0, n_out / n_in) ** 0.5
    param[...] -= learning_rate * (weight_decay * param + scale * step)


def muon_updates(
    params: Array,
    grads: Array,
    momenta: Array,
    places: Iterable[Sequence[int]],
    changes: Array,
    *,
    grad_scale: float,
    settings: MuonSettings,
) -> None:
    """Update every matrix of a buffer of parameters in place: `muon_update` of each.

    `places` are Places. To `changes`, float64 (n, 2), are written the sums of the squares of each
    change, and of the weight before it.
    """
    for values, lengths in zip(places, changes, strict=True):
        place = Place(*values)
        param = place.of(params, place.start)
        before = param.astype(np.float64)
        muon_update(
            param,
            place.of(grads, place.start),
            place.of(momenta, place.state),
            grad_scale=grad_scale,
            settings=settings,
        )
        lengths[:] = np.square(param - before).sum(), np.square(before).sum()
