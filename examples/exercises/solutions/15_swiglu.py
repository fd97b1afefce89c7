"""Exercise 15, SwiGLU.

out is a product: each factor gets dout times the other.

    share = 1 / (1 + np.exp(-gate))
    dup = dout * gate * share

The logistic function has the slope share (1 - share):

    logistic = lambda g: 1 / (1 + np.exp(-g))
    np.diag(share[0] * (1 - share[0])) == jacobian(logistic, gate[0])

so gate * share has two terms by the product rule:

    slope = share + gate * share * (1 - share)
    np.diag(slope[0]) == jacobian(lambda g: g * logistic(g), gate[0])
    dgate = dout * up * slope
"""

import numpy as np

from examples.exercises.terms import Term

HINTS = (
    """\
out is a product of three things: gate, the logistic function of gate, and up. Which of them depend
on gate?
""",
    """\
dup is dout times everything else. For dgate use the product rule: gate itself has slope 1.
""",
    """\
With share = 1 / (1 + exp(-gate)) the slope of share is share * (1 - share). The slope of gate *
share is share plus gate times that.
""",
)


def backward(dout, gate, up, dgate, dup):
    """Write the gradients of `gate` and `up`."""
    share = 1 / (1 + np.exp(-gate))
    dup[...] = dout * gate * share
    dgate[...] = dout * up * (share + gate * share * (1 - share))


def terms(dout, gate, up, out, **_):
    """The terms of each gradient, for the grader."""
    share = 1 / (1 + np.exp(-gate))
    base = {"dout": dout, "up": up, "share": share}
    second = {
        "the slope of the logistic function is share * (1 - share), not share * (1 + share)": dout
        * up
        * gate
        * share
        * (1 + share),
        "the slope of the logistic function is share * (1 - share), not 1 - share^2": dout
        * up
        * gate
        * (1 - share**2),
        "the slope of the logistic function is share * (1 - share), not -share^2": -dout
        * up
        * gate
        * share**2,
        "exp(-gate) is missing its square: the slope is share^2 exp(-gate)": dout
        * up
        * gate
        * share
        * np.exp(-gate),
    }
    first = {"the first term is 1, not share": dout * up}
    rest = {"gate": gate, "1 - share": 1 - share}
    return {
        "dgate": [
            Term(1, "dout * up * share", dout * up * share, base, first),
            Term(
                1,
                "dout * up * gate * share * (1 - share)",
                dout * up * gate * share * (1 - share),
                base | rest,
                second,
            ),
        ],
        "dup": [
            Term(
                1,
                "dout * gate * share",
                dout * gate * share,
                {"dout": dout, "gate": gate, "share": share},
                {
                    "it is dout * out: up is one factor too many": dout * out,
                    "ReLU stands where SiLU belongs": dout * np.maximum(gate, 0),
                    "the slope of SiLU stands where SiLU belongs": dout
                    * (share + gate * share * (1 - share)),
                },
            )
        ],
    }
