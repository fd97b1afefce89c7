"""Exercise 3, GELU.

The derivatives of tanh and of u:

    t = np.tanh(k * (x + 0.044715 * x**3))
    dt_du = 1 - t**2
    du_dx = k * (1 + 3 * 0.044715 * x**2)

out = 0.5 x (1 + t). By the product rule its slope has two terms; the second needs the chain rule:

    slope = 0.5 * (1 + t) + 0.5 * x * dt_du * du_dx
    gelu = lambda x: 0.5 * x * (1 + np.tanh(k * (x + 0.044715 * x**3)))
    np.diag(slope[0]) == jacobian(gelu, x[0])
    dx = dout * slope
"""

import numpy as np

from examples.exercises.terms import Term

HINTS = (
    """\
out is a product of two things that depend on x: 0.5 x and (1 + tanh(u)).
""",
    """\
The product rule gives two terms. The derivative of tanh(u) with respect to u is 1 - tanh(u)^2; then
u has a derivative of its own, for the chain rule.
""",
    """\
u = k (x + 0.044715 x^3), so du/dx has a 3 and a square. The first term is 0.5 (1 + tanh(u)), the
second 0.5 x times two slopes. Then dout times their sum.
""",
)


k = np.sqrt(2 / np.pi)


def backward(dout, x, dx):
    """Write the gradient of `x`."""
    t = np.tanh(k * (x + 0.044715 * x**3))
    du = k * (1 + 3 * 0.044715 * x**2)
    dx[...] = dout * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * du)


def terms(dout, x, **_):
    """The terms of each gradient, for the grader."""
    u = k * (x + 0.044715 * x**3)
    t, du = np.tanh(u), k * (1 + 3 * 0.044715 * x**2)
    inner = {
        "the factor 3 of 3 * 0.044715 x^2 is missing": k * (1 + 0.044715 * x**2),
        "x is not squared in 3 * 0.044715 x^2": k * (1 + 3 * 0.044715 * x),
        "sqrt(2 / pi) is missing in du/dx": 1 + 3 * 0.044715 * x**2,
        "the 1 of 1 + 3 * 0.044715 x^2 is missing": k * 3 * 0.044715 * x**2,
        "the derivative of 0.044715 x^3 is missing: du/dx is taken for k": k + 0 * x,
        "x^3 stands where x^2 belongs in du/dx": k * (1 + 3 * 0.044715 * x**3),
        "0.044715 is missing in du/dx": k * (1 + 3 * x**2),
        "the inner derivative du/dx is u": u,
        "0.44715 stands where 0.044715 belongs in du/dx": k * (1 + 3 * 0.44715 * x**2),
    }
    half = 0.5 * x * (1 - t**2)
    slopes = {
        "the slope of tanh is 1 - t^2, not 1 - t": 1 - t,
        "the slope of tanh is 1 - t^2, not (1 - t)^2": (1 - t) ** 2,
        "the slope of tanh is 1 - t^2, not 1 + t^2": 1 + t**2,
        "the slope of tanh is 1 - t^2, not t^2": t**2,
        "the slope of tanh, 1 - t^2, is taken for 1 - u^2": 1 - u**2,
        "the slope of tanh is taken for t": t,
    }
    second = {words: dout * half * wrong for words, wrong in inner.items()}
    second |= {words: dout * 0.5 * x * wrong * du for words, wrong in slopes.items()}
    second["dout is left out in the second term"] = half * du
    first = {
        "du/dx is a factor of the first term, too": dout * 0.5 * (1 + t) * du,
        "x stands where 1 + t belongs in the first term": dout * 0.5 * x,
        "dout is left out in the first term": 0.5 * (1 + t),
        "1 - t stands where 1 + t belongs in the first term": dout * 0.5 * (1 - t),
        "u stands where tanh(u) belongs in the first term": dout * 0.5 * (1 + u),
        "the 1 of 1 + t is missing in the first term": dout * 0.5 * t,
        "t is missing in the first term": dout * 0.5,
        "the first term is gelu(x) itself: the derivative of x is 1": dout * 0.5 * x * (1 + t),
    }
    factors = {"dout": dout, "1 - t^2": 1 - t**2, "du/dx": du, "x": x}
    return {
        "dx": [
            Term(1, "dout * 0.5 * (1 + t)", dout * 0.5 * (1 + t), {"dout": dout}, first),
            Term(1, "dout * 0.5 * x * (1 - t^2) * du/dx", dout * half * du, factors, second),
        ]
    }
