"""Fields of a configuration: their defaults, their help texts, and the checks of their values."""

import dataclasses
import math
import numbers
from dataclasses import field
from typing import Any

from gpt_numpy.base.checks import WORD_LIMIT, shown
from gpt_numpy.base.errors import InputError

LIMIT = WORD_LIMIT


def setting(default: Any, text: str) -> Any:
    """A field of a configuration, with what `--help` says of it."""
    return field(default=default, metadata={"help": text})


def check_types(config: Any) -> None:
    """Raise `InputError` unless every field is of its type and every number finite."""
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        expected: Any = item.type
        if isinstance(value, int) and abs(value) >= LIMIT:
            raise InputError(
                f"{item.name} has {value.bit_length()} bits: it must be less than 2^64 in magnitude"
            )
        # NumPy's numbers, and whole numbers given for real ones, are what they stand for.
        kind = {int: numbers.Integral, float: numbers.Real}.get(expected)
        if kind is not None and isinstance(value, kind) and not isinstance(value, bool):
            value = expected(value)
            object.__setattr__(config, item.name, value)
        if type(value) is not expected:
            raise InputError(
                f"{item.name}={shown(value)} is of type {type(value).__name__}: "
                f"it must be of type {expected.__name__}"
            )
        if expected is float and not math.isfinite(value):
            raise InputError(f"{item.name}={value!r}: must be a finite number")


def check_range(config: Any, name: str, low: float, high: float | None) -> None:
    """Raise `InputError` unless a field lies between `low` and `high`, both allowed."""
    value = getattr(config, name)
    if value < low or (high is not None and value > high):
        bounds = f"at least {low}" + (f" and at most {high}" if high is not None else "")
        raise InputError(f"{name}={value}: must be {bounds}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise `InputError` unless a value is one of the choices."""
    if value not in choices:
        raise InputError(f"{name}={shown(value)}: must be one of {', '.join(choices)}")
