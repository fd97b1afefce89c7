"""Exercise 7, softmax, which turns numbers into probabilities.

Take one row of x and its p = out. By the quotient rule, the derivative of p[k] with respect to x[j]
is p[k] ([k = j] - p[j]), where [k = j] is 1 if k is j and otherwise 0; as a matrix,

    p = out[0, 0]
    J = np.diag(p) - np.outer(p, p)
    J == jacobian(lambda x: np.exp(x) / np.exp(x).sum(), x[0, 0])

By the chain rule, dx[j] is the sum over k of dout[k] J[k, j]. In the first part, [k = j] leaves a
single term; in the second part, the sum is the same for every j:

    dout[0, 0] @ J == p * (dout[0, 0] - (dout[0, 0] * p).sum())

and for all rows at once:

    dx = out * (dout - (dout * out).sum(axis=-1, keepdims=True))

A row of dx sums to 0, because adding a number to all x of a row changes nothing:

    dx.sum(axis=-1) == np.zeros((3, 5))
"""

import numpy as np

from examples.exercises.terms import Term

HINTS = (
    """\
Increase one x a little: its own out grows, and all others in the row shrink, because they still
sum to 1. So every out of a row depends on every x of that row.
""",
    """\
The derivative of out[k] with respect to x[j] is out[k] * ([k = j] - out[j]), where [k = j] is 1 if
k is j and otherwise 0. Multiply by dout[k] and sum over k.
""",
    """\
The part with [k = j] leaves one term, dout[j] out[j]. In the other, out[j] can be taken out of the
sum, and what is left, sum of dout[k] out[k], is one number for each row: keepdims=True.
""",
)


def backward(dout, x, out, dx):
    """Write the gradient of `x`."""
    total = (dout * out).sum(axis=-1, keepdims=True)
    dx[...] = out * (dout - total)


def terms(dout, out, x, **_):
    """The terms of each gradient, for the grader."""
    total = (dout * out).sum(axis=-1, keepdims=True)
    e = np.exp(x)
    both = "x stands where out belongs before the bracket"
    second = {
        "the row sum lacks out: sum(dout)": out * dout.sum(axis=-1, keepdims=True),
        "the row sum lacks out, and is a mean": out * dout.mean(axis=-1, keepdims=True),
        "the row sum of dout * out is a mean": out * (dout * out).mean(axis=-1, keepdims=True),
        "the row sum has out squared": out * (dout * out**2).sum(axis=-1, keepdims=True),
        "the row sum lacks dout": out * out.sum(axis=-1, keepdims=True),
        "the row sum is missing: out * (dout * out) instead": out * dout * out,
        "the row sum has x where out belongs": out * (dout * x).sum(axis=-1, keepdims=True),
        "out stands where the row sum belongs": out * out,
        both: x * total,
        "the sum runs over axis 0 (the sequences), not over the last": out
        * (dout * out).sum(axis=0, keepdims=True),
        "the sum runs over axis 1 (the positions), not over the last": out
        * (dout * out).sum(axis=1, keepdims=True),
        "the sum runs over the whole array, not over each row": out * (dout * out).sum(),
        "the largest of the row is taken, not its sum": out
        * (dout * out).max(axis=-1, keepdims=True),
        "it is the gradient of log-softmax: sum(dout)": out * dout.sum(axis=-1, keepdims=True),
    }
    first = {
        "the first term is dout, without out": dout,
        "the first term is out, without dout": out,
        "x stands for out in the first term": x * dout,
        both: x * dout,
        "exp(x) stands for out in the first term": e * dout,
        "the first term is dout * (1 - out)": dout * (1 - out),
        "the first term has sqrt(out)": np.sqrt(out) * dout,
    }
    factors = {"out": out, "dout": dout}
    return {
        "dx": [
            Term(1, "out * dout", out * dout, factors, first),
            Term(-1, "out * sum(dout * out)", out * total, {"out": out}, second),
        ]
    }


def recognise(name, hand, dout, out, x, **_):
    """Yield wholes that are known by another name."""
    if np.allclose(hand, dout - out * dout.sum(axis=-1, keepdims=True), rtol=0, atol=1e-9):
        yield "it is the gradient of log-softmax, dout - out * sum(dout): the logarithm is not here"
    if np.allclose(hand, out * (1 - out) * dout, rtol=0, atol=1e-9):
        yield "only the diagonal is there, out * (1 - out): x[j] changes all of its row"
    if np.allclose(hand, out * (1 - out), rtol=0, atol=1e-9):
        yield "dout is left out, and only the diagonal is there, out * (1 - out)"
    if np.allclose(hand, out - dout, rtol=0, atol=1e-9):
        yield "out - dout is that of softmax and cross-entropy together, with dout for the target"


AXES = {"dx": ("matrix", "row", "column")}
