"""The MLP's nonlinearities: GELU (exact), GELU (tanh form), ReLU, its square, and SwiGLU.

Sources: Hendrycks, Gimpel, "Gaussian Error Linear Units" (2016); So et al., "Primer" (2021) for the
squared ReLU; Shazeer, "GLU Variants Improve Transformer" (2020) for SwiGLU. All but the last work
element by element, so backward is dx = dout * f'(x). Only x is kept; everything else is recomputed.

GELU. With Phi the distribution function of a standard normal variable and phi its density:

    f(x) = x Phi(x)       Phi(x) = (1 + erf(x / sqrt(2))) / 2     phi(x) = exp(-x^2/2) / sqrt(2 pi)

    Phi' = phi, so by the product rule         f'(x) = Phi(x) + x phi(x)

GELU, tanh form (GPT-2's):

    u = k (x + 0.044715 x^3),  k = sqrt(2/pi)           f(x) = x (1 + tanh u) / 2

    with t = tanh u:   dt/du = 1 - t^2,   du/dx = k (1 + 3 * 0.044715 x^2), and by the product rule

    f'(x) = (1 + t) / 2 + x (1 - t^2) / 2 * k (1 + 3 * 0.044715 x^2)

ReLU: f(x) = x where x > 0, else 0; f'(x) = 1 where x > 0, else 0 (at 0 itself we choose 0).

Squared ReLU: f(x) = x^2 where x > 0, else 0; f'(x) = 2 x where x > 0, else 0: no kink at 0.

SwiGLU has two inputs for each output, side by side in x: a gate a and a value b, each F channels.
With s = 1 / (1 + exp(-a)), the logistic function, for which ds/da = s (1 - s):

    out = a s b

    da = dout b (s + a s (1 - s)) = dout b s (1 + a (1 - s))          db = dout a s

Shapes: x and out alike, any; of SwiGLU x (..., 2F), out (..., F).
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


def relu2_forward(x: Array, out: Array) -> None:
    """Write the square of x where x is positive, else 0, to `out`."""
    out[...] = np.where(x.real > 0, x * x, 0)


def relu2_backward(dout: Array, x: Array, dx: Array) -> None:
    """Write dout 2 x where x is positive, else 0, to `dx`."""
    # forward: out = x^2 where x > 0, else 0
    dx[...] = np.where(x.real > 0, dout * 2 * x, 0)


def swiglu_forward(x: Array, out: Array) -> None:
    """Write a sigmoid(a) b to `out`, where x is a and b side by side."""
    a, b = np.split(x, 2, axis=-1)
    out[...] = a * sigmoid(a) * b


def swiglu_backward(dout: Array, x: Array, dx: Array) -> None:
    """Write the gradients of a and b, side by side, to `dx`."""
    a, b = np.split(x, 2, axis=-1)
    s = sigmoid(a)
    # forward: out = a s b
    da, db = dout * b * s * (1 + a * (1 - s)), dout * a * s
    dx[...] = np.concatenate([da, db], axis=-1)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), computed so that exp does not overflow."""
    small = np.exp(np.where(x.real > 0, -x, x))  # at most 1 in size
    return np.where(x.real > 0, 1, small) / (1 + small)


FORWARD = {
    "gelu": gelu_forward,
    "gelu_tanh": gelu_tanh_forward,
    "relu": relu_forward,
    "relu2": relu2_forward,
    "swiglu": swiglu_forward,
}
BACKWARD = {
    "gelu": gelu_backward,
    "gelu_tanh": gelu_tanh_backward,
    "relu": relu_backward,
    "relu2": relu2_backward,
    "swiglu": swiglu_backward,
}
