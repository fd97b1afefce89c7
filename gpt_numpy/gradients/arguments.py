"""The arguments of a layer as one flat table, in which named tuples are taken apart.

A field of a named tuple is listed as `<argument>.<field>`, such as `weights.ln_bias`, so that the
check can treat it like an array that is an argument of its own. Other values keep their names.
"""

from collections.abc import Mapping
from typing import Any


def flatten(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments, and all fields of the named tuples among them, under one name each."""
    flat: dict[str, Any] = {}
    for name, value in arguments.items():
        if is_named_tuple(value):
            flat |= {f"{name}.{field}": inner for field, inner in flatten(value._asdict()).items()}
        else:
            flat[name] = value
    return flat


def unflatten(flat: Mapping[str, Any], like: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments named in `like`, as named tuples where it has some; missing values are None."""
    return {name: _value(name, value, flat) for name, value in like.items()}


def is_named_tuple(value: Any) -> bool:
    """Whether a value is a named tuple."""
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _value(name: str, like: Any, flat: Mapping[str, Any]) -> Any:
    if not is_named_tuple(like):
        return flat.get(name)
    return like._make(
        _value(f"{name}.{field}", value, flat) for field, value in like._asdict().items()
    )
