"""GELU, its tanh form, ReLU, its square, and SwiGLU.

Backward gives activation and gradient at once. The tanh form is computed as x sigmoid(2u), since
(1 + tanh u) / 2 = sigmoid(2u). SwiGLU reads two channels for each that it writes, which lie F
apart, so it is a pass of its own, row by row; the others also are epilogues of a product.
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

NUMBERS = {"gelu": 0, "gelu_tanh": 1, "relu": 2, "relu2": 3, "swiglu": 4}
GELU, GELU_TANH, RELU, RELU2, SWIGLU = range(5)
CHUNK = 4096  # elements of a task
ROWS = 8  # of a task of SwiGLU

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
    elif kind == RELU:
        for i in range(x.size):
            out[i] = like(0.0, x) if x[i] <= like(0.0, x) else x[i]
    else:
        for i in range(x.size):
            out[i] = like(0.0, x) if x[i] <= like(0.0, x) else x[i] * x[i]


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
    elif kind == RELU:
        for i in range(x.size):
            out[i] = like(0.0, x) if x[i] <= like(0.0, x) else x[i]
            dx[i] = dx[i] if x[i] > like(0.0, x) else like(0.0, x)
    else:
        for i in range(x.size):
            out[i] = like(0.0, x) if x[i] <= like(0.0, x) else x[i] * x[i]
            dx[i] = dx[i] * like(2.0, x) * x[i] if x[i] > like(0.0, x) else like(0.0, x)


@routine
def swiglu_row(a, b, out):
    """Write a sigmoid(a) b to `out`."""
    for i in range(out.size):
        out[i] = a[i] * sigmoid(a[i]) * b[i]


@routine
def swiglu_backward_row(dout, a, b, da, db, out):
    """Write the gradients of both, and a sigmoid(a) b to `out`."""
    for i in range(out.size):
        s, one = sigmoid(a[i]), like(1.0, a)
        passed = a[i] * s
        d = dout[i]
        out[i] = passed * b[i]
        da[i] = d * b[i] * s * (one + a[i] * (one - s))
        db[i] = d * passed


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


@kernel
def swiglu(x: In, out: Out, F: Int, workers: Int, counter: Counter):
    """Row by row."""
    rows = out.size // F
    reset(counter)
    for worker in prange(workers):
        r = next_task(counter, worker, workers, rows, ROWS)
        while r < rows:
            for k in range(r, min(r + ROWS, rows)):
                a, b = x[2 * k * F : (2 * k + 1) * F], x[(2 * k + 1) * F : (2 * k + 2) * F]
                swiglu_row(a, b, out[k * F : (k + 1) * F])
            r = next_task(counter, worker, workers, rows, ROWS)


@kernel
def swiglu_gradients(
    dout: In, x: In, dx: Out, out: Out, F: Int, again: Int, space: Out,
    workers: Int, counter: Counter,
):  # fmt: skip
    """Row by row; forward's output goes to `out` if it is wanted `again`, else to `space`."""
    rows = dout.size // F
    reset(counter)
    for worker in prange(workers):
        r = next_task(counter, worker, workers, rows, ROWS)
        while r < rows:
            for k in range(r, min(r + ROWS, rows)):
                first, middle, last = 2 * k * F, (2 * k + 1) * F, (2 * k + 2) * F
                written = space[worker * F : (worker + 1) * F]
                if again:
                    written = out[k * F : (k + 1) * F]
                swiglu_backward_row(
                    dout[k * F : (k + 1) * F], x[first:middle], x[middle:last],
                    dx[first:middle], dx[middle:last], written,
                )  # fmt: skip
            r = next_task(counter, worker, workers, rows, ROWS)


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


def relu2_forward(x: Array, out: Array) -> None:
    """Write the square of x where it is positive, else 0, to `out`; both (...)."""
    _forward("relu2", x, out)


def relu2_backward(dout: Array, x: Array, dx: Array) -> None:
    """Write dout 2 x where x is positive, else 0, to `dx`."""
    _backward("relu2", dout, x, dx)


def swiglu_forward(x: Array, out: Array) -> None:
    """Write a sigmoid(a) b to `out`, where x is a and b side by side: x (..., 2F), out (..., F)."""
    swiglu(flat(x), flat(out), out.shape[-1], threads(), tasks())


def swiglu_backward(dout: Array, x: Array, dx: Array) -> None:
    """Write the gradients of a and b, side by side, to `dx`."""
    _swiglu_gradients(dout, x, dx, None)


def swiglu_backward_and_forward(dout: Array, x: Array, dx: Array, out: Array) -> None:
    """Also write forward's `out` again."""
    _swiglu_gradients(dout, x, dx, out)


def _swiglu_gradients(dout: Array, x: Array, dx: Array, out: Array | None) -> None:
    F = dout.shape[-1]
    space = workspace("activation", threads() * F if out is None else 0, x.dtype)
    swiglu_gradients(
        flat(dout), flat(x), flat(dx), flat(out, x), F, int(out is not None), space,
        threads(), tasks(),
    )  # fmt: skip
