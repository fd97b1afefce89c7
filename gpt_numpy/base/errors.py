"""The exceptions that the package raises on purpose, and the hint for a misspelt name."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input: the message names the argument, its value and the fix."""


class VariableError(InputError):
    """An environment variable cannot be used: no argument and no file is at fault."""


class NotFiniteError(ArithmeticError):
    """A loss or gradient is not finite; the message names the step and the first such array."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint: the known names closest to `name`, or all of them if none is close."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    if len(known) > 20:
        return f"none of the {len(known)} known names is similar"
    return "known: " + ", ".join(known)
