"""The arguments of a layer as one flat table, in which named tuples are taken apart.

A field of a named tuple is listed as `<argument>.<field>`, such as `weights.ln_bias`.
"""

from collections.abc import Mapping
from typing import Any


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
