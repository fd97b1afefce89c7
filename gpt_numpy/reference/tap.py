"""Taps: a function that sees every activation of a layer, and may change it in place.

A layer calls `tap(name, array)` right after it has computed an activation, with the name of the
field or argument, and in backward `tap("d" + name, array)` before it uses a gradient. What backward
recomputes it taps again. The hooks of inspection/ replace activations with this.
"""

from collections.abc import Callable
from typing import TypeAlias

from gpt_numpy.base.arrays import Array

Tap: TypeAlias = Callable[[str, Array], None]


def no_tap(name: str, array: Array) -> None:
    """Look at nothing, change nothing."""
