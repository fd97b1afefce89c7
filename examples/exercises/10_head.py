"""Exercise 10 of 12: one attention head.

Forward. Every place of a sequence of 5 has a query q, a key k and a value v, of 4 numbers each.
How well the query of one place matches the key of another is their score; a place may look at
itself and at earlier ones, so the scores with later places are masked; softmax (exercise 7) makes
weights of a row of scores, and out is the average of the values with these weights:

    s = np.where(np.tri(5) == 1, q @ k.mT / np.sqrt(4), -1e30)
    p = np.exp(s) / np.exp(s).sum(axis=-1, keepdims=True)
    out = p @ v

k.mT swaps the last two axes of k, the same as k.swapaxes(-1, -2); np.tri(5) is 1 on the diagonal
and below it. p is handed to backward as forward wrote it.

    python -m examples.exercises 10 [--hint] [--derivation]
"""

import numpy as np

rng = np.random.default_rng(0)
inputs = {name: rng.standard_normal((2, 5, 4)) for name in ("q", "k", "v")}
outputs = {"out": (2, 5, 4), "p": (2, 5, 5)}


def forward(q, k, v, out, p):
    """Write each place's average of the values to `out`, and the weights to `p`."""
    s = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    s = np.where(np.tri(5, dtype=bool), s, -1e30)
    e = np.exp(s - s.real.max(axis=-1, keepdims=True))
    p[...] = e / e.sum(axis=-1, keepdims=True)
    out[...] = p @ v


def backward(dout, q, k, v, p, dq, dk, dv):
    """Write dq, dk and dv, (2, 5, 4) each."""
    # yours
