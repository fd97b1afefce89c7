"""The keys of a config.json of Hugging Face, each checked when it is read."""

from collections.abc import Mapping
from typing import Any

from gpt_numpy.base.checks import shown
from gpt_numpy.base.errors import InputError

CONFIG = "config.json"


class ConfigKeys:
    """Looks up keys of the given types; `InputError` names the key, its value and what it must be.

    Where a key may be missing, a default is taken for it.
    """

    def __init__(self, keys: Mapping[str, Any]) -> None:
        self._keys = keys

    def get(self, name: str, default: Any = None) -> Any:
        """The value as it is."""
        return self._keys.get(name, default)

    def refused(self, name: str, allowed: str) -> InputError:
        """The error of a value that is not what is allowed."""
        return InputError(f"{CONFIG}: {name}={shown(self.get(name))}: must be {allowed}")

    def check_fixed(self, fixed: Mapping[str, tuple[Any, ...]]) -> None:
        """Refuse other values of these keys than those listed; the first is the default."""
        for name, known in fixed.items():
            value = self.get(name, known[0])
            if not any(type(value) is type(one) and value == one for one in known):
                raise self.refused(name, f"{known[0]!r}, the only value supported here")

    def integer(self, name: str, least: int | None = None, default: int | None = None) -> int:
        """An integer, at least `least`."""
        value = self.get(name, default)
        if type(value) is not int or (least is not None and value < least):
            at_least = "" if least is None else f", at least {least}"
            raise self.refused(name, f"an integer{at_least}")
        return value

    def number(self, name: str, default: float) -> float:
        """A number, as a float."""
        value = self.get(name, default)
        try:
            if type(value) in (int, float):
                return float(value)
        except OverflowError:  # an integer of 400 digits
            pass
        raise self.refused(name, "a number")

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self.get(name, default)
        if type(value) is not bool:
            raise self.refused(name, "true or false")
        return value
