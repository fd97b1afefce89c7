"""The errors that the project raises on purpose, and the spelling help they give."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something that was passed in cannot be used; the message names it, its value and the mend."""


class NotFiniteError(ArithmeticError):
    """A loss or a gradient is not finite; the message names the step and the first such array."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence with the known names closest to `name`, or with all of them if none is close."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    if len(known) > 20:
        return f"there are {len(known)} known names, none of them similar"
    return "known: " + ", ".join(known)
