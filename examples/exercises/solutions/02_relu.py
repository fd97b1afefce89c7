"""Exercise 2, ReLU.

The slope of ReLU is 1 where x > 0 and 0 where x < 0 (at 0 it is undefined; take 0). By the chain
rule it multiplies dout:

    slope = np.where(x > 0, 1, 0)
    dx = dout * slope
"""

import numpy as np

from examples.exercises.terms import Term

HINTS = (
    """\
Draw the function. What is its slope left of 0, and right of it?
""",
    """\
Where x is positive, out changes as x does; elsewhere it does not change. The sign of x decides, not
that of dout.
""",
    """\
dx is dout where x is positive and 0 elsewhere: np.where, or a product with (x > 0).
""",
)


def backward(dout, x, dx):
    """Write the gradient of `x`."""
    dx[...] = np.where(x > 0, dout, 0)


def terms(dout, x, **_):
    """The terms of each gradient, for the grader."""
    positive = (x > 0) * 1.0
    instead = {
        "dout is left out: 1 where x > 0": positive,
        "it is x where x > 0: dout is left out": x * positive,
        "it is dout * x where x > 0: x is one factor too many": dout * x * positive,
        "it is dout * x: x is no slope": dout * x,
        "the sign of dout decides, not of x": dout * (dout > 0),
        "the signs of both decide: dout is cut where it is negative": dout * positive * (dout > 0),
        "it is 1 where x <= 0: the mask is the wrong way round, and dout is left out": 1 - positive,
        "the absolute value of dout is taken": np.abs(dout) * positive,
        "the sign of x is a factor: the slope of the absolute value": dout * np.sign(x),
        "the slope is that of ReLU for x > 1": dout * (x > 1),
        "the slope is that of ReLU for x > -1": dout * (x > -1),
    }
    return {
        "dx": [
            Term(1, "dout where x > 0", dout * positive, instead=instead),
            Term(0, "dout where x <= 0", dout * (1 - positive)),
        ]
    }
