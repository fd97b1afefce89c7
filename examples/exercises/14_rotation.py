"""Exercise 14: rotary positions.

Forward. Instead of adding a row for the position, most models today turn queries and keys: the
6 numbers of a head are 3 pairs, number i with number i + 3, and at position t pair i is turned by
the angle t * speed[i]:

    first, second = x[..., :3], x[..., 3:]
    angle = np.arange(5)[:, None] * speed
    cos, sin = np.cos(angle), np.sin(angle)
    out = np.concatenate([first * cos - second * sin, first * sin + second * cos], axis=-1)

The dot product of a turned query and a turned key depends on how far apart they are, not on where
they stand. Fast pairs tell neighbours apart, slow ones places far from each other. x is 7 x 5 x 6
(heads, positions, numbers); speed is not trained and has no gradient.

    python -m examples.exercises 14 [--hint] [--derivation]
"""

import numpy as np

inputs = {
    "x": np.random.default_rng(0).standard_normal((7, 5, 6)),
    "speed": np.array([1.0, 0.3, 0.1]),
}
outputs = {"out": (7, 5, 6)}
CONSTANTS = ("speed",)


def forward(x, speed, out):
    """Write x with every pair turned by its angle to `out`."""
    first, second = x[..., :3], x[..., 3:]
    angle = np.arange(5)[:, None] * speed
    cos, sin = np.cos(angle), np.sin(angle)
    out[..., :3] = first * cos - second * sin
    out[..., 3:] = first * sin + second * cos


def backward(dout, x, speed, dx):
    """Write dx (7, 5, 6)."""
    # yours
