"""Exercise 2 of 12: ReLU, a bend.

Forward. Negative numbers become 0, the others stay (ReLU: rectified linear unit). Every number
goes its own way: out[i] depends on x[i] alone.

(`x.real`: the grader also calls forward with complex numbers, which is how it gets exact
derivatives. The imaginary part is to be carried along and must not decide anything.)

    python -m examples.exercises 2 [--hint] [--derivation]
"""

import numpy as np

inputs = {"x": np.random.default_rng(0).standard_normal((5, 6))}
outputs = {"out": (5, 6)}


def forward(x, out):
    """Write x where it is positive, else 0, to `out`."""
    out[...] = np.where(x.real > 0, x, 0)


def backward(dout, x, dx):
    """Write dx (5, 6)."""
    # yours
