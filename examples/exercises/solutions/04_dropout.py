"""Exercise 4, dropout.

out[i] is x[i] times a number that does not depend on x, so that number is the slope:

    slope = keep / (1 - rate)
    dx = dout * slope

What was dropped had no effect on the loss: its gradient is 0. Backward needs the same keep that
forward had; drawing a new one is the mistake to avoid.
"""

HINT = """\
Seen from x, keep / (1 - rate) is a constant. What is the derivative of x * constant?
"""


def backward(dout, x, keep, rate, dx):
    """Write the gradient of `x`."""
    dx[...] = dout * keep / (1 - rate)


def no_scale(dout, x, keep, rate, dx):
    """A mistake: what is kept is not scaled up."""
    dx[...] = dout * keep


def no_mask(dout, x, keep, rate, dx):
    """A mistake: what was dropped gets a gradient, too."""
    dx[...] = dout / (1 - rate)


def multiplied(dout, x, keep, rate, dx):
    """A mistake: multiplied by 1 - rate."""
    dx[...] = dout * keep * (1 - rate)


MISTAKES = {
    "the factor 1 / (1 - rate) is missing": no_scale,
    "the mask is missing: what was dropped has no gradient": no_mask,
    "it is multiplied by 1 - rate, and has to be divided by it": multiplied,
}
