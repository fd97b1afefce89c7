"""Exercise 15: SwiGLU, an MLP with a gate.

Forward. Most models today replace the MLP's activation by a product of two: `up` is what the
hidden channels hold, and `gate` decides how much of each passes. The gate goes through SiLU, a
smooth ReLU, gate times the logistic function of gate:

    share = 1 / (1 + np.exp(-gate))
    out = gate * share * up

Both come from linear layers of their own, which are left out here. It works elementwise.

    python -m examples.exercises 15 [--hint] [--derivation]
"""

import numpy as np

rng = np.random.default_rng(0)
inputs = {"gate": 2 * rng.standard_normal((5, 7)), "up": rng.standard_normal((5, 7))}
outputs = {"out": (5, 7)}


def forward(gate, up, out):
    """Write silu(gate) * up to `out`."""
    out[...] = gate / (1 + np.exp(-gate)) * up


def backward(dout, gate, up, dgate, dup):
    """Write dgate (5, 7) and dup (5, 7)."""
    # yours
