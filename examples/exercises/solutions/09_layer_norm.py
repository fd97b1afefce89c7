"""Exercise 9, layer norm.

out = xhat * weight + bias, and all rows share weight and bias:

    xhat = (x - mean[..., None]) * rstd[..., None]
    dweight = (dout * xhat).sum(axis=(0, 1))
    dbias = dout.sum(axis=(0, 1))
    dxhat = dout * weight

Take one row of C = 6 numbers. The derivative of the mean with respect to x[j] is 1/C. rstd is
(var + eps)^(-1/2), so its derivative is -1/2 rstd^3 times that of the variance, 2/C (x[j] - mean):

    row, r, h = x[0, 0], rstd[0, 0], xhat[0, 0]
    var = lambda x: ((x - x.mean()) ** 2).mean()
    jacobian(lambda x: x.mean(), row)[0] == np.full(6, 1 / 6)
    jacobian(var, row)[0] == 2 / 6 * (row - row.mean())
    jacobian(lambda x: 1 / np.sqrt(var(x) + EPS), row)[0] == -(r**2) * h / 6

xhat = (x - mean) rstd is a product, so its derivative has three parts:

    J = r * (np.eye(6) - 1 / 6 - np.outer(h, h) / 6)
    J == jacobian(lambda x: (x - x.mean()) / np.sqrt(var(x) + EPS), row)

dx[j] is the sum over c of dxhat[c] J[c, j]; sums divided by C are means:

    g = dxhat[0, 0]
    g @ J == r * (g - g.mean() - h * (g * h).mean())

and for all rows:

    along_ones = dxhat.mean(axis=-1, keepdims=True)
    along_xhat = (dxhat * xhat).mean(axis=-1, keepdims=True)
    dx = rstd[..., None] * (dxhat - along_ones - xhat * along_xhat)
"""

HINT = """\
Start with the easy ones: dbias and dweight are sums over all rows, and dxhat = dout * weight. Then
show that the derivative of xhat[c] with respect to x[j] is
rstd * ([c = j] - 1/C - xhat[c] * xhat[j] / C): the first part comes from x[j] itself, the second
from the mean, the third from rstd. Multiply by dxhat[c] and sum over c.
"""


def backward(dout, x, weight, bias, mean, rstd, dx, dweight, dbias):
    """Write the gradients of `x`, `weight` and `bias`."""
    xhat = (x - mean[..., None]) * rstd[..., None]
    dweight[...] = (dout * xhat).sum(axis=(0, 1))
    dbias[...] = dout.sum(axis=(0, 1))
    dxhat = dout * weight
    along_ones = dxhat.mean(axis=-1, keepdims=True)
    along_xhat = (dxhat * xhat).mean(axis=-1, keepdims=True)
    dx[...] = (dxhat - along_ones - xhat * along_xhat) * rstd[..., None]
