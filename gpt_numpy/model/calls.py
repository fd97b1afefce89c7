"""A pass is a list of calls: one for each stage, prepared once for a batch shape.

The arrays of a call never change, so it is prepared once and then only run: tokens and targets are
copied into their arrays before a pass, and the dropout key lies in an array of one element. The
reference prepares a Python call, the kernels a list of launches. Whoever wants to look at a pass
walks along the same list: `bench` times each call, hooks run some of them with a tap.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.model.buffers import Layout
from gpt_numpy.model.implementations import load_ops
from gpt_numpy.model.stage import Stage
from gpt_numpy.reference.bfloat16 import loaded, stored
from gpt_numpy.reference.dropout import Dropout
from gpt_numpy.reference.tap import Tap


@dataclass(frozen=True)
class Call:
    """One layer function with its arguments; `run` computes it.

    Attributes
    ----------
    stage : the entry of the block diagram (stages.py) that it computes.
    direction : "forward" or "backward".
    args, kwargs : what the layer function is called with, here and in the reference.
    run : the call, prepared.
    """

    stage: Stage
    direction: str
    args: list[Any]
    kwargs: dict[str, Any]
    run: Callable[[], None]

    @property
    def name(self) -> str:
        """As in "h.0.attn backward"."""
        return f"{self.stage.name} {self.direction}"

    def run_tapped(self, tap: Tap) -> None:
        """Compute it by the reference, with a tap (reference/tap.py).

        The reference works on float32 numbers, so arrays in 16 bits are widened, and rounded again.
        """
        function = getattr(load_ops("reference"), f"{self.stage.layer}_{self.direction}")
        *others, last = self.args
        half = {f: a for f, a in last._asdict().items() if a is not None and a.dtype == np.uint16}
        wide = {field: loaded(array) for field, array in half.items()}
        function(*others, last._replace(**wide), **self.kwargs, tap=tap)
        for field, array in half.items():
            array[...] = stored(wide[field])

    def without_loss(self, ops: ModuleType, out: Array) -> "Call":
        """The head's forward call, with the logits of all positions written to `out` instead."""
        stage = dataclasses.replace(self.stage, layer="head")
        settings = self.kwargs["settings"]
        return _call(stage, "forward", self.args, {"settings": settings, "out": out}, ops)


class Calls(NamedTuple):
    """The calls of the two passes over a batch, each in the order of the computation."""

    forward: list[Call]
    backward: list[Call]


@dataclass(frozen=True)
class CallBuilder:
    """Builds the calls of both passes from the arrays of a batch."""

    layout: Layout
    params: Mapping[str, Array]
    grads: Mapping[str, Array]
    rate: float  # of dropout
    key: Array
    settings: Mapping[str, Any]  # fields of the stages' that the model decides, `precision`

    def forward_call(self, stage: Stage, ops: ModuleType) -> Call:
        """The forward call of a stage."""
        args, kwargs = self._read(stage, self.layout.acts)
        kwargs["out"] = self.layout.acts[stage.writes.name]
        return _call(stage, "forward", args, kwargs, ops)

    def backward_call(self, stage: Stage, ops: ModuleType) -> Call:
        """The backward call of a stage."""
        args, kwargs = self._read(stage, self.layout.acts | self.layout.again)
        dacts = self.layout.dacts
        args.insert(0, dacts[stage.writes.name])
        kwargs |= stage.backward_settings
        if stage.reads in dacts:
            kwargs["dx"] = self._streams(stage, dacts)
        kwargs["dweights"] = self._weights(stage, self.grads)
        if stage.kept:
            kwargs["dkept"] = self._kept(stage, dacts)
        return _call(stage, "backward", args, kwargs, ops)

    def _read(self, stage: Stage, acts: Mapping[str, Array]) -> tuple[list[Any], dict[str, Any]]:
        """What both directions read: positional and keyword arguments."""
        arrays = {**self.layout.inputs, **acts}
        args: list[Any] = [self._streams(stage, arrays), self._weights(stage, self.params)]
        if stage.kept:
            args.append(self._kept(stage, acts))
        given = {argument: arrays[name] for argument, name in stage.also_reads.items()}
        kwargs: dict[str, Any] = {**stage.keywords}
        for argument in given.keys() - fields_of(stage.settings) - fields_of(stage.reads_type):
            kwargs[argument] = given[argument]
        if stage.settings is not None:
            given |= self.settings
            fields = given.keys() & fields_of(stage.settings)
            kwargs["settings"] = stage.settings._replace(
                **{field: given[field] for field in fields}
            )
        if stage.site is not None:
            kwargs["dropout"] = Dropout(self.rate, self.key, stage.site)
        return args, kwargs

    def _streams(self, stage: Stage, arrays: Mapping[str, Array]) -> Any:
        """What a stage reads, or the gradient: an array, or the named tuple of several."""
        x, kind = arrays[stage.reads], stage.reads_type
        if kind is None:
            return x
        return kind(x, *[arrays[stage.also_reads[field]] for field in kind._fields[1:]])

    def _weights(self, stage: Stage, arrays: Mapping[str, Array]) -> Any:
        """The named tuple of a stage's weights, or of their gradients; None where there is none."""
        names = [stage.weight_name(argument) for argument in stage.weights_type._fields]
        return stage.weights_type(*[arrays.get(name) if name else None for name in names])

    def _kept(self, stage: Stage, arrays: Mapping[str, Array]) -> Any:
        """The named tuple of what a stage keeps, or of the gradients; None where there is none."""
        arrays_of = {field: arrays.get(array.name) for field, array in stage.kept.items()}
        return stage.kept_type(*map(arrays_of.get, stage.kept_type._fields))


def fields_of(value: Any) -> set[str]:
    """The fields of a named tuple or of its type; None has none."""
    return set(getattr(value, "_fields", ()))


def _call(
    stage: Stage, direction: str, args: list[Any], kwargs: dict[str, Any], ops: ModuleType
) -> Call:
    function = getattr(ops, f"{stage.layer}_{direction}")
    return Call(stage, direction, args, kwargs, ops.prepare(function, (args, kwargs)))
