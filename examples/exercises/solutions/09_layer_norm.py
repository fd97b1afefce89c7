"""Exercise 9, layer norm.

out = xhat * weight + bias, and all rows share weight and bias:

    xhat = (x - mean[..., None]) * rstd[..., None]
    dweight = (dout * xhat).sum(axis=(0, 1))
    dbias = dout.sum(axis=(0, 1))
    dxhat = dout * weight

Take one row of C = 7 numbers. The derivative of the mean with respect to x[j] is 1/C. rstd is
(var + eps)^(-1/2), so its derivative is -1/2 rstd^3 times that of the variance, 2/C (x[j] - mean):

    row, r, h = x[0, 0], rstd[0, 0], xhat[0, 0]
    var = lambda x: ((x - x.mean()) ** 2).mean()
    jacobian(lambda x: x.mean(), row)[0] == np.full(7, 1 / 7)
    jacobian(var, row)[0] == 2 / 7 * (row - row.mean())
    jacobian(lambda x: 1 / np.sqrt(var(x) + EPS), row)[0] == -(r**2) * h / 7

(The mean in the variance moves, too, when x[j] does: that adds -2/C sum(x - mean) times 1/C, which
is 0, since deviations from the mean sum to 0.)

xhat = (x - mean) rstd is a product, so its derivative has three parts:

    J = r * (np.eye(7) - 1 / 7 - np.outer(h, h) / 7)
    J == jacobian(lambda x: (x - x.mean()) / np.sqrt(var(x) + EPS), row)

dx[j] is the sum over c of dxhat[c] J[c, j]; sums divided by C are means:

    g = dxhat[0, 0]
    g @ J == r * (g - g.mean() - h * (g * h).mean())

and for all rows:

    along_ones = dxhat.mean(axis=-1, keepdims=True)
    along_xhat = (dxhat * xhat).mean(axis=-1, keepdims=True)
    dx = rstd[..., None] * (dxhat - along_ones - xhat * along_xhat)
"""

import numpy as np

from examples.exercises.terms import Term

HINTS = (
    """\
Start with the easy ones: dbias and dweight are sums over all rows, and dxhat = dout * weight. For
dx, write down how the mean and rstd change when x[j] does.
""",
    """\
The derivative of the mean with respect to x[j] is 1/C. That of the variance is 2/C (x[j] - mean):
the mean moves as well, but the deviations sum to 0, so that it does not matter. rstd is
(variance + EPS)^(-1/2), so its derivative is -1/2 rstd^3 times that of the variance.
""",
    """\
The derivative of xhat[c] with respect to x[j] is rstd * ([c = j] - 1/C - xhat[c] * xhat[j] / C):
the first part comes from x[j] itself, the second from the mean, the third from rstd. Multiply by
dxhat[c] and sum over c; a sum divided by C is a mean.
""",
)


def backward(dout, x, weight, bias, mean, rstd, dx, dweight, dbias):
    """Write the gradients of `x`, `weight` and `bias`."""
    xhat = (x - mean[..., None]) * rstd[..., None]
    dweight[...] = (dout * xhat).sum(axis=(0, 1))
    dbias[...] = dout.sum(axis=(0, 1))
    dxhat = dout * weight
    along_ones = dxhat.mean(axis=-1, keepdims=True)
    along_xhat = (dxhat * xhat).mean(axis=-1, keepdims=True)
    dx[...] = (dxhat - along_ones - xhat * along_xhat) * rstd[..., None]


def terms(dout, x, weight, bias, mean, rstd, out, **_):
    """The terms of each gradient, for the grader."""
    r, m = rstd[..., None], mean[..., None]
    xhat, dxhat = (x - m) * r, dout * weight

    def along(values, axis=-1):
        return values.mean(axis=axis, keepdims=True)

    C = x.shape[-1]
    no_weight = "the weight is left out: dxhat = dout * weight"
    late = "the weight is multiplied after the means, not before: both are means of dxhat"
    x_for_xhat = "x stands where xhat belongs"
    out_for_xhat = "out stands where xhat belongs"
    centred = "x - mean stands where xhat belongs: rstd is missing"
    bare = 1 / np.sqrt(x.var(axis=-1, keepdims=True))
    no_eps = "rstd is computed again, without EPS"
    one = {
        no_weight: r * dout,
        "the weight is left out in the first term: dxhat = dout * weight": r * dout,
        "bias is a factor of dxhat": r * dout * bias,
        "dxhat is divided by the weight": r * dout / weight,
        "dxhat is dout + weight": r * (dout + weight),
        no_eps: bare * dxhat,
    }
    two = {
        no_weight: r * along(dout),
        late: r * weight * along(dout),
        "the weight is left out in mean(dxhat)": r * along(dout),
        "mean(dxhat) runs over axis 0": r * along(dxhat, 0) * np.ones_like(x),
        "mean(dxhat) runs over axis 1": r * along(dxhat, 1) * np.ones_like(x),
        "mean(dxhat) runs over everything": r * dxhat.mean() * np.ones_like(x),
        "the row's mean of x stands where mean(dxhat) belongs": r * m,
        "mean(dxhat * xhat) stands where mean(dxhat) belongs": r * along(dxhat * xhat),
        no_eps: bare * along(dxhat),
        "bias is a factor of dxhat": r * along(dout * bias),
    }
    three = {
        no_weight: r * xhat * along(dout * xhat),
        late: r * weight * xhat * along(dout * xhat),
        "the weight is left out in mean(dxhat * xhat)": r * xhat * along(dout * xhat),
        f"{x_for_xhat}, both times": r * x * along(dxhat * x),
        f"{x_for_xhat} before the mean": r * x * along(dxhat * xhat),
        f"{x_for_xhat} in the mean": r * xhat * along(dxhat * x),
        f"{out_for_xhat}, both times": r * out * along(dxhat * out),
        f"{out_for_xhat} in the mean": r * xhat * along(dxhat * out),
        f"{out_for_xhat} before the mean": r * out * along(dxhat * xhat),
        f"{centred}, both times": r * (x - m) * along(dxhat * (x - m)),
        f"{centred} before the mean": r * (x - m) * along(dxhat * xhat),
        f"{centred} in the mean": r * xhat * along(dxhat * (x - m)),
        "xhat before the mean is missing": r * along(dxhat * xhat),
        "xhat in the mean is missing: mean(dxhat)": r * xhat * along(dxhat),
        "xhat is squared in the mean": r * xhat * along(dxhat * xhat**2),
        "mean(dxhat * xhat) is a product of two means": r * xhat * along(dxhat) * along(xhat),
        "dxhat is missing in the mean": r * xhat * along(xhat * xhat),
        "the mean is missing: xhat * dxhat * xhat": r * xhat * dxhat * xhat,
        "mean(dxhat * xhat) runs over axis 0": r * xhat * along(dxhat * xhat, 0),
        "mean(dxhat * xhat) runs over axis 1": r * xhat * along(dxhat * xhat, 1),
        "mean(dxhat * xhat) runs over everything": r * xhat * (dxhat * xhat).mean(),
        no_eps: bare * (x - m) * bare * along(dxhat * (x - m) * bare),
        "bias is a factor of dxhat": r * xhat * along(dout * bias * xhat),
    }
    common = {"rstd": r * np.ones_like(x), "dxhat": dxhat, "the weight": weight * np.ones_like(x)}
    scale = {"rstd": r * np.ones_like(x)}
    into_weight = {
        f"{x_for_xhat}": (dout * x).sum(axis=(0, 1)),
        "the mean is not subtracted: x * rstd stands where xhat belongs": (dout * x * r).sum(
            axis=(0, 1)
        ),
        centred: (dout * (x - m)).sum(axis=(0, 1)),
        f"{out_for_xhat}": (dout * out).sum(axis=(0, 1)),
        "xhat is left out: it is the gradient of the bias": dout.sum(axis=(0, 1)),
        "dout is left out": xhat.sum(axis=(0, 1)),
        "dxhat stands where dout belongs: the weight is one factor too many": (dxhat * xhat).sum(
            axis=(0, 1)
        ),
        "only the first sequence counts": (dout * xhat)[0].sum(axis=0),
        "only the last sequence counts": (dout * xhat)[-1].sum(axis=0),
        "only the first position counts": (dout * xhat)[:, 0].sum(axis=0),
        "only the last position counts": (dout * xhat)[:, -1].sum(axis=0),
        "x / rstd stands where x * rstd belongs": (dout * (x - m) / r).sum(axis=(0, 1)),
        "xhat is squared": (dout * xhat**2).sum(axis=(0, 1)),
        "bias is added to xhat: it is the gradient of something else": (dout * (xhat + bias)).sum(
            axis=(0, 1)
        ),
    }
    into_bias = {
        "dxhat stands where dout belongs: the weight is one factor too many": dxhat.sum(
            axis=(0, 1)
        ),
        "it is the gradient of the weight: xhat is one factor too many": (dout * xhat).sum(
            axis=(0, 1)
        ),
        "dout is left out: it counts the rows": np.full(C, float(rstd.size)),
        "dout is left out: 1 is the derivative of one number of out by its bias, not that of L": (
            np.ones(C)
        ),
        "only the first sequence counts": dout[0].sum(axis=0),
        "only the last sequence counts": dout[-1].sum(axis=0),
        "only the first position counts": dout[:, 0].sum(axis=0),
        "only the last position counts": dout[:, -1].sum(axis=0),
        "rstd is one factor too many": (dout * r).sum(axis=(0, 1)),
        "it is the sum of out, not of dout": out.sum(axis=(0, 1)),
    }
    weight_sum, bias_sum = (dout * xhat).sum(axis=(0, 1)), dout.sum(axis=(0, 1))
    return {
        "dx": [
            Term(1, "rstd * dxhat", r * dxhat, common, one),
            Term(-1, "rstd * mean(dxhat)", r * along(dxhat) * np.ones_like(x), scale, two),
            Term(
                -1,
                "rstd * xhat * mean(dxhat * xhat)",
                r * xhat * along(dxhat * xhat),
                scale | {"xhat": xhat},
                three,
            ),
        ],
        "dweight": [Term(1, "sum(dout * xhat)", weight_sum, {}, into_weight)],
        "dbias": [Term(1, "sum(dout)", bias_sum, {}, into_bias)],
    }
