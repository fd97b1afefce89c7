"""Where the numbers of a name come from: stored, a part of what is stored, or computed again."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from gpt_numpy.base.arrays import Array
from gpt_numpy.inspection.trace import recomputed
from gpt_numpy.inspection.trace.diagram import Node, whole_of
from gpt_numpy.reference.attention import split_heads


class Sources:
    """Looks up values and gradients by name; `values` and `grads` are what the passes stored.

    What is computed again is computed each time that it is asked for.
    """

    def __init__(
        self,
        listed: list[Node],
        n_head: int,
        values: Mapping[str, Array],
        grads: Mapping[str, Array],
    ) -> None:
        self._n_head, self._values, self._grads = n_head, values, grads
        # Of everything that is computed again: the function, and the arrays around it.
        self._value_functions: dict[str, tuple[str, Node]] = {}
        self._grad_functions: dict[str, tuple[str, Node]] = {}
        for node in listed:
            for argument, function in node.operation.recomputed.items():
                if argument in node.written:
                    self._value_functions[node.arrays[argument]] = (function, node)
                if argument in node.read:
                    name = node.arrays[argument]
                    self._grad_functions[name] = (f"{function}_gradient", node)

    def is_recomputed(self, name: str) -> bool:
        """Whether no layer stores the array of this name, nor anything that it is a part of."""
        return name in self._value_functions

    def function(self, name: str, *, gradient: bool) -> str | None:
        """The function of recomputed.py that gives it, or None where it is stored."""
        found = (self._grad_functions if gradient else self._value_functions).get(name)
        return found and found[0]

    def value(self, name: str) -> Array:
        """The array of this name."""
        if (part := whole_of(name)) is not None:
            return self._part(self.value(part[0]), *part)
        if name in self._value_functions:
            return self._call(*self._value_functions[name])
        return self._values[name]

    def grad(self, name: str) -> Array | None:
        """The gradient of the loss with respect to it; None for what has none."""
        if (part := whole_of(name)) is not None:
            whole = self.grad(part[0])
            return None if whole is None else self._part(whole, *part)
        if name in self._grad_functions and self._grads:
            return self._call(*self._grad_functions[name])
        return self._grads.get(name)

    def needs(self, name: str) -> set[str]:
        """The stored activations and parameters that its value and its gradient come from."""
        if (part := whole_of(name)) is not None:
            return {part[0]}
        found = [table[name] for table in (self._value_functions, self._grad_functions)
                 if name in table]  # fmt: skip
        if not found:
            return {name}
        needed: set[str] = set()
        for function, node in found:
            for argument in _arguments(function):
                array = _array_of(node, argument)
                if array is not None:
                    needed |= self.needs(array)
        return needed

    def _part(self, whole: Array, name: str, number: int) -> Array:
        parts = 3 if name.endswith(".qkv") else 1
        return split_heads(whole, self._n_head, parts)[number]

    def _call(self, function: str, node: Node) -> Array:
        given: dict[str, Any] = {}
        for argument in _arguments(function):
            name = _array_of(node, argument)
            of = self.value if argument in node.arrays else self.grad
            given[argument] = None if name is None else of(name)
        made: Callable[..., Array] = getattr(recomputed, function)
        return made(**given)


def _arguments(function: str) -> list[str]:
    return list(inspect.signature(getattr(recomputed, function)).parameters)


def _array_of(node: Node, argument: str) -> str | None:
    """The array that an argument is or, written d + argument, whose gradient it is."""
    return node.arrays.get(argument) or node.arrays.get(argument.removeprefix("d"))
