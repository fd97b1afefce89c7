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

    dx.sum(axis=-1) == np.zeros((2, 5))
"""

HINT = """\
Increase one x a little: its own out grows, all others in the row shrink, because they still sum to
1. The derivative of out[k] with respect to x[j] is out[k] * ([k = j] - out[j]), where [k = j] is 1
if k is j and otherwise 0. Multiply by dout[k] and sum over k.
"""


def backward(dout, x, out, dx):
    """Write the gradient of `x`."""
    total = (dout * out).sum(axis=-1, keepdims=True)
    dx[...] = out * (dout - total)
