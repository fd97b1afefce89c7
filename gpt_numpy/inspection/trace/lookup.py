"""Where the array of a name comes from: stored, a part of a stored array, or recomputed."""

import inspect
from collections.abc import Callable, Mapping

from gpt_numpy.base.arrays import Array
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.inspection.trace.diagram import Node, parts
from gpt_numpy.inspection.trace.recomputed import GRADIENTS, VALUES

# By name: the function that recomputes an array, and the node whose letters are its parameters.
Recomputed = dict[str, tuple[Callable[..., Array], Node]]


class Sources:
    """Looks up values and gradients by name; what is recomputed is so at each access.

    Attributes
    ----------
    values, grads : how each recomputed array and gradient is computed.
    stored, stored_grads : what the passes stored; empty before them.
    """

    def __init__(self, listed: list[Node], config: GPTConfig) -> None:
        self.values: Recomputed = {}
        self.grads: Recomputed = {}
        self.stored: Mapping[str, Array] = {}
        self.stored_grads: Mapping[str, Array] = {}
        self._parts = parts(config)
        for node in listed:
            for letter, field in node.not_stored.items():
                name = node.arrays[letter]
                if field in VALUES and letter in node.written:
                    self.values[name] = VALUES[field], node
                if field in GRADIENTS and letter in node.read:
                    self.grads[name] = GRADIENTS[field], node

    def value(self, name: str) -> Array:
        """The array of this name."""
        if name in self._parts:
            return self._parts[name].view(self.value(self._parts[name].whole))
        return self._call(*self.values[name]) if name in self.values else self.stored[name]

    def grad(self, name: str) -> Array | None:
        """The gradient of the loss with respect to it; None if it has none."""
        if name in self._parts:
            whole = self.grad(self._parts[name].whole)
            return None if whole is None else self._parts[name].view(whole)
        if name in self.grads and self.stored_grads:
            return self._call(*self.grads[name])
        return self.stored_grads.get(name)

    def needs(self, name: str) -> set[str]:
        """The stored activations and parameters that its value and its gradient come from."""
        if name in self._parts:
            return {self._parts[name].whole}
        found = [table[name] for table in (self.values, self.grads) if name in table]
        needed = (
            self.needs(array)
            for function, node in found
            for letter in _letters(function)
            if (array := node.arrays.get(letter) or node.arrays.get(letter[1:]))
        )
        return set().union(*needed) if found else {name}

    def _call(self, function: Callable[..., Array], node: Node) -> Array:
        given: list[Array | None] = []
        for letter in _letters(function):  # a letter, or d + letter for its gradient
            if letter in node.arrays:
                given.append(self.value(node.arrays[letter]))
            elif letter[1:] in node.arrays:
                given.append(self.grad(node.arrays[letter[1:]]))
            else:
                given.append(None)
        return function(*given)


def _letters(function: Callable[..., Array]) -> list[str]:
    return list(inspect.signature(function).parameters)
