"""The MLP's nonlinearities: GELU (exact), GELU (tanh form) and ReLU.

Source: Hendrycks, Gimpel, "Gaussian Error Linear Units" (2016). All work element by element, so
backward is dx = dout * f'(x). Only x is kept; everything else is recomputed.

GELU. With Phi the distribution function of a standard normal variable and phi its density:

    f(x) = x Phi(x)       Phi(x) = (1 + erf(x / sqrt(2))) / 2     phi(x) = exp(-x^2/2) / sqrt(2 pi)

    Phi' = phi, so by the product rule         f'(x) = Phi(x) + x phi(x)

GELU, tanh form (GPT-2's):

    u = k (x + 0.044715 x^3),  k = sqrt(2/pi)           f(x) = x (1 + tanh u) / 2

    with t = tanh u:   dt/du = 1 - t^2,   du/dx = k (1 + 3 * 0.044715 x^2), and by the product rule

    f'(x) = (1 + t) / 2 + x (1 - t^2) / 2 * k (1 + 3 * 0.044715 x^2)

ReLU: f(x) = x where x > 0, else 0; f'(x) = 1 where x > 0, else 0 (at 0 itself we choose 0).

Shapes: x and out alike, any.
"""

import math

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.reference.erf import erf

TANH_SCALE = math.sqrt(2 / math.pi)
TANH_CUBIC = 0.044715


def gelu_forward(x: Array, out: Array) -> None:
    """Write x Phi(x) to `out`."""
    out[...] = 0.5 * x * (1 + erf(x * math.sqrt(0.5)))


def gelu_backward(dout: Array, x: Array, dx: Array) -> None:
    """Write dout (Phi(x) + x phi(x)) to `dx`."""
    # forward: out = x Phi(x)
    cdf = 0.5 * (1 + erf(x * math.sqrt(0.5)))
    pdf = np.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
    dx[...] = dout * (cdf + x * pdf)


def gelu_tanh_forward(x: Array, out: Array) -> None:
    """Write x (1 + tanh(k (x + 0.044715 x^3))) / 2 to `out`."""
    out[...] = 0.5 * x * (1 + np.tanh(TANH_SCALE * (x + TANH_CUBIC * x * x * x)))


def gelu_tanh_backward(dout: Array, x: Array, dx: Array) -> None:
    """Write dout times the derivative of the tanh form to `dx`."""
    # forward: out = x (1 + t) / 2, t = tanh(u), u = k (x + 0.044715 x^3)
    t = np.tanh(TANH_SCALE * (x + TANH_CUBIC * x * x * x))
    du = TANH_SCALE * (1 + 3 * TANH_CUBIC * x * x)
    dx[...] = dout * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * du)


def relu_forward(x: Array, out: Array) -> None:
    """Write x where it is positive, else 0, to `out`."""
    out[...] = np.where(x.real > 0, x, 0)


def relu_backward(dout: Array, x: Array, dx: Array) -> None:
    """Write dout where x is positive, else 0, to `dx`."""
    # forward: out = x where x > 0, else 0
    dx[...] = np.where(x.real > 0, dout, 0)


FORWARD = {"gelu": gelu_forward, "gelu_tanh": gelu_tanh_forward, "relu": relu_forward}
BACKWARD = {"gelu": gelu_backward, "gelu_tanh": gelu_tanh_backward, "relu": relu_backward}
