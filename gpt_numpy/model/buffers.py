"""Where every activation of a batch and its gradient lie: views of one flat buffer.

An activation that backward reads has a buffer of its own. All others of one kind (every layer
norm's output, say) share one, unless somebody asked to keep them; the last layer norm's stays there
until backward, which begins with it. The flat buffer grows with the largest batch.

With bfloat16 products the kernels store some activations in 16 bits, as uint16 arrays
(kernels/halves.py); who asks for them by name gets float32 numbers. What backward may then write
again over another activation, forward writes where its gradient will lie.
"""

import fnmatch
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array, NamedArrays, Shape, aligned_empty
from gpt_numpy.base.checks import shown
from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.model.stage import Activation, ModelConfig, sized
from gpt_numpy.model.stages import activations, inputs
from gpt_numpy.reference.bfloat16 import loaded

# Buffers used only inside blocks, so the logits may overlay them.
WITHIN_BLOCKS = ("act", "qkv", "d hidden", "d act", "d kv")

MOST_LAYOUTS = 512  # kept; batches of sentences have many shapes


@dataclass(frozen=True)
class Layout:
    """The arrays of a batch of one shape, by name, and the calls prepared on them (calls.py)."""

    inputs: dict[str, Array]
    acts: dict[str, Array]
    dacts: dict[str, Array]
    again: dict[str, Array]  # where backward writes some of `acts` again, if it is not there
    calls: dict[tuple[Any, ...], Any] = field(default_factory=dict)


class Buffers:
    """The layouts of all batch shapes so far; they share memory, so only one is in use at a time.

    Unless the logits are kept, at most `most_logits` of their elements exist at once, or those of
    one position.
    """

    def __init__(
        self, config: ModelConfig, dtype: np.dtype[Any], keep: frozenset[str], most_logits: float
    ) -> None:
        self._arrays, self._inputs = activations(config), inputs(config)
        self._vocab_size = config.vocab_size
        self._dtype, self._keep, self._most_logits = dtype, keep, most_logits
        self._store = aligned_empty(0, dtype)
        self._integers = aligned_empty(0, np.int64)
        self._layouts: dict[tuple[Shape, bool], Layout] = {}

    def layout(self, *sizes: int, halves: bool = False) -> Layout:
        """The arrays for these sizes, B, T and, with sources, S: the same until a larger batch.

        halves : whether what may be stored in 16 bits is.
        """
        if (sizes, halves) not in self._layouts:
            if len(self._layouts) >= MOST_LAYOUTS:
                del self._layouts[next(iter(self._layouts))]
            self._layouts[sizes, halves] = self._lay_out(sizes, halves)
        return self._layouts[sizes, halves]

    def _lay_out(self, counts: Shape, halves: bool) -> Layout:
        shapes = self._shapes(counts)
        inputs = {name: sized(shape, *counts) for name, shape in self._inputs.items()}
        half = {name for name, array in self._arrays.items() if halves and array.half}
        over = {name: self._arrays[name].again for name in half - self._keep}
        again = {name: other for name, other in over.items() if other and other not in self._keep}
        places = {name: self._place(array) for name, array in self._arrays.items()}
        dplaces = {n: self._grad_place(array) for n, array in self._arrays.items() if array.grad}
        places |= {name: dplaces[name] for name in again}
        needed = [(p, -(-math.prod(shapes[n]) // (1 + (n in half)))) for n, p in places.items()]
        needed += [(place, math.prod(shapes[name])) for name, place in dplaces.items()]
        sizes: dict[str, Shape] = {}
        for place, size in needed:
            sizes[place] = (max(size, *sizes.get(place, (0,))),)
        overlaid: dict[str, Shape] = {}
        if "logits" not in self._keep:
            overlaid = {place: sizes.pop(place) for place in WITHIN_BLOCKS if place in sizes}
            sizes["logits"] = (max(*sizes["logits"], sum(size for (size,) in overlaid.values())),)
        self._grow(sum(size for (size,) in sizes.values()), sum(map(math.prod, inputs.values())))
        buffers: dict[str, Array] = dict(NamedArrays(sizes, self._dtype, buffer=self._store))
        buffers |= NamedArrays(overlaid, self._dtype, buffer=buffers["logits"])

        def view(name: str, place: str, dtype: Any = self._dtype) -> Array:
            return buffers[place].view(dtype)[: math.prod(shapes[name])].reshape(shapes[name])

        def activation(name: str, place: str) -> Array:
            return view(name, place, np.uint16) if name in half else view(name, place)

        acts = {name: activation(name, place) for name, place in places.items()}
        return Layout(
            dict(NamedArrays(inputs, np.int64, buffer=self._integers)),
            acts,
            {name: view(name, place) for name, place in dplaces.items()},
            {name: acts[other] for name, other in again.items()},
        )

    def _grow(self, floats: int, integers: int) -> None:
        if floats > self._store.size or integers > self._integers.size:
            self._layouts.clear()
            if floats > self._store.size:
                self._store = aligned_empty(floats, self._dtype)
            if integers > self._integers.size:
                self._integers = aligned_empty(integers, np.int64)

    def _shapes(self, counts: Shape) -> dict[str, Shape]:
        """Those of all activations; of the logits, the part that exists at once."""
        shapes = {name: sized(array.shape, *counts) for name, array in self._arrays.items()}
        if "logits" not in self._keep and math.prod(shapes["logits"]) > self._most_logits:
            V = self._vocab_size
            shapes["logits"] = (max(1, int(self._most_logits) // V), V)
        return shapes

    def _place(self, array: Activation) -> str:
        return array.name if array.name in self._keep else array.buffer or array.name

    def _grad_place(self, array: Activation) -> str:
        if array.name in self._keep:
            return f"d {array.name}"
        if array.name == "logits":
            return "logits"  # overwritten by its own gradient
        return f"d {array.grad_buffer or array.name}"


class Kept(Mapping[str, Array]):
    """The activations that `keep` named, or their gradients: views, overwritten by the next pass.

    Of an activation that is stored in 16 bits it is a copy in float32, which nobody may write to.
    `arrays` is None before the first pass.
    """

    def __init__(
        self, keep: frozenset[str], statistics: frozenset[str], arrays: Mapping[str, Array] | None
    ) -> None:
        self._keep, self._statistics, self._ran = keep, statistics, arrays is not None
        self._arrays = {name: array for name, array in (arrays or {}).items() if name in keep}

    def __getitem__(self, name: str) -> Array:
        if name in self._arrays:
            return numbers(self._arrays[name])
        if name not in self._keep:
            why = "it is not kept; name it, or a pattern such as 'h.*.attn.out', in keep="
        elif self._ran and name in self._statistics:
            why = "it is a statistic, without a gradient of its own"
        else:
            why = "there was no pass yet"
        raise KeyError(f"{name!r}: {why}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


def numbers(array: Array) -> Array:
    """An activation's numbers: itself, or a read-only copy in float32 of one in 16 bits."""
    if array.dtype != np.uint16:
        return array
    copy = loaded(array)
    copy.setflags(write=False)
    return copy


def match_patterns(config: ModelConfig, patterns: tuple[str, ...]) -> frozenset[str]:
    """The names of the activations that match any of the patterns (those of a shell).

    Raises
    ------
    InputError : a pattern matches nothing.
    """
    names = list(activations(config))
    matched: set[str] = set()
    if not isinstance(patterns, tuple | list | set | frozenset):
        raise InputError(f"keep={shown(patterns)}: must be a tuple of strings, ('h.*.attn.out',)")
    for pattern in patterns:
        found = fnmatch.filter(names, pattern) if isinstance(pattern, str) else []
        if not found:
            hint = did_you_mean(str(pattern), names)
            raise InputError(f"keep={shown(pattern)} matches no activation: {hint}")
        matched.update(found)
    return frozenset(matched)
