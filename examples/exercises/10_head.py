"""Exercise 10: one attention head.

Forward. Each position in a sequence of 5 has a query q, a key k and a value v of 7 numbers each. A
score says how well the query of one position matches the key of another. A position may look at
itself and at earlier ones, so the scores of later positions are masked. Softmax (exercise 7) turns
a row of scores into weights, and out is the average of the values with these weights:

    s = np.where(np.tri(5) == 1, q @ k.mT / np.sqrt(7), -1e30)
    p = np.exp(s) / np.exp(s).sum(axis=-1, keepdims=True)
    out = p @ v

(k.mT and np.tri are those of exercise 10a; -1e30 stands for -inf: exp of either is 0.) backward
gets p as forward wrote it.

    python -m examples.exercises 10 [--hint] [--derivation]
"""

import numpy as np

rng = np.random.default_rng(0)
inputs = {name: rng.standard_normal((3, 5, 7)) for name in ("q", "k", "v")}
outputs = {"out": (3, 5, 7), "p": (3, 5, 5)}


def forward(q, k, v, out, p):
    """Write each position's average of the values to `out`, and the weights to `p`."""
    s = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    s = np.where(np.tri(5, dtype=bool), s, -1e30)
    e = np.exp(s - s.real.max(axis=-1, keepdims=True))
    p[...] = e / e.sum(axis=-1, keepdims=True)
    out[...] = p @ v


def backward(dout, q, k, v, p, dq, dk, dv):
    """Write dq, dk and dv, (3, 5, 7) each."""
    # yours
