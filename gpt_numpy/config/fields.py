"""Fields of a configuration: default, help text and allowed values, and the check of all of them.

A configuration is a frozen dataclass, a subclass of `Configuration`, whose fields are written with
`setting(...)`.
"""

import dataclasses
import operator
from typing import Any

from gpt_numpy.base.checks import integer, real, shown
from gpt_numpy.base.errors import InputError

REQUIRED: Any = dataclasses.MISSING  # instead of a default
CPU_ONLY: Any = {"choices": ("cpu",), "fix": "cpu: gpt_numpy has no GPU support; use --device=cpu"}

KINDS = {int: "an integer", float: "a finite number", bool: "True or False", str: "a string"}
_BOUNDS = {
    "low": ("at least", operator.ge),
    "above": ("greater than", operator.gt),
    "high": ("at most", operator.le),
    "below": ("less than", operator.lt),
}


def setting(
    default: Any, text: str, *, choices: tuple[str, ...] = (), fix: str = "", **bounds: float
) -> Any:
    """A field of a configuration.

    Parameters
    ----------
    default : the value, or REQUIRED.
    text : what `--help` prints.
    choices : the allowed strings; with "", the setting may be left empty.
    fix : the end of an error message, after "must be"; by default the type and the bounds.
    bounds : of a number: `low` and `high` inclusive, `above` and `below` exclusive. An integer is
        never negative.
    """
    metadata = {"help": text, "choices": choices, "fix": fix, "bounds": bounds}
    return dataclasses.field(default=default, metadata=metadata)


class Configuration:
    """A dataclass whose fields are checked when it is made, its numbers converted to their types.

    Raises `InputError` when a value has the wrong type, is out of bounds, or is not a choice.
    """

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):  # type: ignore[arg-type]
            object.__setattr__(self, item.name, _checked(item, getattr(self, item.name)))


def _checked(item: Any, value: Any) -> Any:
    """The value as the type of its field; one that a subclass adds without `setting` is free."""
    if "bounds" not in item.metadata:
        return value
    must_be = _requirement(item)
    choices, bounds = item.metadata["choices"], item.metadata["bounds"]
    if item.type is int:
        value = integer(item.name, value, fix=must_be)
    elif item.type is float:
        value = real(item.name, value, lambda _: True, must_be)
    if (
        type(value) is not item.type
        or (choices and value not in choices)
        or not all(_BOUNDS[bound][1](value, limit) for bound, limit in bounds.items())
    ):
        raise InputError(f"{item.name}={shown(value)}: must be {must_be}")
    return value


def _requirement(item: Any) -> str:
    """What a value must be: "an integer, at least 1 and less than 2^64", "one of a, b"."""
    choices, bounds = item.metadata["choices"], dict(item.metadata["bounds"])
    if item.metadata["fix"]:
        return str(item.metadata["fix"])
    if choices:
        empty = ", or empty" if "" in choices else ""
        return f"one of {', '.join(filter(None, choices))}{empty}"
    if item.type is int:
        if not bounds.keys() & {"low", "above"}:
            bounds = {"low": 0, **bounds}
        bounds.setdefault("below", "2^64")
    words = " and ".join(f"{_BOUNDS[bound][0]} {limit}" for bound, limit in bounds.items())
    return f"{KINDS[item.type]}, {words}" if words else KINDS[item.type]
