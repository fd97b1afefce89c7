"""The sizes of a call of attention: where queries and keys lie, its parts, its memory."""

from typing import NamedTuple

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.engine.jit import threads, workspace
from gpt_numpy.kernels.products.matmul import EDGE
from gpt_numpy.kernels.products.tile import TILE_ROWS

STRIP = 48 // TILE_ROWS * TILE_ROWS  # queries of a strip in backward
WIDEST = 64  # elements of a panel's row, at most

FEW = 8  # sequences times heads below which a task is a part of one


class Sizes(NamedTuple):
    """The sizes of a call, how queries and keys lie (attention.py), and the parts of a task."""

    B: int
    T: int
    S: int
    H: int
    G: int
    D: int
    parts: int
    q_stride: int
    kv_at: int
    kv_stride: int

    @classmethod
    def within(cls, qkv: Array, n_head: int, n_kv_head: int) -> "Sizes":
        """Of queries, keys and values next to each other."""
        (B, T, channels), G = qkv.shape, n_kv_head or n_head
        D = channels // (n_head + 2 * G)
        return cls(B, T, T, n_head, G, D, _parts(B * G, T), channels, n_head * D, channels)

    @classmethod
    def across(cls, q: Array, kv: Array, n_head: int) -> "Sizes":
        """Of queries from one stream, keys and values from another."""
        (B, T, C), S = q.shape, kv.shape[1]
        return cls(B, T, S, n_head, n_head, C // n_head, _parts(B * n_head, T), C, 0, 2 * C)

    def space(self, dtype: np.dtype) -> tuple[Array, int]:
        """Memory for each worker: packed keys and values, two strips of weights, their operands.

        And what is read in 16 bits, widened: all keys or values of a head, or a strip of queries.
        """
        S, D = self.S, self.D
        wide_S, wide_D = S + WIDEST, D + WIDEST
        weights = (STRIP + TILE_ROWS) * (wide_S + WIDEST)
        each = EDGE + WIDEST + 2 * wide_S * D + S * wide_D + 2 * weights + 2 * STRIP * wide_D
        each += max(S, STRIP) * D
        each = -(-each // WIDEST) * WIDEST  # no worker writes to a cache line of another's
        return workspace("attention", threads() * each, dtype), each

    def partial(self, dtype: np.dtype) -> Array:
        """Memory for the sums of each part."""
        each = 2 * self.S * self.D * self.parts if self.parts > 1 else 0
        return workspace("attention parts", self.B * self.G * each, dtype)


def _parts(heads: int, T: int) -> int:
    """How many parts each sequence and head of keys is cut into."""
    return 1 if heads >= FEW else max(1, min(-(-FEW // heads), T // (2 * STRIP)))
