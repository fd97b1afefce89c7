"""Aligned arrays, and arrays with names that are views of one flat buffer.

`NamedArrays` takes a dictionary of shapes and lays the arrays out in its order: an optimizer or a
checksum works on `flat`, everything else on names.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gpt_numpy.base.checks import shown
from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.base.guarded import Guarded

Array: TypeAlias = NDArray[Any]
Shape: TypeAlias = tuple[int, ...]

CHUNK = 16384  # elements of a long vector that one thread or process works on at a time
ALIGNMENT = 64  # bytes: a cache line, and the widest vector of current processors


def aligned_empty(size: int, dtype: DTypeLike) -> Array:
    """An uninitialised vector of `size` elements that starts at a cache line."""
    return _aligned(np.empty, size, np.dtype(dtype))


def aligned_zeros(size: int, dtype: DTypeLike) -> Array:
    """The same, of zeros; the system clears a page when it is first touched."""
    return _aligned(np.zeros, size, np.dtype(dtype))


def as_array(name: str, values: Any) -> Array:
    """The argument `name` as an array.

    Raises
    ------
    InputError : the values cannot form an array, for example rows of unequal length; a masked one.
    """
    refuse_mask(name, values)
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{name} cannot be an array of integers: {error}") from None
    if array.ndim == 0 and array.dtype.kind not in "biufc":
        raise InputError(f"{name}={shown(array.item())}: must be an array of integers")
    return array


def array_or_rows(name: str, values: Any) -> Array | list[Array]:
    """The argument as one array, or, where its rows differ in length, as a list of arrays.

    Raises `InputError` as `as_array` does.
    """
    refuse_mask(name, values)
    try:
        array = np.asarray(values)
    except ValueError:  # of different lengths
        return [as_array(f"{name}[{row}]", value) for row, value in enumerate(values)]
    return as_array(name, array)


def sequences_of_integers(name: str, values: Any) -> Array:
    """The argument as an array of integers, (sequences, positions).

    Raises
    ------
    InputError : another shape or type.
    """
    array = as_array(name, values)
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(
            f"{name} has shape {array.shape}: must be (sequences, positions), none of them 0"
        )
    if array.dtype.kind not in "iu":
        raise InputError(f"{name} is of type {array.dtype}: must be integers, such as int64")
    return array


def check_range(name: str, array: Array, below: int, *, low: int = 0, also: str = "") -> None:
    """Raise `InputError` if an integer is not from `low` to `below` - 1; `also` ends the message.

    A `low` of less than 0 is not named: `also` says what it stands for.
    """
    least, largest = int(array.min()), int(array.max())
    if least < low or largest >= below:
        wrong = least if least < low else largest
        raise InputError(f"{name} contains {wrong}: must be from 0 to {below - 1}{also}")


def refuse_mask(name: str, values: Any) -> None:
    """Raise `InputError` for a masked array: what it hides would be computed with, unseen."""
    if isinstance(values, np.ma.MaskedArray):
        raise InputError(
            f"{name} is a masked array, whose mask would be lost: pass {name}.filled(VALUE)"
        )


def _aligned(allocate: Any, size: int, dtype: np.dtype[Any]) -> Array:
    raw = allocate(size * dtype.itemsize + ALIGNMENT, dtype=np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size * dtype.itemsize].view(dtype)


class NamedArrays(Guarded, Mapping[str, Array]):
    """A read-only mapping of names to views of one flat buffer.

    The arrays themselves are written in place: `arrays["wte.weight"][...] = value`.

    Parameters
    ----------
    shapes : mapping of name to shape; the order of the views in the buffer.
    dtype : of all elements.
    buffer : a vector for the views, at least as long as all of them; by default a new one.

    Attributes
    ----------
    flat : the buffer.
    starts : where each view begins in it, by name.
    """

    INSTEAD: ClassVar = {"flat": "write into it, .flat[...] = values"}

    def __init__(
        self, shapes: Mapping[str, Shape], dtype: DTypeLike, buffer: Array | None = None
    ) -> None:
        size = sum(math.prod(shape) for shape in shapes.values())
        self.flat = aligned_empty(size, dtype) if buffer is None else buffer[:size]
        self._views: dict[str, Array] = {}
        self.starts: dict[str, int] = {}
        start = 0
        for name, shape in shapes.items():
            stop = start + math.prod(shape)
            self._views[name] = self.flat[start:stop].reshape(shape)
            self.starts[name] = start
            start = stop

    def __getitem__(self, name: str) -> Array:
        try:
            return self._views[name]
        except KeyError:
            raise KeyError(f"no array {name!r}: {did_you_mean(name, self._views)}") from None

    def get(self, name: str, default: Any = None) -> Any:
        """The array of this name, or `default`; skips the search for similar names."""
        return self._views.get(name, default)

    def __setitem__(self, name: str, values: Any) -> None:
        raise InputError(f"an array cannot be replaced, only written: use [{name!r}][...] = values")

    def __reduce__(self) -> Any:
        """For `copy` and `pickle`: the views of a copy lie in its own `flat`."""
        shapes = {name: view.shape for name, view in self._views.items()}
        return _copied, (shapes, self.flat.dtype, self.flat)

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def __repr__(self) -> str:
        return f"NamedArrays({len(self)} arrays, {self.flat.size:,} x {self.flat.dtype})"


def _copied(shapes: Mapping[str, Shape], dtype: DTypeLike, flat: Array) -> NamedArrays:
    arrays = NamedArrays(shapes, dtype)
    arrays.flat[...] = flat
    return arrays
