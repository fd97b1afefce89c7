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

from examples.exercises.terms import Term

HINTS = (
    """\
Draw it: x goes into the sum directly, and once more through a linear layer and tanh.
""",
    """\
If something is used twice, its two gradients add up. One path has slope 1. The other goes back
through tanh (slope 1 - tanh^2) and then through the linear layer of exercise 1.
""",
    """\
Compute dy, the gradient of y = x @ weight, first: dout times the slope of tanh at y. weight is
square here, so a forgotten .T causes no shape error: take care.
""",
)


def backward(dout, x, weight, dx, dweight):
    """Write the gradients of `x` and `weight`."""
    dy = dout * (1 - np.tanh(x @ weight) ** 2)
    dx[...] = dout + dy @ weight.T
    dweight[...] = x.T @ dy


def terms(dout, x, weight, **_):
    """The terms of each gradient, for the grader."""
    y = x @ weight
    t = np.tanh(y)
    wrong = {
        "the slope of tanh, 1 - tanh^2, is left out": dout,
        "the slope of tanh is 1 - tanh^2, not 1 - tanh": dout * (1 - t),
        "the slope of tanh is 1 - tanh^2, not (1 - tanh)^2": dout * (1 - t) ** 2,
        "the slope of tanh is 1 - tanh^2, not 1 + tanh^2": dout * (1 + t**2),
        "the slope of tanh is 1 - tanh^2, not tanh^2": dout * t**2,
        "the slope is 1 - y^2, without tanh": dout * (1 - y**2),
        "tanh stands where its slope belongs": dout * t,
        "the slope of tanh is taken at x, not at x @ weight": dout * (1 - np.tanh(x) ** 2),
        "the slope of tanh is taken at out": dout * (1 - np.tanh(x + t) ** 2),
        "the slope is taken from out, which has x in it: 1 - out^2": dout * (1 - (x + t) ** 2),
        "dout is left out: it is the slope alone": 1 - t**2,
        "dout stands for the slope of tanh, squared": dout**2,
        "the slope of tanh is applied twice": dout * (1 - t**2) ** 2,
        "the slope of tanh is taken at dout": dout * (1 - np.tanh(dout) ** 2),
    }
    dy = dout * (1 - t**2)
    branch = {words: d @ weight.T for words, d in wrong.items()}
    outside = (
        "the slope of tanh is taken outside, after the product with weight.T: dout has it first"
    )
    late = "dout comes after the product with weight.T: it belongs before it, with the slope"
    branch |= {
        late: dout * ((1 - t**2) @ weight.T),
        outside: (1 - t**2) * (dout @ weight.T),
        "the weight is not transposed: dy @ weight.T": dy @ weight,
        "the weight is not transposed, and the slope of tanh is left out": dout @ weight,
        "it ends at dy: the linear layer is left out": dy,
        "x is one factor too many in the branch": x * (dy @ weight.T),
        "the gradient of the branch is multiplied with the values": (x + t) * (dy @ weight.T),
    }
    straight = {
        "the first term is dy, not dout: the straight path has no tanh": dy,
        "the first term is 1, not dout": np.ones_like(dout),
        "the first term is x, not dout": x,
        "the first term is out, not dout": x + t,
        "the first term is dout * x: the slope of x is 1": dout * x,
    }
    into = {words: x.T @ d for words, d in wrong.items()}
    into |= {
        "it is transposed: x.T @ dy": dy.T @ x,
        "x is left out": np.ones_like(x).T @ dy,
        "tanh(x) stands where x belongs": np.tanh(x).T @ dy,
        "tanh(x @ weight) stands where x belongs": t.T @ dy,
        "out stands where x belongs": (x + t).T @ dy,
        "the residual sum does not involve weight: dout does not enter unchanged": x.T
        @ (dy + dout),
        "dx stands where dy belongs: the straight path does not involve weight": x.T
        @ (dout + dy @ weight.T),
    }
    return {
        "dx": [
            Term(1, "dout", dout, instead=straight),
            Term(1, "dy @ weight.T", dy @ weight.T, instead=branch),
        ],
        "dweight": [Term(1, "x.T @ dy", x.T @ dy, instead=into)],
    }


def recognise(name, hand, dout, x, weight, **_):
    """Yield a product of the two paths."""
    dy = dout * (1 - np.tanh(x @ weight) ** 2)
    if name == "dx" and np.allclose(hand, dout * (dy @ weight.T), rtol=0, atol=1e-9):
        yield "the gradients of the two paths are multiplied: they are added"
