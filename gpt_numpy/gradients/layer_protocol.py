"""Calls a pair of layer functions so that everything they read and write can be checked.

forward(inputs..., out, what it keeps...) and backward(dout, what it reads..., d<input>...) are
called by keyword. Arrays may travel in named tuples; in the tables here their fields are listed as
`weights.bias`.

Arrays that are only read are read-only. Arrays to be written are filled with one particular NaN, so
an element that was not written differs from one that became NaN. Backward writes every argument
from its first `d<input>` on: gradients, and buffers of forward that it uses again. What forward
keeps in a named tuple, backward may overwrite, so each call gets a copy.
"""

import inspect
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import dropwhile
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.checks import instance, is_integer, shown
from gpt_numpy.base.errors import InputError, did_you_mean

_BITS = np.uint64(0x7FF80000DEADBEEF)
UNWRITTEN = _BITS.view(np.float64)

Function = Callable[..., Any]
_LARGEST = 10**9  # elements of an output: a check of fewer takes days already


@dataclass(frozen=True)
class Layer:
    """The two functions, the arguments of forward, and the shapes of what it writes."""

    forward: Function
    backward: Function
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    extra: Mapping[str, Any] = field(default_factory=dict)
    constants: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("inputs", "outputs", "extra"):
            instance(name, getattr(self, name), Mapping, "a dictionary of arguments by name")
        for name, value in self.flat_inputs.items():
            _check_input(name, value)
        for name, shape in flatten(self.outputs).items():
            _check_shape(name, shape)
        if "out" not in self.outputs:
            raise InputError("outputs has no 'out': give its shape, such as {'out': (2, 5, 6)}")
        for name in self.constants:
            known = list(dict.fromkeys([*self.inputs, *self.flat_inputs]))
            if name not in known:
                hint = did_you_mean(name, known)
                raise InputError(f"constants names {name!r}, which is no input: {hint}")
        _check_names("forward", self.forward, {*self.inputs, *self.outputs}, set())
        gradients = {"d" + name.partition(".")[0] for name in self.graded}
        _check_names("backward", self.backward, gradients, self._known)
        for name in self.written:
            if name == "dout" or name in {*self.inputs, *self.extra}:
                raise InputError(
                    f"backward: {name} comes after {self.written[0]}, and it writes all arguments "
                    f"from its first gradient on: put {name} before {self.written[0]}"
                )

    @cached_property
    def flat_inputs(self) -> dict[str, Any]:
        """The inputs, with named tuples taken apart."""
        return flatten(self.inputs)

    @property
    def graded(self) -> list[str]:
        """The inputs that need a gradient: arrays of floats that are not constant."""
        return [
            name
            for name, value in self.flat_inputs.items()
            if isinstance(value, np.ndarray)
            and value.dtype.kind == "f"
            and not {name, name.partition(".")[0]} & set(self.constants)
        ]

    @property
    def written(self) -> list[str]:
        """The arguments that backward writes: all from the first gradient of an input on."""
        names = [name for name in _parameters(self.backward) if name in self._known]
        gradients = {"d" + name for name in self.inputs}
        return list(dropwhile(lambda name: name not in gradients, names))

    @property
    def _known(self) -> set[str]:
        """The names that an argument of backward may have."""
        names = [*self.inputs, *self.outputs]
        return {*names, *self.extra, "dout", *("d" + name for name in names)}

    def run_forward(
        self, changes: Mapping[str, Array] = {}, dtype: str = "float64"
    ) -> dict[str, Any]:
        """What forward writes, as a flat table; `changes` replace inputs, by flat name.

        InputError: it raised an error, or left an output as it was.
        """
        inputs = {**self.flat_inputs, **changes}
        flat = {name: _cast(value, dtype) for name, value in inputs.items()}
        outputs = {
            name: np.full(shape, UNWRITTEN, dtype)
            for name, shape in flatten(self.outputs).items()
            if shape is not None
        }
        read = unflatten(_read_only(flat), self.inputs)
        returned = _call("forward", self.forward, read, unflatten(outputs, self.outputs))
        for name, value in outputs.items():
            count = int(unwritten(value).sum())
            if count:
                part = "all" if count == value.size else f"{count} of {value.size} elements"
                how = "it returned something instead; " if returned is not None else ""
                raise InputError(
                    f"forward left {part} of {name} unwritten: {how}write into the array, "
                    f"{name}[...] = ...; {name} = ... only rebinds the name"
                )
        return outputs

    def run_backward(
        self,
        kept: Mapping[str, Any],
        dout: Array,
        fill: Any = UNWRITTEN,
        function: Function | None = None,
    ) -> tuple[dict[str, Any], bool]:
        """What backward writes, as a flat table, and whether it returned something.

        kept : what `run_forward` returned.
        fill : the value of every element of the written arrays beforehand.
        function : called in backward's place, with the same arguments.
        """
        flat = {name: _cast(value, "float64") for name, value in self.flat_inputs.items()}
        flat |= {**kept, **flatten(self.extra), "dout": dout}
        like = {**self.inputs, **self.outputs, **self.extra, "dout": dout}
        written = self._unwritten_arrays(flat, like, fill)
        # Backward may compute again what forward kept in a named tuple, in the same arrays.
        rewritten = {n: v.copy() for n, v in kept.items() if n.partition(".")[0] != n}
        names = [name for name in _parameters(self.backward) if name in self._known]
        read = {name: like[name] for name in names if name not in self.written}
        returned = _call(
            "backward",
            function or self.backward,
            unflatten(_read_only(flat) | rewritten, read),
            unflatten(written, {n: like[n if n in like else n[1:]] for n in self.written}),
        )
        return written, returned is not None

    def _unwritten_arrays(
        self, flat: Mapping[str, Any], like: Mapping[str, Any], fill: Any
    ) -> dict[str, Any]:
        """An array full of `fill` for everything that backward writes, by flat name.

        In a named tuple of gradients, inputs that have no gradient have no array.
        """
        written: dict[str, Any] = {}
        ungraded_fields = self.flat_inputs.keys() - self.inputs.keys() - {*self.graded}
        for argument in self.written:
            again = argument in like  # a buffer of forward; otherwise a gradient
            source = argument if again else argument[1:]
            for name in flatten({source: like[source]}):
                if flat.get(name) is not None and (again or name not in ungraded_fields):
                    target = name if again else "d" + name
                    written[target] = np.full(np.shape(flat[name]), fill, "float64")
        return written


def flatten(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments, and all fields of the named tuples among them, under one name each."""
    flat: dict[str, Any] = {}
    for name, value in arguments.items():
        if hasattr(value, "_asdict"):
            flat |= {f"{name}.{field}": inner for field, inner in flatten(value._asdict()).items()}
        else:
            flat[name] = value
    return flat


def unflatten(flat: Mapping[str, Any], like: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The arguments named in `like`, as named tuples where it has some; missing values are None."""
    found = {}
    for name, value in like.items():
        found[name] = flat.get(prefix + name)
        if hasattr(value, "_asdict"):
            fields = unflatten(flat, value._asdict(), f"{prefix}{name}.")
            found[name] = value._make(fields.values())
    return found


def unwritten(value: Array) -> Array:
    """True where an array still holds the bits that it was filled with."""
    return np.asarray(np.ascontiguousarray(value).real.copy().view(np.uint64) == _BITS)


def _check_input(name: str, value: Any) -> None:
    if isinstance(value, list | tuple):
        raise InputError(f"inputs: {name} is a {type(value).__name__}: give a NumPy array")
    if not isinstance(value, np.ndarray):
        return
    if value.dtype.kind not in "fiub":
        raise InputError(f"inputs: {name} is of type {value.dtype}: give real numbers or integers")
    if not np.isfinite(value).all():
        raise InputError(f"inputs: {name} is not finite everywhere: give finite numbers")


def _check_shape(name: str, shape: Any) -> None:
    sizes = shape if isinstance(shape, tuple | list) else (shape,)
    if shape is not None and not all(is_integer(n) and n >= 0 for n in sizes):
        raise InputError(f"outputs: {name}={shown(shape)}: must be a shape, such as (2, 5, 6)")
    if shape is not None and math.prod(sizes) > _LARGEST:
        raise InputError(f"outputs: {name}={shown(shape)} is too large: give a smaller example")


def _check_names(which: str, function: Function, needed: set[str], allowed: set[str]) -> None:
    parameters = _parameters(function)
    for name in sorted(needed - set(parameters)):
        raise InputError(
            f"{which} has no argument {name!r}: its arguments are {', '.join(parameters)}; "
            + ("add it, or name the input in constants=" if which == "backward" else "add it")
        )
    for name, parameter in parameters.items():
        if name not in needed | allowed and parameter.default is inspect.Parameter.empty:
            hint = did_you_mean(name, needed | allowed)
            raise InputError(f"{which} has an unknown argument {name!r}: {hint}")


def _parameters(function: Function) -> dict[str, inspect.Parameter]:
    if not callable(function):
        raise InputError(f"{function!r} is not a function")
    return dict(inspect.signature(function).parameters)


def _cast(value: Any, dtype: str) -> Any:
    floats = isinstance(value, np.ndarray) and value.dtype.kind in "fc"
    return value.astype(dtype) if floats else value


def _read_only(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The same table with views that cannot be written to."""
    guarded = dict(flat)
    for name, value in flat.items():
        if isinstance(value, np.ndarray):
            guarded[name] = value.view()
            guarded[name].setflags(write=False)
    return guarded


def _call(which: str, function: Function, read: dict[str, Any], written: dict[str, Any]) -> Any:
    try:
        with warnings.catch_warnings():
            # A ComplexWarning is not handled here: the caller then uses differences.
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            return function(**read, **written)
    except (ValueError, TypeError, IndexError, NameError, AttributeError) as error:
        shapes = ", ".join(
            f"{name} {value.shape}"
            for name, value in flatten({**read, **written}).items()
            if isinstance(value, np.ndarray)
        )
        reason = f"{type(error).__name__}: {error}"
        if "read-only" in str(error):
            reason = f"it writes to an array that it may only read ({error})"
        if "can't set attribute" in str(error):
            reason = f"it assigns to a field of a named tuple ({error}): write field[...] = ..."
        raise InputError(f"{which} stopped with {reason}; shapes: {shapes}") from error
