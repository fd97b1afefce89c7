"""Where the array of a name comes from: stored, a part of a stored array, or recomputed."""

import inspect
from collections.abc import Callable, Iterator, Mapping

from gpt_numpy.base.arrays import Array
from gpt_numpy.inspection.trace.diagram import Node, nodes, parts
from gpt_numpy.inspection.trace.recomputed import RECOMPUTED
from gpt_numpy.model.stage import ModelConfig

# By name: the function that recomputes an array, and the node whose letters are its parameters.
Recomputed = dict[str, tuple[Callable[..., Array], Node]]


class Sources:
    """Looks up values and gradients by name; what is recomputed is so at each access.

    Attributes
    ----------
    diagram : the operations, in forward order.
    values, grads : how each recomputed array and gradient is computed.
    stored, stored_grads : what the passes stored; empty before them.
    inputs : the arrays of integers that they read.
    """

    def __init__(self, config: ModelConfig) -> None:
        self.diagram = nodes(config)
        self.values: Recomputed = {}
        self.grads: Recomputed = {}
        self.stored: Mapping[str, Array] = {}
        self.stored_grads: Mapping[str, Array] = {}
        self.inputs: Mapping[str, Array] = {}
        self._parts = parts(config)
        # Of functions that recompute.
        self._settings = {"softcap": getattr(config, "logit_softcap", 0.0)}
        for node in self.diagram:
            for letter, field in node.not_stored.items():
                value, gradient = RECOMPUTED.get(field, (None, None))
                if value and letter in node.written:
                    self.values[node.arrays[letter]] = value, node
                if gradient and letter in node.read:
                    self.grads[node.arrays[letter]] = gradient, node

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
        arrays = {array for function, node in found for array, _ in _arguments(function, node)}
        return set().union(*(self.needs(array) for array in arrays if array)) if found else {name}

    def _call(self, function: Callable[..., Array], node: Node) -> Array:
        given = [
            None if array is None else self.grad(array) if is_gradient else self.value(array)
            for array, is_gradient in _arguments(function, node)
        ]
        known = inspect.signature(function).parameters
        more = self._settings | {letter: self.inputs[name] for letter, name in node.inputs.items()}
        return function(*given, **{n: v for n, v in more.items() if n in known})


def _arguments(function: Callable[..., Array], node: Node) -> Iterator[tuple[str | None, bool]]:
    """The array of each parameter, None if the node has none, and whether it is the gradient."""
    for letter, parameter in inspect.signature(function).parameters.items():
        if parameter.default is not parameter.empty:  # a setting
            continue
        if letter in node.arrays:
            yield node.arrays[letter], False
        else:  # d + letter
            yield node.arrays.get(letter[1:]), True
