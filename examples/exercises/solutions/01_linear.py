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

import numpy as np

from examples.exercises.terms import Term

HINTS = (
    """\
Write the forward with indices: out[r, o] = sum over i of x[r, i] * weight[i, o], plus bias[o].
Which numbers of out does x[r, i] enter? With which factor?
""",
    """\
x[r, i] enters out[r, o] for every o, multiplied by weight[i, o]. So dx[r, i] is the sum over o of
dout[r, o] * weight[i, o]. weight[i, o] enters out[r, o] for every row r; so does the bias.
""",
    """\
A sum over an index that two matrices share is a matrix product. The shapes leave little choice: dx
is 5 x 7, from dout, 5 x 3, and weight, 7 x 3. dweight is 7 x 3, from x, 5 x 7, and dout.
""",
)


def backward(dout, x, weight, bias, dx, dweight, dbias):
    """Write the gradients of `x`, `weight` and `bias`."""
    dx[...] = dout @ weight.T
    dweight[...] = x.T @ dout
    dbias[...] = dout.sum(axis=0)


def terms(dout, x, weight, bias, **_):
    """The terms of each gradient, for the grader."""
    one = "dout is left out: 1 is the derivative of one number of out by its bias, not that of L"
    return {
        "dx": [
            Term(
                1,
                "dout @ weight.T",
                dout @ weight.T,
                instead={
                    "dout is left out: 1 @ weight.T": np.ones_like(dout) @ weight.T,
                    "the weight is left out: the sum of dout over its row": np.outer(
                        dout.sum(axis=1), np.ones(x.shape[1])
                    ),
                    "the bias is added: a gradient does not depend on it": (dout + bias) @ weight.T,
                },
            )
        ],
        "dweight": [
            Term(
                1,
                "x.T @ dout",
                x.T @ dout,
                instead={
                    "dout is left out: x.T @ 1": x.T @ np.ones_like(dout),
                    "x is left out: 1.T @ dout": np.ones_like(x).T @ dout,
                    "it is x.T @ (x @ weight): the values stand where dout belongs": x.T
                    @ (x @ weight),
                    "it is x.T @ out: the values stand where dout belongs": x.T
                    @ (x @ weight + bias),
                    "dout counts twice, squared": x.T @ dout**2,
                },
            )
        ],
        "dbias": [
            Term(
                1,
                "dout.sum(axis=0)",
                dout.sum(axis=0),
                instead={
                    "dout is left out: it counts the rows": np.full_like(bias, len(dout)),
                    one: np.ones_like(bias),
                    "it is bias times the right gradient": bias * dout.sum(axis=0),
                    "it is the sum of out, not of dout": (x @ weight + bias).sum(axis=0),
                    "only one row counts": dout[0],
                    "only the last row counts": dout[-1],
                },
            )
        ],
    }
