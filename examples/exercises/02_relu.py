"""Exercise 2: ReLU, an activation function.

Forward. Negative numbers become 0, the others stay (ReLU: rectified linear unit). It works
elementwise: out[i] depends on x[i] alone.

(`x.real`: to get exact derivatives, the grader also calls forward with complex numbers. The
imaginary part must be carried along and must not affect any choice.)

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
