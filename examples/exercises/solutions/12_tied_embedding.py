"""Exercise 12, the tied embedding.

Pretend there are two tables. For the one of the logits, the product sums over all positions:

    x = np.tanh(table[tokens])
    as_head = np.einsum("btv,btc->vc", dout, x)

For the other, go back through the product, then tanh, then the lookup of exercise 6:

    dx = dout @ table
    drows = dx * (1 - x**2)
    as_lookup = np.einsum("btv,btc->vc", np.eye(9)[tokens], drows)

There is only one table, used in both places, so by the chain rule the two add up:

    dtable = as_head + as_lookup
"""

import numpy as np

HINT = """\
Pretend there are two tables, one for the lookup and one for the logits: the first has the gradient
of exercise 6, the second that of a weight in exercise 1, transposed. The gradient of the single
table is the sum of both. Between them, dx goes back through tanh.
"""


def backward(dout, tokens, table, dtable):
    """Write the gradient of `table`."""
    x = np.tanh(table[tokens])
    drows = dout @ table * (1 - x * x)
    dtable[...] = dout.reshape(-1, dout.shape[-1]).T @ x.reshape(-1, x.shape[-1])
    np.add.at(dtable, tokens, drows)


def no_slope(dout, tokens, table, dtable):
    """A mistake: the slope of tanh is left out."""
    x = np.tanh(table[tokens])
    dtable[...] = dout.reshape(-1, dout.shape[-1]).T @ x.reshape(-1, x.shape[-1])
    np.add.at(dtable, tokens, dout @ table)


MISTAKES = {"the slope of tanh, 1 - tanh^2, is left out on the way to the lookup": no_slope}
