"""One forward and backward pass with everything kept: every array, its gradient, its origin.

    trace = gn.trace(model, tokens, targets)
    entry = trace["h.0.attn.out"]
    entry.value, entry.grad                  # arrays
    entry.forward[0].equation                # out[...] = merge_heads(w @ V)
    entry.backward[0].equation               # dx = dout @ weight.T
    entry.backward[0].function               # gpt_numpy.kernels.linear.linear_backward, line 49

The model's own layers compute the pass, in separate buffers: the model's activations and gradients
stay as they are. There is no dropout, as in evaluation.
"""

import fnmatch
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from gpt_numpy.base.arrays import Array, Shape
from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.base.html_table import html_lines, html_table
from gpt_numpy.inspection.trace import norms
from gpt_numpy.inspection.trace.diagram import Node, all_shapes, backward_order, forward_order
from gpt_numpy.inspection.trace.lookup import Sources
from gpt_numpy.inspection.trace.operation import Place, place_of
from gpt_numpy.model.base_model import twin_of
from gpt_numpy.model.gpt import GPT
from gpt_numpy.model.stages import activations
from gpt_numpy.reference.adamw import sum_of_squares
from gpt_numpy.reference.cross_entropy import IGNORED


@dataclass(frozen=True)
class Step:
    """How one array, or one term of a gradient, is computed.

    `equation` is quoted from the file `derivation`, which derives it; `arrays` maps each letter of
    it to an array of the model (`weight` to "h.0.attn.c_attn.weight"; dx is the gradient of the
    array of x); `function` computed the numbers.
    """

    equation: str
    derivation: str
    function: Place
    arrays: Mapping[str, str]


@dataclass(frozen=True)
class Traced:
    """One named array of a pass, with its gradient and the origin of both.

    `kind` is "activation", "statistic" or "parameter"; `forward` is empty for parameters, and
    `backward` for arrays without a gradient. A gradient with several terms has a step for each, in
    the order of the computation. `recomputed`: no layer stores it; the reference recomputes it from
    what is stored, at each access to `value` or `grad`.
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
        """The array itself; for a parameter the model's own, not a copy."""
        return self._sources.value(self.name)

    @property
    def grad(self) -> Array | None:
        """The gradient of the loss with respect to it, or None."""
        return self._sources.grad(self.name)


class Trace(Mapping[str, Traced]):
    """The result of `trace`: entries by name, in the order in which forward first uses them.

    Attributes
    ----------
    loss : nats a token; None without targets.
    tokens, targets : as given; targets may be None.
    config, ops, dtype : of the model.
    backward_order : the names of what has a gradient, in the order in which it is complete.
    diagram : the operations, in forward order (inspection/trace/diagram.py).
    """

    def __init__(
        self,
        model: GPT,
        tokens: Array,
        targets: Array | None,
        loss: float | None,
        entries: Mapping[str, Traced],
        sources: Sources,
    ) -> None:
        self.tokens, self.loss = np.array(tokens), loss
        self.targets = None if targets is None else np.array(targets)
        self.config, self.ops, self.dtype = model.config, model.ops_name, model.dtype
        self.diagram = sources.diagram
        order = backward_order(self.diagram) if loss is not None else []
        self.backward_order = [name for name in order if name in entries]
        self._entries, self._sources, self._grads = entries, sources, model.grads

    def __getitem__(self, name: str) -> Traced:
        if name in self._entries:
            return self._entries[name]
        hint = "it is not kept: name it, or a pattern, in trace(..., keep=)"
        if name not in all_shapes(self.config, 1, 1):
            hint = did_you_mean(name, self._entries)
        raise KeyError(f"{name!r}: {hint}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def grad_norm(self) -> float:
        """The norm of the gradient of all parameters together, kept or not; NaN without loss."""
        return math.nan if self.loss is None else math.sqrt(sum_of_squares(self._grads.flat))

    def token_norms(self, name: str) -> Array:
        """The norm of each token's gradient, (B, T), float64.

        For an activation: of the gradient at its position, over all heads. For a parameter: of the
        token's contribution to its gradient, through the activations at its own position.

        Raises
        ------
        InputError : it has no gradient, or an array that this needs is not kept.
        """
        grad = self._grad_of(name)
        if self[name].kind == "parameter":
            return norms.norms_of_tokens(norms.factors(name, self.tokens, self._sources))
        others = (1, 3) if grad.ndim == 4 else tuple(range(2, grad.ndim))
        return np.sqrt(np.square(grad, dtype=np.float64).sum(axis=others))

    def example_norms(self, name: str) -> Array:
        """The norm of each sequence's part of the gradient, (B,), float64 (norms.py).

        Raises
        ------
        InputError : it has no gradient, or an array that this needs is not kept.
        """
        grad = self._grad_of(name)
        if self[name].kind == "parameter":
            return norms.norms_of_sequences(norms.factors(name, self.tokens, self._sources))
        return np.sqrt(np.square(grad, dtype=np.float64).sum(axis=tuple(range(1, grad.ndim))))

    def _grad_of(self, name: str) -> Array:
        grad = self[name].grad
        if grad is None:
            why = "the trace has no targets" if self.loss is None else "no layer computes one"
            raise InputError(f"{name} has no gradient: {why}")
        return grad

    def __repr__(self) -> str:
        loss = "no loss" if self.loss is None else f"loss {self.loss:.4f}"
        return f"Trace({len(self)} arrays of {self.tokens.shape} tokens, {loss})"

    def _repr_html_(self) -> str:
        """Every array with its norm, that of its gradient, and its equation, for a notebook."""
        header = ("array", "shape", "norm", "norm of the gradient", "forward")
        rows = []
        for name, entry in self.items():
            grad = entry.grad
            equations = dict.fromkeys(step.equation for step in entry.forward)
            rows.append(
                (
                    name,
                    " × ".join(map(str, entry.shape)),
                    f"{_norm(entry.value):.3g}",
                    "" if grad is None else f"{_norm(grad):.3g}",
                    "; ".join(equations) or "parameter",
                )
            )
        return html_lines([repr(self)]) + html_table(header, rows, left=(0, 4))


def _norm(array: Array) -> float:
    return float(np.linalg.norm(array.astype(np.float64).reshape(-1)))


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
        the additional names of inspection/trace/diagram.py. The others share buffers and are lost.

    Raises
    ------
    InputError : a pattern that matches nothing; tokens or targets that cannot be used.
    """
    if not isinstance(model, GPT):
        raise InputError(
            f"trace takes a GPT, not a {type(model).__name__}: use "
            'Transformer(..., keep=("*",)) and model.activations'
        )
    sources = Sources(model.config)
    names = forward_order(sources.diagram)
    if targets is None:
        names.remove("losses")
    wanted = matching((keep,) if isinstance(keep, str) else tuple(keep), names)
    needed = set().union(*map(sources.needs, wanted))
    stored = activations(model.config)
    twin = twin_of(model, tuple(name for name in stored if name in needed))
    unknown = np.full(np.shape(tokens), IGNORED) if targets is None else targets
    loss = twin.forward(tokens, unknown)
    sources.stored = {**twin.activations, **model.params}
    if targets is None:
        loss = None
    else:
        twin.backward()
        sources.stored_grads = {**twin.activation_grads, **twin.grads}

    shapes = all_shapes(model.config, *np.shape(tokens))
    steps = _steps(sources, model.ops_name)
    entries = {}
    for name in names:
        if name in wanted:
            statistic = name in stored and not stored[name].grad
            kind = "statistic" if statistic else "activation"
            entries[name] = Traced(
                name,
                "parameter" if name in model.params else kind,
                shapes[name],
                name in sources.values,
                steps.get((name, "forward"), ()),
                () if targets is None else steps.get((name, "backward"), ()),
                sources,
            )
    return Trace(twin, tokens, targets, loss, entries, sources)


def matching(patterns: tuple[str, ...], names: list[str]) -> set[str]:
    """Those of `names` that match any of the patterns.

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


def _steps(sources: Sources, ops: str) -> dict[tuple[str, str], tuple[Step, ...]]:
    """How each array and each gradient is computed, by name and direction."""
    steps: dict[tuple[str, str], tuple[Step, ...]] = {}
    for node in sources.diagram:
        for direction, letters in (("forward", node.written), ("backward", node.read)):
            for letter in letters:
                key = node.arrays[letter], direction
                # The last reader of an array is the first to compute its term of the gradient.
                steps[key] = (_step(node, letter, direction, sources, ops), *steps.get(key, ()))
    return steps


def _step(node: Node, letter: str, direction: str, sources: Sources, ops: str) -> Step:
    operation, forward = node.operation, direction == "forward"
    again = (sources.values if forward else sources.grads).get(node.arrays[letter])
    return Step(
        (operation.forward if forward else operation.backward)[letter],
        f"gpt_numpy.reference.{operation.derivation}",
        place_of(again[0]) if again else operation.function(ops, direction, letter),
        MappingProxyType(node.arrays),
    )
