"""Exercise 4: dropout.

Forward. A share `rate` of the numbers is set to zero, and the others are scaled up so that the sum
stays about the same; keep is 1 where a number is kept and 0 where it is dropped:

    out = x * keep / (1 - rate)

keep is an array of integers drawn beforehand: it does not depend on x.

    python -m examples.exercises 4 [--hint] [--derivation]
"""

import numpy as np

rng = np.random.default_rng(0)
inputs = {
    "x": rng.standard_normal((5, 6)),
    "keep": rng.integers(0, 2, (5, 6)),
    "rate": 0.3,
}
outputs = {"out": (5, 6)}


def forward(x, keep, rate, out):
    """Write x, with some numbers dropped and the rest scaled up, to `out`."""
    out[...] = x * keep / (1 - rate)


def backward(dout, x, keep, rate, dx):
    """Write dx (5, 6)."""
    # yours
