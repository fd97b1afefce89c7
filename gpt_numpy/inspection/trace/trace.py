"""One forward and backward pass with everything kept: every array, its gradient, where from.

    trace = gn.trace(model, tokens, targets)
    entry = trace["h.0.attn.out"]
    entry.value, entry.grad                  # arrays
    entry.forward[0].equation                # out[...] = merge_heads(w @ V)
    entry.backward[0].equation               # dx = dout @ weight.T
    entry.backward[0].function               # gpt_numpy.kernels.linear.linear_backward, line 49

The pass is the model's own, by its own layers, in buffers of its own: the model's activations and
gradients stay as they are. There is no dropout, as in evaluation.
"""

import fnmatch
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from gpt_numpy.base.arrays import Array, NamedArrays, Shape
from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.inspection.trace import norms
from gpt_numpy.inspection.trace.diagram import (
    Node,
    all_shapes,
    backward_order,
    forward_order,
    nodes,
)
from gpt_numpy.inspection.trace.lookup import Sources
from gpt_numpy.inspection.trace.operations import Place, place_of
from gpt_numpy.model.gpt import GPT, twin_of
from gpt_numpy.model.stages import activation_shapes
from gpt_numpy.reference.cross_entropy import IGNORED

RECOMPUTED = "gpt_numpy.inspection.trace.recomputed"


@dataclass(frozen=True)
class Step:
    """How one array, or one term of a gradient, is computed.

    `equation` is quoted from the file `derivation`, which derives it; `arrays` says which array of
    the model each letter of it stands for (`weight` is "h.0.attn.c_attn.weight"; dx is the gradient
    of that which x stands for); `function` computed the numbers.
    """

    equation: str
    derivation: str
    function: Place
    arrays: Mapping[str, str]


@dataclass(frozen=True)
class Traced:
    """One named array of a pass, with its gradient and where both come from.

    `kind` is "activation", "statistic" or "parameter"; `forward` is empty for parameters, and
    `backward` for what has no gradient of its own. A gradient with several terms has a step for
    each, in the order of the computation. `recomputed`: no layer stores it; it is computed again,
    with the reference, from what is stored, each time that `value` or `grad` is asked for.
    """

    name: str
    kind: str
    shape: Shape
    recomputed: bool
    forward: tuple[Step, ...]
    backward: tuple[Step, ...]
    _sources: Sources = field(repr=False)

    @property
    def value(self) -> Array:
        """The array itself; of a parameter the model's own, not a copy."""
        return self._sources.value(self.name)

    @property
    def grad(self) -> Array | None:
        """The gradient of the loss with respect to it; None where it has none."""
        return self._sources.grad(self.name)


class Trace(Mapping[str, Traced]):
    """What `trace` saw: entries by name, in the order in which forward first uses them.

    Attributes
    ----------
    loss : nats a token; None without targets.
    tokens, targets : as they were given; targets None where none were.
    config, ops, dtype : of the model.
    backward_order : the names of what has a gradient, in the order in which it is complete.
    diagram : the operations, in forward order (inspection/diagram.py).
    """

    def __init__(
        self,
        model: GPT,
        tokens: Array,
        targets: Array | None,
        loss: float | None,
        entries: Mapping[str, Traced],
        diagram: list[Node],
        sources: Sources,
        parameter_grads: Mapping[str, Array],
    ) -> None:
        self.tokens, self.loss = np.array(tokens), loss
        self.targets = None if targets is None else np.array(targets)
        self.config, self.ops, self.dtype = model.config, model.ops_name, model.dtype
        self.diagram = diagram
        self.backward_order = [
            name for name in backward_order(diagram) if loss is not None and name in entries
        ]
        self._entries, self._sources = entries, sources
        self._parameter_grads = list(parameter_grads.values())

    def __getitem__(self, name: str) -> Traced:
        try:
            return self._entries[name]
        except KeyError:
            if name in all_shapes(self.config, 1, 1):
                hint = "it is not kept: name it, or a pattern, in trace(..., keep=)"
            else:
                hint = did_you_mean(name, self._entries)
            raise KeyError(f"{name!r}: {hint}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def grad_norm(self) -> float:
        """The norm of the gradient of all parameters together, kept or not; NaN without loss."""
        if self.loss is None:
            return math.nan
        squares = (float(np.square(g, dtype=np.float64).sum()) for g in self._parameter_grads)
        return math.sqrt(sum(squares))

    def token_norms(self, name: str) -> Array:
        """The norm of each token's gradient, (B, T), float64.

        Of an activation: of the gradient of its row, over all heads. Of a parameter: of what the
        token contributes to its gradient through the activations at its own position.

        Raises
        ------
        InputError : it has no gradient, or what this is computed from is not kept.
        """
        grad = self._grad_of(name)
        if self[name].kind == "parameter":
            return norms.norms_of_tokens(self._factors(name))
        squares = np.square(grad, dtype=np.float64)
        others = (2,) if grad.ndim == 3 else (1, 3) if grad.ndim == 4 else ()
        return np.sqrt(squares.sum(axis=others))

    def example_norms(self, name: str) -> Array:
        """The norm of each sequence's part of the gradient, (B,), float64 (norms.py).

        Raises
        ------
        InputError : it has no gradient, or what this is computed from is not kept.
        """
        grad = self._grad_of(name)
        if self[name].kind == "parameter":
            return norms.norms_of_sequences(self._factors(name))
        return np.sqrt(np.square(grad, dtype=np.float64).sum(axis=tuple(range(1, grad.ndim))))

    def _grad_of(self, name: str) -> Array:
        grad = self[name].grad
        if grad is None:
            why = "the trace has no targets" if self.loss is None else "no layer computes one"
            raise InputError(f"{name} has no gradient: {why}")
        return grad

    def _factors(self, name: str) -> norms.Factors:
        def kept(looked_up: Callable[[str], Array | None], wanted: str) -> Array:
            try:
                found = looked_up(wanted)
            except KeyError:
                found = None
            if found is None:
                raise InputError(f"the norms of {name} need {wanted}: name it in trace(..., keep=)")
            return found

        return norms.factors(
            self.diagram,
            name,
            self.tokens,
            value=lambda wanted: kept(self._sources.value, wanted),
            grad=lambda wanted: kept(self._sources.grad, wanted),
        )

    def __repr__(self) -> str:
        loss = "no loss" if self.loss is None else f"loss {self.loss:.4f}"
        return f"Trace({len(self)} arrays of {self.tokens.shape} tokens, {loss})"


def trace(
    model: GPT,
    tokens: Array,
    targets: Array | None = None,
    *,
    keep: tuple[str, ...] | str = ("*",),
) -> Trace:
    """Every named activation and parameter of one pass, with its gradient and its origin.

    Parameters
    ----------
    tokens, targets : integers (B, T), as for `model.forward`. Without targets there is no loss and
        no gradient.
    keep : patterns, as a shell matches files, of the names to keep: activations, parameters, and
        what inspection/diagram.py names besides. The others share buffers and are gone.

    Raises
    ------
    InputError : a pattern that matches nothing; tokens or targets that cannot be used.
    """
    diagram = nodes(model.config)
    shapes = all_shapes(model.config, *_two(np.shape(tokens)))
    without = () if targets is not None else ("losses",)
    names = [name for name in forward_order(diagram) if name not in without]
    wanted = matching((keep,) if isinstance(keep, str) else tuple(keep), names)
    kept = _stored(diagram, model.config, wanted)

    twin = twin_of(model, kept)
    unknown = np.full(np.shape(tokens), IGNORED) if targets is None else targets
    loss = twin.forward(tokens, unknown)
    grads: dict[str, Array] = {}
    values = dict(twin.activations) | dict(model.params)
    if targets is not None:
        twin.backward()
        grads = dict(twin.activation_grads) | dict(twin.grads)
    sources = Sources(diagram, model.config.n_head, values, grads)
    steps = _Steps(diagram, sources, model.ops_name, with_backward=targets is not None)
    entries = {
        name: Traced(
            name,
            _kind(name, model.params),
            shapes[name],
            sources.is_recomputed(name),
            steps.forward.get(name, ()),
            steps.backward.get(name, ()),
            sources,
        )
        for name in names
        if name in wanted
    }
    loss = None if targets is None else loss
    return Trace(model, tokens, targets, loss, entries, diagram, sources, twin.grads)


def matching(patterns: tuple[str, ...], names: list[str]) -> set[str]:
    """Those of `names` that any of the patterns matches.

    Raises
    ------
    InputError : a pattern matches nothing.
    """
    matched: set[str] = set()
    for pattern in patterns:
        found = fnmatch.filter(names, pattern)
        if not found:
            raise InputError(f"keep={pattern!r} matches nothing: {did_you_mean(pattern, names)}")
        matched.update(found)
    return matched


def _two(shape: Shape) -> tuple[int, int]:
    """The batch and the length; what is not (B, T) is refused by `forward`, with its reason."""
    return (shape[0], shape[1]) if len(shape) == 2 else (1, 1)


def _stored(diagram: list[Node], config: GPTConfig, wanted: set[str]) -> tuple[str, ...]:
    """The activations that the model has to keep so that everything wanted can be had."""
    sources = Sources(diagram, config.n_head, {}, {})
    needed = set().union(*(sources.needs(name) for name in wanted))
    return tuple(name for name in activation_shapes(config, 1, 1) if name in needed)


def _kind(name: str, params: NamedArrays) -> str:
    if name in params:
        return "parameter"
    return "statistic" if name.split(".")[-1] in ("mean", "rstd", "lse") else "activation"


class _Steps:
    """How every array comes about, forward and backward, by name."""

    def __init__(
        self, diagram: list[Node], sources: Sources, ops: str, *, with_backward: bool
    ) -> None:
        self._sources, self._ops = sources, ops
        self.forward: dict[str, tuple[Step, ...]] = {}
        self.backward: dict[str, tuple[Step, ...]] = {}
        for node in diagram:
            for argument in node.written:
                self.forward[node.arrays[argument]] = (self._step(node, "forward", argument),)
            for argument in node.read if with_backward else []:
                # The last reader is the first to write its term.
                step = self._step(node, "backward", argument)
                name = node.arrays[argument]
                self.backward[name] = (step, *self.backward.get(name, ()))

    def _step(self, node: Node, direction: str, argument: str) -> Step:
        name, operation = node.arrays[argument], node.operation
        equations = operation.forward if direction == "forward" else operation.backward
        again = self._sources.function(name, gradient=direction == "backward")
        return Step(
            equations[argument],
            f"gpt_numpy.reference.{operation.derivation}",
            place_of(RECOMPUTED, again)
            if again
            else operation.function(self._ops, direction, argument),
            MappingProxyType(node.arrays),
        )
