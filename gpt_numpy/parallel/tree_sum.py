"""Sums in an order that does not depend on how many processes compute them.

Floating-point sums depend on their order. That of n = 2^a odd gradients is therefore fixed: each
`odd` consecutive ones are added one after the other, and their 2^a sums in a balanced binary tree,

    ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))            a = 3

A process whose share is the 2^j-th part of them computes a whole branch, so 2^j processes give the
bits of one. The pending sums of a process are the ones in the binary number of sums so far, and a
new sum is carried as in counting, so at most `a` wait at once. With an odd number there are none.

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

    Attributes
    ----------
    accumulate : whether the next vector is to be added to what stands in the array, not to replace
        it: what `model.backward` takes.
    """

    def __init__(self, vector: Array, count: int) -> None:
        self._vector = vector
        self._count = integer("count", count, 1)
        self._odd = odd_part(self._count)
        self._done = 0
        self._pending: list[Array] = []  # by the level of the tree; made when first needed

    @property
    def accumulate(self) -> bool:
        """Whether the next vector is to be added to what stands in the array."""
        return self._done % self._odd > 0

    def add(self) -> None:
        """Take what stands in the array into the sum."""
        self._done += 1
        if self.accumulate:
            return
        level, number = 0, self._done // self._odd - 1
        while number & 1:  # the pending sum of as many comes before it
            self._vector += self._pending[level]
            level, number = level + 1, number >> 1
        if self._done == self._count:
            self._done = 0
            return
        if level == len(self._pending):
            self._pending.append(aligned_empty(self._vector.size, self._vector.dtype))
        self._pending[level][...] = self._vector


def odd_part(count: int) -> int:
    """`count` without its factors of two."""
    return count // (count & -count)


def waiting(count: int) -> int:
    """How many sums wait at most, while `count` vectors are added: memory for as many."""
    return (count & -count).bit_length() - 1


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
