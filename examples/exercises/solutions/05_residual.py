"""Exercise 5, the residual connection.

Call the intermediate result y = x @ weight. Its gradient comes back through tanh, whose slope is
1 - tanh^2:

    dy = dout * (1 - np.tanh(x @ weight) ** 2)

then, as in exercise 1, the linear layer:

    through_the_branch = dy @ weight.T
    dweight = x.T @ dy

and the sum out = x + ... passes dout on unchanged. Two paths, so two gradients are added:

    dx = dout + through_the_branch

The first term reaches the first layer unchanged through any number of such layers.
"""

import numpy as np

HINT = """\
If something is used twice, its two gradients add up. One path is the sum itself, out = x + ...,
with slope 1. The other goes back through tanh (slope 1 - tanh^2) and then through the linear layer
of exercise 1. weight is square here, so a forgotten .T causes no shape error: take care.
"""


def backward(dout, x, weight, dx, dweight):
    """Write the gradients of `x` and `weight`."""
    dy = dout * (1 - np.tanh(x @ weight) ** 2)
    dx[...] = dout + dy @ weight.T
    dweight[...] = x.T @ dy


def no_slope(dout, x, weight, dx, dweight):
    """A mistake: the slope of tanh is left out."""
    dx[...] = dout + dout @ weight.T
    dweight[...] = x.T @ dout


def not_transposed(dout, x, weight, dx, dweight):
    """A mistake: weight instead of weight.T."""
    backward(dout, x, weight, dx, dweight)
    dx[...] = dout + dout * (1 - np.tanh(x @ weight) ** 2) @ weight


MISTAKES = {
    "the slope of tanh, 1 - tanh^2, is left out": no_slope,
    "the weight is not transposed: dy @ weight.T": not_transposed,
}
