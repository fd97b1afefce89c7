"""Exercise 13: RMSNorm, layer norm without the mean.

Forward. What most models since Llama (Meta's language model of 2023) use in the place of layer
norm. Each row x of 7 numbers is divided by the root of its mean square, then scaled; nothing is
subtracted, and there is no bias:

    rstd = 1 / np.sqrt((x * x).mean(axis=-1) + EPS)
    out = x * rstd[..., None] * weight

backward gets rstd as forward wrote it. x enters twice: directly and in rstd.

    python -m examples.exercises 13 [--hint] [--derivation]
"""

import numpy as np

EPS = 1e-5
rng = np.random.default_rng(0)
inputs = {"x": 1 + rng.standard_normal((3, 5, 7)), "weight": 1 + 0.5 * rng.standard_normal(7)}
outputs = {"out": (3, 5, 7), "rstd": (3, 5)}


def forward(x, weight, out, rstd):
    """Write the normalised rows to `out`, and each row's `rstd`."""
    rstd[...] = 1 / np.sqrt((x * x).mean(axis=-1) + EPS)
    out[...] = x * rstd[..., None] * weight


def backward(dout, x, weight, rstd, dx, dweight):
    """Write dx (3, 5, 7) and dweight (7,)."""
    # yours
