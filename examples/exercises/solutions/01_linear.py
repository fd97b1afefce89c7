"""Exercise 1, the linear layer.

out[r, o] = sum over i of x[r, i] weight[i, o] + bias[o]. By the chain rule, the gradient of each
number is the sum, over every out[r, o] that it enters, of dout[r, o] times its factor there.
x[r, i] enters row r, for all o:

    dx = np.einsum("ro,io->ri", dout, weight)

einsum sums over o, the letter that is missing to the right of the arrow. This is a product of two
matrices, the second one transposed:

    dx == dout @ weight.T

weight[i, o] enters column o of every row r, with the factor x[r, i]; the bias with the factor 1:

    dweight = np.einsum("ri,ro->io", x, dout)
    dweight == x.T @ dout
    dbias = dout.sum(axis=0)
"""

HINT = """\
x[r, i] enters out[r, o] for every o, multiplied by weight[i, o]. So dx[r, i] is the sum over o of
dout[r, o] * weight[i, o]. Which matrix product is that? The shapes leave little choice. weight[i,
o] enters out[r, o] for every row r; the bias enters every row, too.
"""


def backward(dout, x, weight, bias, dx, dweight, dbias):
    """Write the gradients of `x`, `weight` and `bias`."""
    dx[...] = dout @ weight.T
    dweight[...] = x.T @ dout
    dbias[...] = dout.sum(axis=0)
