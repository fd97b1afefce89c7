"""Exercise 9: layer norm.

Forward. Each row x of 7 numbers is normalised to mean 0 and variance 1 (the mean square after the
mean is subtracted), then scaled and shifted elementwise:

    mean = x.mean(axis=-1)
    rstd = 1 / np.sqrt(((x - mean[..., None]) ** 2).mean(axis=-1) + EPS)
    xhat = (x - mean[..., None]) * rstd[..., None]
    out = xhat * weight + bias

mean has one number for each row; mean[..., None] has a last axis of length 1, along which NumPy
broadcasts it. rstd is one over the standard deviation; EPS = 1e-5 keeps it finite. backward gets
mean and rstd as forward wrote them. dx is the hard one: x enters xhat three times.

    python -m examples.exercises 9 [--hint] [--derivation]
"""

import numpy as np

EPS = 1e-5
rng = np.random.default_rng(0)
inputs = {
    "x": 2 + rng.standard_normal((3, 5, 7)),
    "weight": 1 + 0.5 * rng.standard_normal(7),
    "bias": rng.standard_normal(7),
}
outputs = {"out": (3, 5, 7), "mean": (3, 5), "rstd": (3, 5)}


def forward(x, weight, bias, out, mean, rstd):
    """Write the normalised rows to `out`, and each row's `mean` and `rstd`."""
    mean[...] = x.mean(axis=-1)
    centred = x - mean[..., None]
    rstd[...] = 1 / np.sqrt((centred * centred).mean(axis=-1) + EPS)
    out[...] = centred * rstd[..., None] * weight + bias


def backward(dout, x, weight, bias, mean, rstd, dx, dweight, dbias):
    """Write dx (3, 5, 7), dweight (7,) and dbias (7,)."""
    # yours
