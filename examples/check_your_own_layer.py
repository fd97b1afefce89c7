"""Write the backward of layer norm, let `check_layer` explain the mistakes, and get it right.

A layer is two functions. Their arguments are first what they read, then what they write; `d` + name
is the gradient of the loss with respect to it. `check_layer` computes the exact derivative of
forward and compares. The derivation is in gpt_numpy/reference/layernorm.py.

    python examples/check_your_own_layer.py
"""

import numpy as np

import gpt_numpy as gn

EPS = 1e-5
B, T, C = 2, 5, 6


def forward(x, weight, bias, out, mean, rstd):
    """Normalise every row to mean 0 and variance 1, then scale and shift it."""
    mean[...] = x.mean(axis=-1)
    centred = x - mean[..., None]
    rstd[...] = 1 / np.sqrt((centred * centred).mean(axis=-1) + EPS)
    out[...] = centred * rstd[..., None] * weight + bias


def first_try(dout, x, weight, bias, mean, rstd, dx, dweight, dbias):
    """Treats the mean as a constant; for the bias, takes a mean over the rows."""
    xhat = (x - mean[..., None]) * rstd[..., None]
    dxhat = dout * weight
    along_xhat = (dxhat * xhat).mean(axis=-1, keepdims=True)
    dx[...] = (dxhat - xhat * along_xhat) * rstd[..., None]
    dweight[...] = (dout * xhat).sum(axis=(0, 1))
    dbias[...] = dout.mean(axis=(0, 1))


def second_try(dout, x, weight, bias, mean, rstd, dx, dweight, dbias):
    """Both are right now, but `dweight = ...` does not write into the array."""
    xhat = (x - mean[..., None]) * rstd[..., None]
    dxhat = dout * weight
    along_ones = dxhat.mean(axis=-1, keepdims=True)
    along_xhat = (dxhat * xhat).mean(axis=-1, keepdims=True)
    dx[...] = (dxhat - along_ones - xhat * along_xhat) * rstd[..., None]
    dweight = (dout * xhat).sum(axis=(0, 1))  # noqa: F841  the mistake
    dbias[...] = dout.sum(axis=(0, 1))


def right(dout, x, weight, bias, mean, rstd, dx, dweight, dbias):
    """Everything right."""
    xhat = (x - mean[..., None]) * rstd[..., None]
    second_try(dout, x, weight, bias, mean, rstd, dx, dweight, dbias)
    dweight[...] = (dout * xhat).sum(axis=(0, 1))


# The mean is not 0 and the weights are not 1: with a model's initial values, some mistakes do not
# show.
rng = np.random.default_rng(0)
inputs = {
    "x": 2 + rng.standard_normal((B, T, C)),
    "weight": 1 + 0.5 * rng.standard_normal(C),
    "bias": rng.standard_normal(C),
}
outputs = {"out": (B, T, C), "mean": (B, T), "rstd": (B, T)}

for backward in (first_try, second_try, right):
    print(f"--- {backward.__name__}\n")
    report = gn.check_layer(forward, backward, inputs, outputs)
    print(report, end="\n\n")

report.assert_exact()  # in your own tests, this line is enough
