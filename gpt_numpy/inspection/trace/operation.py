"""An operation, one line of the forward pass, and where the functions that compute it stand."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Place:
    """Where a function is defined: its module, its name and its first line."""

    module: str
    name: str
    line: int

    def __str__(self) -> str:
        """As in gpt_numpy.reference.linear.linear_forward, line 35."""
        return f"{self.module}.{self.name}, line {self.line}"

    @property
    def source(self) -> str:
        """Its lines."""
        return inspect.getsource(function_named(f"{self.module}.{self.name}"))


def function_named(name: str) -> Callable[..., Any]:
    """The function of this dotted name, imported."""
    module, _, function = name.rpartition(".")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def place_of(function: Callable[..., Any]) -> Place:
    """Where a function is defined, by its code object."""
    made = inspect.unwrap(function)
    return Place(made.__module__, made.__name__, made.__code__.co_firstlineno)


@dataclass(frozen=True)
class Operation:
    """One line of the forward pass, and what its backward computes.

    `kernels` and `reference` name functions as `module.function`, where they are not the pair that
    is named like the derivation; the keys are "forward", "backward", and the letter of any array
    whose gradient a different function computes. `fields` has the layer's name for a letter, where
    it is not the letter itself.
    """

    title: str
    derivation: str  # the file of `reference/`
    forward: Mapping[str, str]
    backward: Mapping[str, str]
    fields: Mapping[str, str] = field(default_factory=dict)
    kernels: Mapping[str, str] = field(default_factory=dict)
    reference: Mapping[str, str] = field(default_factory=dict)

    def function(self, ops: str, direction: str, letter: str = "") -> Place:
        """The function of the implementation `ops` that computes an array or its gradient."""
        table = self.kernels if ops == "kernels" else self.reference
        name = table.get(direction, f"{self.derivation}.{self.derivation}_{direction}")
        if direction == "backward":
            name = table.get(letter, name)
        return place_of(function_named(f"gpt_numpy.{ops}.{name}"))
