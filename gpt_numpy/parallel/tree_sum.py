"""Sums in an order that does not depend on how many processes compute them.

Floating-point sums depend on their order. That of n vectors is therefore always a balanced binary
tree over their indices,

    ((g0 + g1) + (g2 + g3)) + ((g4 + g5) + (g6 + g7))            n = 8

and a process whose share is an aligned block of 2^k of them computes a whole branch: with 2^j
processes and 2^k vectors each, the bits are those of one process. The pending sums of one process
are the ones in the binary number of vectors so far, and a new vector is carried as in counting, so
there are at most log2(n) of them at once.

Source: Demmel, Nguyen, "Parallel reproducible summation" (2015), for why a fixed tree is enough
where the number of terms is fixed.
"""

import numpy as np

from gpt_numpy.base.arrays import Array, aligned_empty
from gpt_numpy.base.checks import integer


class TreeSum:
    """The sum of `count` vectors, each of which is written to the same array.

    Parameters
    ----------
    vector : (N,), where each of the vectors, and after the last `add` their sum, stands.
    count : number of vectors; then the next sum begins.
    """

    def __init__(self, vector: Array, count: int) -> None:
        self._vector = vector
        self._count = integer("count", count, 1)
        self._done = 0
        self._pending: list[Array] = []  # by the level of the tree; made when first needed

    def add(self) -> None:
        """Take the vector that stands in the array into the sum."""
        level, number = 0, self._done
        while number & 1:  # the pending sum of as many vectors comes before it
            self._vector += self._pending[level]
            level, number = level + 1, number >> 1
        self._done += 1
        if self._done < self._count:
            if level == len(self._pending):
                self._pending.append(aligned_empty(self._vector.size, self._vector.dtype))
            self._pending[level][...] = self._vector
            return
        while number:  # the branches that wait, where `count` is not a power of two
            level, number = level + 1, number >> 1
            if number & 1:
                self._vector += self._pending[level]
        self._done = 0


def sum_rows(rows: Array) -> Array:
    """The sum of the rows (n, N) in the same order; they are overwritten, and it is the first."""
    distance = 1
    while distance < len(rows):
        for i in range(0, len(rows) - distance, 2 * distance):
            rows[i] += rows[i + distance]
        distance *= 2
    return rows[0]


def sum_in_order(values: Array) -> float:
    """The sum of float64 numbers from the first to the last."""
    return float(np.cumsum(values)[-1]) if len(values) else 0.0
