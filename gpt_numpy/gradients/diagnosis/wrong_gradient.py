"""A wrong gradient, and everything that a hypothesis about it may use."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array

MATCH = 1e-8  # largest difference, relative to the scale, at which a hypothesis holds


@dataclass(frozen=True)
class Clues:
    """What is known about the surroundings of a gradient.

    arrays : what forward read and wrote, and `dout`, by argument name.
    numbers : numbers that may appear as a wrong factor, by description ("positions": 5).
    named : the gradient that each known mistake gives, by a sentence that describes it.
    contributions : (*shape of out, size), what each element of out adds to the gradient.
    n_head : heads of a tensor whose last axis holds query, key and value; 0 for other tensors.
    whole : what the contributions come from.
    axes : names of the axes of the gradient, such as ("token", "channel").
    """

    arrays: Mapping[str, Any] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    named: Mapping[str, Array] = field(default_factory=dict)
    contributions: Array | None = None
    n_head: int = 0
    whole: str = "out"
    axes: tuple[str, ...] = ()


@dataclass(frozen=True)
class WrongGradient:
    """The hand-derived and the exact gradient; errors are relative to `scale`."""

    hand: Array
    exact: Array
    scale: float
    tolerance: float
    clues: Clues = Clues()

    @property
    def match(self) -> float:
        """The largest difference between arrays that count as equal."""
        return max(MATCH, 10 * self.tolerance) * self.scale

    @property
    def wrong(self) -> Array:
        """True at the elements that are wrong."""
        return np.asarray(~(np.abs(self.hand - self.exact) <= self.tolerance * self.scale))

    @property
    def missing(self) -> Array:
        """What must be added to make the gradient right."""
        return self.exact - self.hand

    def arrays(self, kinds: str) -> Iterator[tuple[str, Array]]:
        """The arrays among the clues with one of these kinds of dtype ("f" or "iu"), by name."""
        for name, array in self.clues.arrays.items():
            if isinstance(array, np.ndarray) and array.dtype.kind in kinds:
                yield name, array

    def same(self, a: Array, b: Array) -> bool:
        """Whether two arrays are equal everywhere, within `match`."""
        return bool(np.abs(a - b).max(initial=0) <= self.match)

    def enough_in(self, a: Array, elements: int = 2) -> bool:
        """Whether `a` has enough nonzero elements that agreement cannot be chance."""
        return int((np.abs(a) > 1e-4 * self.scale).sum()) >= elements

    def part(self, index: tuple[slice, ...]) -> "WrongGradient":
        """The same for a part of the tensor, with its contributions and named mistakes."""
        clues = self.clues
        named = {text: array[index] for text, array in clues.named.items()}
        contributions = clues.contributions
        if contributions is not None:
            lead = contributions.shape[:-1]
            whole = contributions.reshape(*lead, *self.exact.shape)
            contributions = whole[*[slice(None)] * len(lead), *index].reshape(*lead, -1)
        clues = replace(clues, named=named, contributions=contributions, arrays={}, n_head=0)
        return WrongGradient(self.hand[index], self.exact[index], self.scale, self.tolerance, clues)

    def thirds(self) -> Iterator[tuple[str, tuple[slice, ...]]]:
        """The names and indices of query, key and value, if the last axis holds them."""
        n_head, ndim = self.clues.n_head, self.exact.ndim
        if not n_head or not ndim or self.exact.shape[-1] % (3 * n_head):
            return
        C = self.exact.shape[-1] // 3
        for k, name in enumerate(("query", "key", "value")):
            yield name, (*(slice(None),) * (ndim - 1), slice(k * C, (k + 1) * C))
