"""Exercise 10, one attention head.

out = p @ v, so as in exercise 1

    dp = dout @ v.mT
    dv = p.mT @ dout

Softmax as in exercise 7, row by row. A masked weight is 0 for any scores, and p = 0 makes its ds 0:

    ds = p * (dp - (dp * p).sum(axis=-1, keepdims=True))
    np.triu(ds, 1) == np.zeros((2, 5, 5))

The scores s = q @ k.mT / sqrt(4) are a product again: the gradient of a query sums over all keys
that it was compared with, that of a key over all queries:

    dq = ds @ k / np.sqrt(4)
    dk = ds.mT @ q / np.sqrt(4)
"""

import numpy as np

HINT = """\
Three steps you have done before, in reverse. out = p @ v is a matrix product as in exercise 1: it
gives dv, and dp on the way to the scores. Then the softmax of exercise 7 gives ds; where p is 0, so
is ds, so the mask needs no extra code. Then q @ k.mT is a product again. Do not forget 1 / sqrt(4)
in both gradients.
"""


def backward(dout, q, k, v, p, dq, dk, dv):
    """Write the gradients of `q`, `k` and `v`."""
    scale = 1 / np.sqrt(q.shape[-1])
    dp = dout @ v.swapaxes(-1, -2)
    dv[...] = p.swapaxes(-1, -2) @ dout
    ds = p * (dp - (dp * p).sum(axis=-1, keepdims=True))
    dq[...] = ds @ k * scale
    dk[...] = ds.swapaxes(-1, -2) @ q * scale


def no_sum(dout, q, k, v, p, dq, dk, dv):
    """A mistake: softmax's sum is missing."""
    backward(dout, q, k, v, p, dq, dk, dv)
    ds = p * (dout @ v.swapaxes(-1, -2))
    dq[...], dk[...] = ds @ k / 2, ds.swapaxes(-1, -2) @ q / 2


def wrong_axis(dout, q, k, v, p, dq, dk, dv):
    """A mistake: softmax's sum runs over the queries."""
    backward(dout, q, k, v, p, dq, dk, dv)
    dp = dout @ v.swapaxes(-1, -2)
    ds = p * (dp - (dp * p).sum(axis=-2, keepdims=True))
    dq[...], dk[...] = ds @ k / 2, ds.swapaxes(-1, -2) @ q / 2


def not_transposed(dout, q, k, v, p, dq, dk, dv):
    """A mistake: ds instead of ds.T, p instead of p.T."""
    dp = dout @ v.swapaxes(-1, -2)
    ds = p * (dp - (dp * p).sum(axis=-1, keepdims=True))
    dq[...], dk[...], dv[...] = ds.swapaxes(-1, -2) @ k / 2, ds @ q / 2, p @ dout


def exchanged(dout, q, k, v, p, dq, dk, dv):
    """A mistake: the gradients of queries and keys are exchanged."""
    backward(dout, q, k, v, p, dk, dq, dv)


def no_scale(dout, q, k, v, p, dq, dk, dv):
    """A mistake: the scale of the scores is left out."""
    backward(dout, q, k, v, p, dq, dk, dv)
    dq *= 2
    dk *= 2


MISTAKES = {
    "softmax's sum over the row is missing: ds = p * (dp - sum(dp * p))": no_sum,
    "softmax's sum runs over the queries instead of the keys, axis -1": wrong_axis,
    "a transpose is missing, or there is one too many: which matrix has a row for each query?": (
        not_transposed
    ),
    "the gradients of queries and keys are exchanged": exchanged,
    "1 / sqrt(4), the scale of the scores, is left out": no_scale,
}
