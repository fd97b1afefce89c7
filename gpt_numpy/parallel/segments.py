"""Which process updates which parameters: each a segment of the flat vector of all of them.

A segment begins at a multiple of `CHUNK` elements, so that the sums of squares of its chunks are
those that one process computes, and may begin and end in the middle of a tensor. The update works
element by element, so that does not matter.
"""

from collections.abc import Mapping

import numpy as np

from gpt_numpy.base.arrays import CHUNK, Array, NamedArrays


def bounds_of(size: int, parts: int) -> list[int]:
    """Where the segments of a vector of `size` elements begin, and its end: `parts` + 1 numbers."""
    chunks = -(-size // CHUNK)
    return [min(size, chunks * part // parts * CHUNK) for part in range(parts + 1)]


def pieces_of(arrays: NamedArrays, start: int, stop: int) -> dict[str, tuple[int, int]]:
    """What part of the flat vector each tensor has in common with a segment, where it has any."""
    pieces, at = {}, 0
    for name, array in arrays.items():
        first, last = max(at, start), min(at + array.size, stop)
        if first < last:
            pieces[name] = first, last
        at += array.size
    return pieces


def places_of(arrays: Mapping[str, Array]) -> dict[str, tuple[int, int]]:
    """Where each tensor begins and ends in the flat vector."""
    ends = np.cumsum([array.size for array in arrays.values()]).tolist()
    return dict(zip(arrays, zip([0, *ends[:-1]], ends, strict=True), strict=True))
