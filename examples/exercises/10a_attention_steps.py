"""Exercise 10a: one attention head, backward in atomic steps.

Forward, in four steps, as in exercise f4:

    scores = q @ k.mT / np.sqrt(7)
    masked = np.where(np.tri(5) == 1, scores, -np.inf)
    weights = softmax(masked)
    out = weights @ v

k.mT swaps the last two axes of k, like k.swapaxes(-1, -2); np.tri(5) is 1 on and below the
diagonal.

Go back one step at a time: dweights and dv from dout, dmasked from dweights (exercise 7), dscores
from dmasked (what has been replaced by -inf has no influence), dq and dk from dscores (exercise 1).
As in 7a, scores, masked and weights are *nudges*, all 0, that forward adds to what it computes.
Masked places have the weight exp(-inf) = 0; forward uses -1e30, which gives 0 as well. backward
gets the weights as forward wrote them, as p.

    python -m examples.exercises 10a [--hint] [--derivation]
"""

import numpy as np

rng = np.random.default_rng(0)
inputs = {name: rng.standard_normal((3, 5, 7)) for name in ("q", "k", "v")}
inputs |= {name: np.zeros((3, 5, 5)) for name in ("scores", "masked", "weights")}
outputs = {"out": (3, 5, 7), "p": (3, 5, 5)}


def forward(q, k, v, scores, masked, weights, out, p):
    """Write the averages of the values to `out`, and the weights to `p`."""
    s = q @ k.swapaxes(-1, -2) / np.sqrt(7) + scores
    s = np.where(np.tri(5, dtype=bool), s, -1e30) + masked
    e = np.exp(s - s.real.max(axis=-1, keepdims=True))
    p[...] = e / e.sum(axis=-1, keepdims=True) + weights
    out[...] = p @ v


def backward(dout, q, k, v, p, dq, dk, dv, dscores, dmasked, dweights):
    """Write dweights, dmasked and dscores, (3, 5, 5) each, and dq, dk and dv, (3, 5, 7) each."""
    # yours
