"""Exercise 13, RMSNorm.

    xhat = x * rstd[..., None]
    dweight = (dout * xhat).sum(axis=(0, 1))
    dxhat = dout * weight

Take one row of C = 7 numbers. rstd is (square + EPS)^(-1/2) with square the mean of x^2, whose
derivative with respect to x[j] is 2/C x[j]:

    row, r, h = x[0, 0], rstd[0, 0], xhat[0, 0]
    jacobian(lambda x: 1 / np.sqrt((x * x).mean() + EPS), row)[0] == -(r**2) * h / 7

xhat = x rstd is a product, so its derivative has two parts:

    J = r * (np.eye(7) - np.outer(h, h) / 7)
    J == jacobian(lambda x: x / np.sqrt((x * x).mean() + EPS), row)

and for all rows, with a mean for the sum divided by C:

    along_xhat = (dxhat * xhat).mean(axis=-1, keepdims=True)
    dx = rstd[..., None] * (dxhat - xhat * along_xhat)

It is exercise 9 without the mean of dxhat: adding a number to all of x does change xhat here.
"""

import numpy as np

from examples.exercises.terms import Term

HINTS = (
    """\
It is exercise 9 without the mean. Which of its three terms came from the mean?
""",
    """\
xhat = x * rstd. The derivative of the mean square with respect to x[j] is 2/C x[j], that of rstd is
-1/2 rstd^3 times it.
""",
    """\
The derivative of xhat[c] with respect to x[j] is rstd * ([c = j] - xhat[c] * xhat[j] / C). Multiply
by dxhat[c] = dout[c] * weight[c] and sum over c.
""",
)


def backward(dout, x, weight, rstd, dx, dweight):
    """Write the gradients of `x` and `weight`."""
    xhat = x * rstd[..., None]
    dweight[...] = (dout * xhat).sum(axis=(0, 1))
    dxhat = dout * weight
    along_xhat = (dxhat * xhat).mean(axis=-1, keepdims=True)
    dx[...] = (dxhat - xhat * along_xhat) * rstd[..., None]


def terms(dout, x, weight, rstd, out, **_):
    """The terms of each gradient, for the grader."""
    r = rstd[..., None] * np.ones_like(x)
    xhat, dxhat = x * r, dout * weight

    def along(values, axis=-1):
        return values.mean(axis=axis, keepdims=True)

    no_weight = "the weight is left out: dxhat = dout * weight"
    two = {
        no_weight: r * xhat * along(dout * xhat),
        "x stands where xhat belongs, both times": r * x * along(dxhat * x),
        "x stands where xhat belongs in the mean": r * xhat * along(dxhat * x),
        "out stands where xhat belongs, both times": r * out * along(dxhat * out),
        "out stands where xhat belongs before the mean": r * out * along(dxhat * xhat),
        "xhat in the mean is missing: mean(dxhat)": r * xhat * along(dxhat),
        "it is layer norm's other mean, mean(dxhat)": r * along(dxhat),
        "mean(dxhat * xhat) runs over axis 0": r * xhat * along(dxhat * xhat, 0),
        "mean(dxhat * xhat) runs over axis 1": r * xhat * along(dxhat * xhat, 1),
        "the mean is missing: xhat * dxhat * xhat": r * xhat * dxhat * xhat,
    }
    into_weight = {
        "x stands where xhat belongs": (dout * x).sum(axis=(0, 1)),
        "out stands where xhat belongs": (dout * out).sum(axis=(0, 1)),
        "xhat is left out: it is the gradient of a bias": dout.sum(axis=(0, 1)),
        "dout is left out": xhat.sum(axis=(0, 1)),
        "the weight is one factor too many": (dxhat * xhat).sum(axis=(0, 1)),
        "the mean is subtracted: that is layer norm": (dout * (x - along(x)) * r).sum(axis=(0, 1)),
        "only the first sequence counts": (dout * xhat)[0].sum(axis=0),
    }
    scale = {"rstd": r}
    return {
        "dx": [
            Term(1, "rstd * dxhat", r * dxhat, scale | {"dxhat": dxhat}, {no_weight: r * dout}),
            Term(
                -1,
                "rstd * xhat * mean(dxhat * xhat)",
                r * xhat * along(dxhat * xhat),
                scale | {"xhat": xhat},
                two,
            ),
            Term(0, "rstd * mean(dxhat), layer norm's term for the mean,", r * along(dxhat)),
        ],
        "dweight": [Term(1, "sum(dout * xhat)", (dout * xhat).sum(axis=(0, 1)), {}, into_weight)],
    }
