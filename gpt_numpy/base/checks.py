"""Checks of what users pass to public functions: each returns the value as what it stands for."""

import numbers
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpt_numpy.base.errors import InputError

WORD_LIMIT = 2**64  # of every whole number: seeds and steps become words of 64 bits
_SHOWN = 100
_LONGEST_PATH = 4096  # Linux's limit


def shown(value: object) -> str:
    """A value as an error message shows it, however long it is."""
    if getattr(value, "shape", ()):
        return f"<{type(value).__name__} of shape {getattr(value, 'shape', ())}>"
    try:
        text = repr(value)
    except ValueError:  # Python does not write out integers of thousands of digits
        return f"<a number of {value.bit_length()} bits>" if isinstance(value, int) else "<?>"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def is_whole(value: object) -> bool:
    """Whether a value is a whole number, Python's or NumPy's."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def whole(name: str, value: Any, low: int = 0, mend: str = "", *, below: int = WORD_LIMIT) -> int:
    """A whole number of at least `low` and less than `below`.

    Raises
    ------
    InputError : it is something else; `mend` may say what it must be.
    """
    if not is_whole(value) or not low <= value < below:
        bound = "2^64" if below == WORD_LIMIT else below
        mend = mend or f"a whole number, at least {low} and less than {bound}"
        raise InputError(f"{name}={shown(value)}: must be {mend}")
    return int(value)


def real(name: str, value: Any, allowed: Callable[[float], bool], mend: str) -> float:
    """A finite number that is `allowed`.

    Raises
    ------
    InputError : it is something else; `mend` says what it must be.
    """
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = float("inf")
        if abs(number) < float("inf") and allowed(number):
            return number
    raise InputError(f"{name}={shown(value)}: must be {mend}")


def path(name: str, value: Any) -> Path:
    """The path of a file.

    Raises
    ------
    InputError : it is neither a text nor a path, or no system has such a path.
    """
    if not isinstance(value, str | os.PathLike):
        raise InputError(f"{name}={shown(value)}: must be the path of a file, such as 'run.npz'")
    found = Path(value)
    if "\0" in str(found) or len(str(found)) > _LONGEST_PATH:
        raise InputError(f"{name}={shown(str(found))}: too long for a path, or with a zero in it")
    return found
