"""Which process updates which parameters: each a segment of the flat vector of all of them.

A segment begins at a multiple of `CHUNK` elements, so that the sums of squares of its chunks are
those that one process computes, and may begin and end in the middle of a tensor. The update works
element by element, so that does not matter.
"""

from gpt_numpy.base.arrays import CHUNK, NamedArrays


def bounds_of(size: int, parts: int) -> list[int]:
    """Where the segments of a vector of `size` elements begin, and its end: `parts` + 1 numbers."""
    chunks = -(-size // CHUNK)
    return [min(size, chunks * part // parts * CHUNK) for part in range(parts + 1)]


def pieces_of(arrays: NamedArrays, start: int, stop: int) -> dict[str, tuple[int, int]]:
    """What part of the flat vector each tensor has in common with a segment, where it has any."""
    pieces = {}
    for name, begin in arrays.starts.items():
        first, last = max(begin, start), min(begin + arrays[name].size, stop)
        if first < last:
            pieces[name] = first, last
    return pieces
