"""A pair of functions in the layer protocol, called with care: what they touch is known afterwards.

forward `(inputs..., out, statistics...)` and backward `(dout, what it reads..., d<input>...)`:
arguments are known by their names, what is read is read-only, and what is to be written holds a NaN
of its own bits beforehand: an element that was not written differs from one that is NaN. Backward
writes from its first `d<input>` on: gradients, and buffers of forward's that it uses again.
"""

import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array, Shape
from gpt_numpy.base.errors import InputError, did_you_mean

UNWRITTEN = np.uint64(0x7FF80000DEADBEEF).view(np.float64)

Function = Callable[..., Any]


@dataclass(frozen=True)
class Layer:
    """The two functions, the arguments of forward, and the shapes of what it writes."""

    forward: Function
    backward: Function
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Shape]
    extra: Mapping[str, Any] = field(default_factory=dict)
    constants: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value in self.inputs.items():
            _check_input(name, value)
        if "out" not in self.outputs:
            raise InputError("outputs has no 'out': give its shape, such as {'out': (2, 5, 6)}")
        _check_names("forward", self.forward, {*self.inputs, *self.outputs}, set())
        known = {*self.inputs, *self.outputs, *self.extra, "dout"}
        gradients = {"d" + name for name in [*self.inputs, *self.outputs]}
        for name in self.constants:
            if name not in self.inputs:
                hint = did_you_mean(name, self.inputs)
                raise InputError(f"constants names {name!r}, which is no input: {hint}")
        _check_names(
            "backward", self.backward, {"d" + name for name in self.graded}, known | gradients
        )

    @property
    def graded(self) -> list[str]:
        """The inputs whose gradient backward has to write: float arrays that are not constant."""
        names = [name for name, value in self.inputs.items() if is_float(value)]
        return [name for name in names if name not in self.constants]

    @property
    def written(self) -> list[str]:
        """What backward writes: everything from its first gradient of an input on."""
        names = [name for name in _parameters(self.backward) if name in self._arguments()]
        first = next(
            k for k, name in enumerate(names) if name[1:] in self.inputs and name[0] == "d"
        )
        return names[first:]

    def _arguments(self) -> set[str]:
        names = [*self.inputs, *self.outputs]
        return {*names, *self.extra, *("d" + name for name in names)}

    def run_forward(
        self, changes: Mapping[str, Array] = {}, dtype: str = "float64"
    ) -> dict[str, Any]:
        """What forward writes; `changes` replace inputs.

        Raises
        ------
        InputError : it raised an error, or left an output as it was.
        """
        inputs = {name: _cast(value, dtype) for name, value in {**self.inputs, **changes}.items()}
        outputs = {name: np.full(shape, UNWRITTEN, dtype) for name, shape in self.outputs.items()}
        returned = _call("forward", self.forward, inputs, outputs)
        for name, value in outputs.items():
            if unwritten(value).any():
                how = "it returned something instead; " if returned is not None else ""
                raise InputError(
                    f"forward left {_part(value)} of {name} unwritten: {how}write into the array, "
                    f"{name}[...] = ..., for {name} = ... only gives the name to another array"
                )
        return outputs

    def run_backward(
        self,
        kept: Mapping[str, Any],
        dout: Array,
        fill: Any = UNWRITTEN,
        function: Function | None = None,
    ) -> tuple[dict[str, Any], bool]:
        """What backward writes to arrays full of `fill`, and whether it returned something.

        `function` is called in backward's place, with the same arguments.

        Raises
        ------
        InputError : it raised an error.
        """
        available = {name: _cast(value, "float64") for name, value in self.inputs.items()}
        available |= {**kept, **self.extra, "dout": dout}
        written: dict[str, Any] = {}
        for name in self.written:
            like = available[name] if name in available else available.get(name[1:])
            written[name] = None if like is None else np.full(np.shape(like), fill, "float64")
        names = [name for name in _parameters(self.backward) if name in {*available, *written}]
        read = {name: available[name] for name in names if name not in written}
        returned = _call("backward", function or self.backward, read, written)
        return written, returned is not None


def is_float(value: Any) -> bool:
    """Whether an argument is an array that has a gradient."""
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def unwritten(value: Array) -> Array:
    """True where an array still holds the bits that it was filled with."""
    bits = np.ascontiguousarray(value).real.copy().view(np.uint64)
    return np.asarray(bits == np.float64(UNWRITTEN).view(np.uint64))


def _check_input(name: str, value: Any) -> None:
    if not isinstance(value, np.ndarray):
        if isinstance(value, list | tuple):
            raise InputError(f"inputs: {name} is a {type(value).__name__}: give a NumPy array")
        return
    if value.dtype.kind not in "fiub":
        raise InputError(f"inputs: {name} is of type {value.dtype}: give real numbers or integers")
    if not np.isfinite(value).all():
        raise InputError(f"inputs: {name} is not finite everywhere: give finite numbers")


def _check_names(which: str, function: Function, needed: set[str], allowed: set[str]) -> None:
    parameters = _parameters(function)
    for name in sorted(needed - set(parameters)):
        raise InputError(
            f"{which} has no argument {name!r}: its arguments are {', '.join(parameters)}; "
            + ("add it, or name the input in constants=" if which == "backward" else "name it so")
        )
    for name, parameter in parameters.items():
        if name not in needed | allowed and parameter.default is inspect.Parameter.empty:
            hint = did_you_mean(name, needed | allowed)
            raise InputError(f"{which} has an argument {name!r} that nothing is known of: {hint}")


def _parameters(function: Function) -> dict[str, inspect.Parameter]:
    if not callable(function):
        raise InputError(f"{function!r} is not a function")
    return dict(inspect.signature(function).parameters)


def _cast(value: Any, dtype: str) -> Any:
    return (
        value.astype(dtype) if isinstance(value, np.ndarray) and value.dtype.kind in "fc" else value
    )


def _call(which: str, function: Function, read: dict[str, Any], written: dict[str, Any]) -> Any:
    guarded = {}
    for name, value in read.items():
        if isinstance(value, np.ndarray):
            value = value.view()
            value.setflags(write=False)
        guarded[name] = value
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            return function(**guarded, **written)
    except (ValueError, TypeError, IndexError, NameError, AttributeError) as error:
        shapes = ", ".join(
            f"{name} {value.shape}"
            for name, value in {**read, **written}.items()
            if isinstance(value, np.ndarray)
        )
        reason = f"{type(error).__name__}: {error}"
        if "read-only" in str(error):
            reason = f"it writes to an array that it may only read ({error})"
        raise InputError(f"{which} stopped with {reason}; shapes: {shapes}") from error
    # ComplexWarning comes through as it is: the caller takes another way.


def _part(value: Array) -> str:
    count = int(unwritten(value).sum())
    return "all" if count == value.size else f"{count} of {value.size} elements"
