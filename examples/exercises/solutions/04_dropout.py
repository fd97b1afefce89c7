"""Exercise 4, dropout.

out[i] is x[i] times a number that does not depend on x, so that number is the slope:

    slope = keep / (1 - rate)
    dx = dout * slope

A dropped number had no effect on the loss: its gradient is 0. backward needs the same keep as
forward; do not draw a new one.
"""

import numpy as np

from examples.exercises.terms import Term

HINTS = (
    """\
Which number is out[i] multiplied with, and does that depend on x?
""",
    """\
keep / (1 - rate) does not depend on x. What is the derivative of x * constant?
""",
    """\
The same multiplication as in forward, with dout in the place of x. keep holds integers: used as an
index, dout[keep] would take rows 0 and 1.
""",
)


def backward(dout, x, keep, rate, dx):
    """Write the gradient of `x`."""
    dx[...] = dout * keep / (1 - rate)


def terms(dout, x, keep, rate, **_):
    """The terms of each gradient, for the grader."""
    scale = np.full_like(dout, 1 / (1 - rate))
    indexed = np.zeros_like(dout)
    indexed[keep] = dout[keep] / (1 - rate)
    bare = np.zeros_like(dout)
    bare[keep] = dout[keep]
    integers = (
        "keep holds integers: as an index it takes rows 0 and 1, not the places that are kept"
    )
    instead = {
        f"{integers}; np.where(keep, ..., 0), or a product": indexed,
        f"{integers}; and the factor 1 / (1 - rate) is missing": bare,
        "dout is left out": keep * scale,
        "it is x that is dropped and scaled, not dout": x * keep * scale,
        "x is one factor too many": dout * x * keep * scale,
        "it is divided by rate, not by 1 - rate": dout * keep / rate,
        "it is multiplied by rate": dout * keep * rate,
        "it is multiplied by 1 - rate instead of divided by it": dout * keep * (1 - rate),
        "the factor 1 / (1 - rate) is missing": dout * keep,
        "the mask is the wrong way round: what was kept is dropped": dout * (1 - keep) * scale,
        "the mask is the wrong way round, and 1 / (1 - rate) is missing": dout * (1 - keep),
        "the mask is missing: dropped numbers have no gradient": dout * scale,
        "it is dout itself: mask and scale are missing": dout,
        "the factor is 1 - 1 / rate": dout * keep * (1 - 1 / rate),
        "1 / (1 - rate) is applied twice": dout * keep * scale**2,
        "it is scaled by the share that happened to be kept": dout * keep / keep.mean(),
    }
    return {"dx": [Term(1, "dout * keep / (1 - rate)", dout * keep * scale, instead=instead)]}


def recognise(name, hand, dout, keep, rate, **_):
    """Yield what only this layer can do wrong: another mask."""
    (term,) = terms(dout=dout, keep=keep, rate=rate, **_)["dx"]
    known = [term.array, *term.instead.values()]
    if any(np.allclose(hand, array * c, rtol=0, atol=1e-9) for array in known for c in (1, -1)):
        return
    share = hand / dout * (1 - rate)
    drawn = np.isclose(share, 0) | np.isclose(share, 1) | np.isclose(share, 1 - rate)
    if drawn.all() and not np.array_equal(np.isclose(share, 0), keep == 0):
        yield "the mask is another one: use keep, as forward did; do not draw a new one"
