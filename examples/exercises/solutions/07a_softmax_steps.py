"""Exercise 7a, softmax in atomic steps.

    e = np.exp(x)
    total = e.sum(axis=-1, keepdims=True)
    inverse = 1 / total

out = e * inverse is a product. inverse multiplies every e of its row, so that its gradient sums
over the row:

    dinverse = (dout * e).sum(axis=-1, keepdims=True)

inverse = 1 / total has the slope -1 / total^2:

    dtotal = -dinverse / total**2

e is used twice: in the product, with the factor inverse, and in the sum, with the factor 1. Two
gradients are added:

    de = dout * inverse + dtotal

exp is its own derivative:

    dx = de * e

Put together, with out = e * inverse, this is the closed form that exercise 7 asks for: dtotal is
minus the sum of dout * out, times inverse.

    dtotal == -(dout * e * inverse).sum(axis=-1, keepdims=True) * inverse
"""

import numpy as np

from examples.exercises.terms import Term

HINTS = (
    """\
Start at the end: out = e * inverse. What multiplies dout to give dinverse, and what to give de?
inverse has one number for each row, and is used for all of the row.
""",
    """\
The derivative of 1 / total is -1 / total^2. The derivative of a sum with respect to each of its
terms is 1, so that dtotal goes to every e of the row.
""",
    """\
de has two parts: dout * inverse, from the product, and dtotal, from the sum. Then exp: its slope
is e.
""",
)


def backward(dout, x, dx, de, dtotal, dinverse):
    """Write the gradients of all four steps."""
    e = np.exp(x)
    total = e.sum(axis=-1, keepdims=True)
    dinverse[...] = (dout * e).sum(axis=-1, keepdims=True)
    dtotal[...] = -dinverse / total**2
    de[...] = dout / total + dtotal
    dx[...] = de * e


def terms(dout, x, dinverse=None, dtotal=None, de=None, **_):
    """The terms of each gradient, for the grader; from the learner's own ones, if given."""
    e = np.exp(x)
    total = e.sum(axis=-1, keepdims=True)
    inverse = 1 / total
    right_dinverse = (dout * e).sum(axis=-1, keepdims=True)
    dinverse = right_dinverse if dinverse is None else dinverse
    dtotal = -dinverse / total**2 if dtotal is None else dtotal
    both = np.broadcast_to(dtotal, x.shape)
    de = dout * inverse + dtotal if de is None else de
    slopes = {
        "the slope of 1 / total is -1 / total^2, not -1 / total": -dinverse / total,
        "the slope of 1 / total is -1 / total^2: here the slope is -1": -dinverse,
        "the slope of 1 / total is taken for log(total)": dinverse * np.log(total),
        "the slope is -1 / total^2, not -1 / total^3": -dinverse / total**3,
        "dinverse is left out: it is the slope alone": -1 / total**2,
    }
    return {
        "dinverse": [
            Term(
                1,
                "sum(dout * e)",
                right_dinverse,
                {"1 / total": inverse},
                {
                    "e is left out: sum(dout)": dout.sum(axis=-1, keepdims=True),
                    "dout is left out: sum(e)": total,
                    "x stands where e belongs": (dout * x).sum(axis=-1, keepdims=True),
                    "only the first of the row counts": (dout * e)[..., :1],
                },
            )
        ],
        "dtotal": [
            Term(1, "-dinverse / total^2", -dinverse / total**2, {"1 / total": inverse}, slopes)
        ],
        "de": [
            Term(
                1,
                "dout * inverse",
                dout * inverse,
                {"inverse": inverse * np.ones_like(x), "dout": dout},
                {
                    "total stands where inverse belongs": dout * total,
                    "dout * e stands where dout * inverse belongs": dout * e,
                },
            ),
            Term(
                1,
                "dtotal",
                both,
                {"e": e},
                {words: np.broadcast_to(slope, x.shape) for words, slope in slopes.items()}
                | {
                    "dinverse stands where dtotal belongs": np.broadcast_to(dinverse, x.shape),
                    "total stands where dtotal belongs": np.broadcast_to(total, x.shape),
                },
            ),
        ],
        "dx": [
            Term(
                1,
                "de * e",
                de * e,
                {"e": e, "1 / total": inverse * np.ones_like(x)},
                {
                    "x stands where e belongs": de * x,
                    "out stands where e belongs": de * e * inverse,
                    "dout stands where de belongs": dout * e,
                    "dout * inverse stands where de belongs: the part from the sum is missing": (
                        dout * inverse * e
                    ),
                    "dtotal stands where de belongs: the part from the product is missing": both
                    * e,
                },
            ),
        ],
    }


AXES = {name: ("matrix", "row", "column") for name in ("dx", "de", "dtotal", "dinverse")}


# What each gradient is made from, in the order of backward.
STEPS = {"dinverse": "", "dtotal": "dinverse", "de": "dtotal", "dx": "de"}
