"""GELU, its tanh form and ReLU; backward gives activation and gradient in one evaluation.

The tanh form is computed as x sigmoid(2u), since (1 + tanh u) / 2 = sigmoid(2u).
"""

import math

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.elementary import erf, exp, like, sigmoid
from gpt_numpy.kernels.engine.jit import (
    Counter,
    In,
    Int,
    Out,
    exact,
    flat,
    kernel,
    prange,
    routine,
    tasks,
    threads,
    workspace,
)  # fmt: skip
from gpt_numpy.kernels.engine.tasks import next_task, reset
from gpt_numpy.kernels.rows import copy

NUMBERS = {"gelu": 0, "gelu_tanh": 1, "relu": 2}
GELU, GELU_TANH = NUMBERS["gelu"], NUMBERS["gelu_tanh"]
CHUNK = 4096  # elements of a task

TANH_SCALE = math.sqrt(2 / math.pi)
TANH_CUBIC = 0.044715
ROOT_HALF = math.sqrt(0.5)
DENSITY = 1 / math.sqrt(2 * math.pi)


@exact
def gelu(x):
    """Phi(x), the share of x that passes, and the derivative of x Phi(x)."""
    cdf = like(0.5, x) * (like(1.0, x) + erf(x * like(ROOT_HALF, x)))
    pdf = exp(like(-0.5, x) * x * x) * like(DENSITY, x)
    return cdf, cdf + x * pdf


@exact
def gelu_tanh(x):
    """The same for the tanh form: s = sigmoid(2u), ds/dx = 2 s (1 - s) du/dx."""
    square, scale = x * x, like(2 * TANH_SCALE, x)
    s = sigmoid(scale * x * (like(1.0, x) + like(TANH_CUBIC, x) * square))
    slope = scale * (like(1.0, x) + like(3 * TANH_CUBIC, x) * square)
    return s, s + x * s * (like(1.0, x) - s) * slope


@routine
def activate_row(kind, x, out):
    """Write f(x) to `out`."""
    if kind == GELU:
        for i in range(x.size):
            out[i] = x[i] * gelu(x[i])[0]
    elif kind == GELU_TANH:
        for i in range(x.size):
            out[i] = x[i] * gelu_tanh(x[i])[0]
    else:
        for i in range(x.size):
            out[i] = like(0.0, x) if x[i] <= like(0.0, x) else x[i]


@routine
def activate_backward_row(kind, x, dx, out):
    """Multiply `dx` by f'(x), and write f(x) to `out`."""
    if kind == GELU:
        for i in range(x.size):
            passed, slope = gelu(x[i])
            out[i] = x[i] * passed
            dx[i] *= slope
    elif kind == GELU_TANH:
        for i in range(x.size):
            passed, slope = gelu_tanh(x[i])
            out[i] = x[i] * passed
            dx[i] *= slope
    else:
        for i in range(x.size):
            out[i] = like(0.0, x) if x[i] <= like(0.0, x) else x[i]
            dx[i] = dx[i] if x[i] > like(0.0, x) else like(0.0, x)


@kernel
def activate(x: In, kind: Int, out: Out, workers: Int, counter: Counter):
    """Chunk by chunk."""
    reset(counter)
    for worker in prange(workers):
        start = next_task(counter, worker, workers, x.size, CHUNK)
        while start < x.size:
            activate_row(kind, x[start : start + CHUNK], out[start : start + CHUNK])
            start = next_task(counter, worker, workers, x.size, CHUNK)


@kernel
def activate_backward(
    dout: In, x: In, kind: Int, dx: Out, space: Out, workers: Int, counter: Counter
):  # fmt: skip
    """Chunk by chunk; the activations that come along go to `space`."""
    reset(counter)
    for worker in prange(workers):
        start = next_task(counter, worker, workers, x.size, CHUNK)
        while start < x.size:
            part = x[start : start + CHUNK]
            dpart = dx[start : start + CHUNK]
            copy(dout[start : start + CHUNK], dpart)
            out = space[worker * CHUNK : worker * CHUNK + part.size]
            activate_backward_row(kind, part, dpart, out)
            start = next_task(counter, worker, workers, x.size, CHUNK)


def _forward(name: str, x: Array, out: Array) -> None:
    activate(flat(x), NUMBERS[name], flat(out), threads(), tasks())


def _backward(name: str, dout: Array, x: Array, dx: Array) -> None:
    space = workspace("activation", threads() * CHUNK, x.dtype)
    activate_backward(flat(dout), flat(x), NUMBERS[name], flat(dx), space, threads(), tasks())


def gelu_forward(x: Array, out: Array) -> None:
    """Write x Phi(x) to `out`; both (...)."""
    _forward("gelu", x, out)


def gelu_backward(dout: Array, x: Array, dx: Array) -> None:
    """Write dout (Phi(x) + x phi(x)) to `dx`."""
    _backward("gelu", dout, x, dx)


def gelu_tanh_forward(x: Array, out: Array) -> None:
    """Write x (1 + tanh(k (x + 0.044715 x^3))) / 2 to `out`; both (...)."""
    _forward("gelu_tanh", x, out)


def gelu_tanh_backward(dout: Array, x: Array, dx: Array) -> None:
    """Write dout times the derivative of the tanh form to `dx`."""
    _backward("gelu_tanh", dout, x, dx)


def relu_forward(x: Array, out: Array) -> None:
    """Write x where it is positive, else 0, to `out`; both (...)."""
    _forward("relu", x, out)


def relu_backward(dout: Array, x: Array, dx: Array) -> None:
    """Write dout where x is positive, else 0, to `dx`."""
    _backward("relu", dout, x, dx)
