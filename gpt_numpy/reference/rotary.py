"""Rotary positions: a query or key turns with its position, so that a score depends on distances.

Source: Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding" (2021), section
3.2, with the channels of a head paired as in GPT-NeoX and Llama: channel i of the first half with
channel i of the second (the paper pairs neighbours; this only orders the channels differently).

Forward, for one head of one position t, with D channels and i < D / 2:

    angle_ti = t base^(-2 i / D)                 cos_ti = cos(angle_ti), sin_ti = sin(angle_ti)

    out_i       = x_i cos_ti       - x_(i+D/2) sin_ti
    out_(i+D/2) = x_(i+D/2) cos_ti + x_i sin_ti

Each pair of channels is a point of a plane, turned by its angle. A turned query at t and a turned
key at u have the scalar product of the query at t - u and the key at 0: the turns by u cancel. So
no position enters the residual stream, and there is no table to learn.

Backward. The matrix of a turn is orthogonal: its transpose turns by the opposite angle.

    dx_i       = dout_i cos_ti       + dout_(i+D/2) sin_ti
    dx_(i+D/2) = dout_(i+D/2) cos_ti - dout_i sin_ti

Shapes: x, out (B, T, N, D), N heads; rotations (block_size >= T, D): cos, then sin.
"""

import numpy as np

from gpt_numpy.base.arrays import Array


def rotation_table(n_positions: int, head_size: int, base: float) -> Array:
    """Cosine and sine of every position's angles, (n_positions, head_size)."""
    exponents = np.arange(0, head_size, 2) / head_size
    angles = np.arange(n_positions)[:, None] * base**-exponents
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1)


def turn(x: Array, rotations: Array, out: Array) -> None:
    """Write the turned vectors to `out`, which may be `x`."""
    cos, sin = _by_position(x, rotations)
    first, second = np.split(x, 2, axis=-1)
    out[...] = np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def turn_back(dout: Array, rotations: Array, dx: Array) -> None:
    """Write the gradient of `x`, turned by the opposite angles; `dx` may be `dout`."""
    # forward: out = x turned
    cos, sin = _by_position(dout, rotations)
    first, second = np.split(dout, 2, axis=-1)
    dx[...] = np.concatenate([first * cos + second * sin, second * cos - first * sin], axis=-1)


def _by_position(x: Array, rotations: Array) -> list[Array]:
    """Cosines and sines of the positions of `x`, each (T, 1, D / 2)."""
    return np.split(rotations[: x.shape[1], None], 2, axis=-1)
