"""Exercise 3: GELU, a smooth activation function.

Forward. What GPT-2 uses instead of ReLU, in the form with tanh:

    u = k * (x + 0.044715 * x**3)
    out = 0.5 * x * (1 + np.tanh(u))

with k = sqrt(2 / pi). It approaches x for large x and 0 for very negative x, and is smooth. It
approximates the exact GELU, x Phi(x), where Phi(x) is the probability that a normally distributed
random number is less than x. The model `tiny` uses that one; asked for here is the form above.

    python -m examples.exercises 3 [--hint] [--derivation]
"""

import numpy as np

k = np.sqrt(2 / np.pi)
inputs = {"x": 2 * np.random.default_rng(0).standard_normal((5, 6))}
outputs = {"out": (5, 6)}


def forward(x, out):
    """Write 0.5 x (1 + tanh(u)) to `out`."""
    u = k * (x + 0.044715 * x**3)
    out[...] = 0.5 * x * (1 + np.tanh(u))


def backward(dout, x, dx):
    """Write dx (5, 6)."""
    # yours
