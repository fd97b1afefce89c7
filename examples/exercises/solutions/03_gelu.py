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

HINT = """\
out is a product of 0.5 x and (1 + tanh(u)), and both depend on x: the product rule gives two
terms. The derivative of tanh(u) with respect to u is 1 - tanh(u)^2; then u has its own derivative.
"""


k = np.sqrt(2 / np.pi)


def backward(dout, x, dx):
    """Write the gradient of `x`."""
    t = np.tanh(k * (x + 0.044715 * x**3))
    du = k * (1 + 3 * 0.044715 * x**2)
    dx[...] = dout * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * du)
