"""Exercise 1: the linear layer.

Forward. Each of the 5 rows of x has 7 numbers. Each column of weight turns them into one of the 3
numbers in that row of out, and the bias is added:

    out = x @ weight + bias

Backward. There is a loss L, one number, which depends on out. You are given dout, an array with the
shape of out: dout[r, o] is the derivative of L with respect to out[r, o]. Compute the same for what
forward has read: write the derivatives with respect to x into dx, and so on. All you need is the
chain rule: x[r, i] affects L only through the numbers of out that it enters.

Write into the arrays, `dx[...] = `; `dx = ` would only rebind the name. They hold garbage at first:
write every element.

    python -m examples.exercises 1 [--hint] [--derivation]
"""

import numpy as np

rng = np.random.default_rng(0)
inputs = {
    "x": rng.standard_normal((5, 7)),
    "weight": rng.standard_normal((7, 3)),
    "bias": rng.standard_normal(3),
}
outputs = {"out": (5, 3)}


def forward(x, weight, bias, out):
    """Write x @ weight + bias to `out`."""
    out[...] = x @ weight + bias


def backward(dout, x, weight, bias, dx, dweight, dbias):
    """Write dx (5, 7), dweight (7, 3) and dbias (3,)."""
    # yours
