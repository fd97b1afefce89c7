"""Checks of arguments of public functions; each returns the value converted to its type."""

import numbers
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gpt_numpy.base.errors import InputError

WORD_LIMIT = 2**64  # of all integers: seeds and steps become words of 64 bits
_SHOWN = 100  # characters of a value in a message
_LONGEST_PATH = 4096  # Linux's limit


def shown(value: object) -> str:
    """A value as an error message shows it, shortened if it is long."""
    if getattr(value, "shape", ()):
        return f"<{type(value).__name__} of shape {getattr(value, 'shape', ())}>"
    try:
        text = repr(_beginning(value, iter(range(_SHOWN))))
    except ValueError:  # Python does not print integers of thousands of digits
        return f"<a number of {value.bit_length()} bits>" if isinstance(value, int) else "<?>"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _beginning(value: Any, budget: Iterator[int]) -> Any:
    """No more of a string or container than is shown: all of it may take minutes to print."""
    if isinstance(value, str | bytes):
        return value[: _SHOWN + 1]
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(_beginning(item, budget) for item, _ in zip(value, budget, strict=False))
    if type(value) is dict:
        pairs = zip(value.items(), budget, strict=False)
        return {_beginning(k, budget): _beginning(v, budget) for (k, v), _ in pairs}
    return value


def is_integer(value: object) -> bool:
    """Whether a value is an integer of Python or NumPy; a bool is not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def integer(name: str, value: Any, low: int = 0, fix: str = "", *, below: int = WORD_LIMIT) -> int:
    """The value as an int, at least `low` and less than `below`.

    Raises
    ------
    InputError : it is not; the message ends with `fix`, by default the bounds.
    """
    if not is_integer(value) or not low <= value < below:
        bound = "2^64" if below == WORD_LIMIT else below
        fix = fix or f"an integer, at least {low} and less than {bound}"
        raise InputError(f"{name}={shown(value)}: must be {fix}")
    return int(value)


def real(name: str, value: Any, allowed: Callable[[float], bool], fix: str) -> float:
    """The value as a float, finite and `allowed`.

    Raises
    ------
    InputError : it is not; the message ends with `fix`.
    """
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = float("inf")
        if abs(number) < float("inf") and allowed(number):
            return number
    raise InputError(f"{name}={shown(value)}: must be {fix}")


def instance(name: str, value: Any, kind: type, fix: str = "") -> None:
    """Raise `InputError` unless the value is of this kind; `fix` describes it."""
    if not isinstance(value, kind):
        raise InputError(f"{name}={shown(value)}: must be {fix or f'a {kind.__name__}'}")


def path(name: str, value: Any) -> Path:
    """The value as the path of a file.

    Raises
    ------
    InputError : neither a string nor a path, or not a valid path.
    """
    if not isinstance(value, str | os.PathLike):
        raise InputError(f"{name}={shown(value)}: must be the path of a file, such as 'run.npz'")
    found = Path(value)
    if "\0" in str(found) or len(str(found)) > _LONGEST_PATH:
        raise InputError(
            f"{name}={shown(str(found))}: must be at most {_LONGEST_PATH} characters, no zero byte"
        )
    return found
