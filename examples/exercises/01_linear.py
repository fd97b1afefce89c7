"""Exercise 1 of 12: the linear layer.

Forward. Each of 5 rows of x has 4 numbers; each column of weight makes one of the 3 numbers of
that row of out from them, and the bias is added:

    out = x @ weight + bias

Backward. There is a loss L, one number, which depends on out. You are given dout, an array of the
shape of out: dout[r, o] is the derivative of L with respect to out[r, o]. Write the same for what
forward has read: into dx the derivatives with respect to x, and so on. All you need is the chain
rule: what x[r, i] does to L, it does through the numbers of out that it enters.

Write into the arrays, `dx[...] = `, for `dx = ` would only give the name dx to another array.

    python -m examples.exercises 1 [--hint] [--derivation]
"""

import numpy as np

rng = np.random.default_rng(0)
inputs = {
    "x": rng.standard_normal((5, 4)),
    "weight": rng.standard_normal((4, 3)),
    "bias": rng.standard_normal(3),
}
outputs = {"out": (5, 3)}


def forward(x, weight, bias, out):
    """Write x @ weight + bias to `out`."""
    out[...] = x @ weight + bias


def backward(dout, x, weight, bias, dx, dweight, dbias):
    """Write dx (5, 4), dweight (4, 3) and dbias (3,)."""
    # yours
