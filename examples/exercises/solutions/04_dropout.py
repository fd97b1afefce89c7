"""Exercise 4, dropout.

out[i] is x[i] times a number that does not depend on x, so that number is the slope:

    slope = keep / (1 - rate)
    dx = dout * slope

A dropped number had no effect on the loss: its gradient is 0. backward needs the same keep as
forward; do not draw a new one.
"""

HINT = """\
keep / (1 - rate) does not depend on x. What is the derivative of x * constant?
"""


def backward(dout, x, keep, rate, dx):
    """Write the gradient of `x`."""
    dx[...] = dout * keep / (1 - rate)


def no_scale(dout, x, keep, rate, dx):
    """A mistake: kept numbers are not scaled up."""
    dx[...] = dout * keep


def no_mask(dout, x, keep, rate, dx):
    """A mistake: dropped numbers get a gradient, too."""
    dx[...] = dout / (1 - rate)


def multiplied(dout, x, keep, rate, dx):
    """A mistake: multiplied by 1 - rate."""
    dx[...] = dout * keep * (1 - rate)


MISTAKES = {
    "the factor 1 / (1 - rate) is missing": no_scale,
    "the mask is missing: dropped numbers have no gradient": no_mask,
    "it is multiplied by 1 - rate instead of divided by it": multiplied,
}
