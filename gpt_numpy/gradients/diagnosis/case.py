"""One wrong gradient, and everything that a hypothesis about it may look at."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array

MATCH = 1e-8  # a hypothesis fits if no element differs by more than this share of the scale


@dataclass(frozen=True)
class Clues:
    """What is known around a gradient.

    arrays : what forward read and wrote, and `dout`, by name of the argument.
    numbers : what a factor may stem from, by what it is called ("positions": 5).
    named : the gradient that each known mistake would give, by a sentence that says which.
    contributions : (*shape of out, size), what each element of out adds to the gradient.
    n_head : of a tensor whose last axis holds query, key and value side by side; 0 for others.
    """

    arrays: Mapping[str, Any] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    named: Mapping[str, Array] = field(default_factory=dict)
    contributions: Array | None = None
    n_head: int = 0
    whole: str = "out"  # what the contributions are those of
    axes: tuple[str, ...] = ()  # what the axes are called, such as ("token", "channel")


@dataclass(frozen=True)
class Case:
    """A gradient written by hand beside the exact one; `scale` is what errors are divided by."""

    hand: Array
    exact: Array
    scale: float
    tolerance: float
    clues: Clues = Clues()

    @property
    def match(self) -> float:
        """The largest difference between arrays that count as the same."""
        return max(MATCH, 10 * self.tolerance) * self.scale

    @property
    def wrong(self) -> Array:
        """True at the elements that are wrong."""
        return np.asarray(~(np.abs(self.hand - self.exact) <= self.tolerance * self.scale))

    @property
    def missing(self) -> Array:
        """What has to be added to make it right."""
        return self.exact - self.hand

    def arrays(self, kinds: str) -> Iterator[tuple[str, Array]]:
        """The arrays at hand whose type is one of these kinds ("f" or "iu"), by name."""
        for name, array in self.clues.arrays.items():
            if isinstance(array, np.ndarray) and array.dtype.kind in kinds:
                yield name, array

    def same(self, a: Array, b: Array) -> bool:
        """Whether two arrays agree everywhere."""
        return bool(np.abs(a - b).max(initial=0) <= self.match)

    def tells(self, a: Array, elements: int = 2) -> bool:
        """Whether an array has enough elements that are not zero for agreement to mean anything."""
        return int((np.abs(a) > 1e-4 * self.scale).sum()) >= elements

    def part(self, index: tuple[slice, ...]) -> "Case":
        """The same for a part of the tensor; contributions and named mistakes go along."""
        clues = self.clues
        named = {text: array[index] for text, array in clues.named.items()}
        contributions = clues.contributions
        if contributions is not None:
            whole = contributions.reshape(*contributions.shape[:-1], *self.exact.shape)
            place: tuple[Any, ...] = (..., *index)
            cut = whole[place]
            contributions = cut.reshape(*contributions.shape[:-1], -1)
        clues = replace(clues, named=named, contributions=contributions, arrays={}, n_head=0)
        return Case(self.hand[index], self.exact[index], self.scale, self.tolerance, clues)

    def thirds(self) -> Iterator[tuple[str, tuple[slice, ...]]]:
        """Query, key and value, if the last axis holds them."""
        n_head, ndim = self.clues.n_head, self.exact.ndim
        if not n_head or not ndim or self.exact.shape[-1] % (3 * n_head):
            return
        C = self.exact.shape[-1] // 3
        for k, name in enumerate(("query", "key", "value")):
            yield name, (*(slice(None),) * (ndim - 1), slice(k * C, (k + 1) * C))
