"""Replace an activation by name, and see what the loss and the gradients do.

    gn.ablate(model, tokens, targets, "h.1.attn.heads", head=2).change      # of the loss

    with gn.replaced(model, {"h.1.mlp.act": array, "h.0.attn.out": (forward, backward)}):
        loss = model.forward(tokens, targets)
        model.backward()                                                    # exact

A layer in which something is replaced runs in the reference, with a tap (reference/tap.py); all
others run as always. `model.activations` then holds what the model went on with, and
`model.activation_grads` the gradient of what was there before. A trace taken inside `with` has
these numbers, too; it names the functions of a pass in which nothing is replaced.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array, Shape
from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.inspection.trace.diagram import all_shapes, parts
from gpt_numpy.model.calls import Call
from gpt_numpy.model.gpt import GPT, twin_of
from gpt_numpy.model.stages import activations, gpt

Function = Callable[[Array], Array]
Replacement = Array | float | tuple[Function, Function]


@dataclass(frozen=True)
class Effect:
    """What an ablation does: the loss without and with it, nats a token, and the gradients.

    `grad_change` is, for each parameter, the norm of its gradient's change over the norm of the
    gradient itself; infinite where that was zero.
    """

    before: float
    after: float
    grad_change: dict[str, float]

    @property
    def change(self) -> float:
        """How much the loss rises."""
        return self.after - self.before


@contextlib.contextmanager
def replaced(model: GPT, replacements: Mapping[str, Replacement]) -> Iterator[GPT]:
    """Within `with`, the model's passes go on with other activations than they computed.

    Parameters
    ----------
    replacements : of each activation, by name, one of
        an array or a number, broadcast to its shape: put in its place; no gradient passes;
        a pair `(forward, backward)`: forward(x) is what replaces x, and backward(dout) the gradient
        of x. Forward may be called twice in a step and has to give the same both times.

    Both passes of a step belong within the same `with`. It may be nested.

    Raises
    ------
    InputError : a name that cannot be replaced; a value that does not fit.
    """
    names = replaceable(model.config)
    for name, value in replacements.items():
        if name not in names:
            raise InputError(f"{name!r} cannot be replaced: {did_you_mean(name, names)}")
        pair = isinstance(value, tuple) and len(value) == 2 and all(map(callable, value))
        if not pair and np.asarray(value).dtype.kind not in "biufc":
            raise InputError(
                f"{name}: replace it by an array, a number, or a pair (forward, backward) of "
                f"functions, not by {type(value).__name__}"
            )
    before = model.overrides
    outer = before.listed if isinstance(before, Replacements) else []
    model.overrides = Replacements(model.config, [*outer, *replacements.items()])
    try:
        yield model
    finally:
        model.overrides = before


def ablate(
    model: GPT,
    tokens: Array,
    targets: Array,
    name: str,
    *,
    head: int | None = None,
    position: int | None = None,
    neuron: int | None = None,
    value: float = 0.0,
) -> Effect:
    """What the loss and the gradients do when an activation, or a part of it, is set to `value`.

    The model's own gradients and activations stay as they are.

    Parameters
    ----------
    name : of an activation; heads are in `h.{i}.attn.heads`, `query`, `key` and `value`.
    head, position, neuron : which part, by number; the whole without them. A neuron is one of the
        last dimension: a channel of the MLP's `h.{i}.mlp.act`, say.

    Raises
    ------
    InputError : a name or a part that is not there; tokens or targets that cannot be used.
    """
    twin = twin_of(model, ())
    before = twin.forward(tokens, targets)
    twin.backward()
    grads = twin.grads.flat.copy()
    names = replaceable(model.config)
    if name not in names:
        raise InputError(f"{name!r} cannot be replaced: {did_you_mean(name, names)}")
    B, T = np.shape(tokens)
    shape = all_shapes(model.config, B, T)[name]
    where = _part_of(name, shape, head=head, position=position, neuron=neuron)

    def forward(x: Array) -> Array:
        return np.where(where, value, x)

    def backward(dout: Array) -> Array:
        return np.where(where, 0, dout)

    with replaced(twin, {name: (forward, backward)}):
        after = twin.forward(tokens, targets)
        twin.backward()
    return Effect(before, after, _changes(twin, grads))


def replaceable(config: GPTConfig) -> list[str]:
    """The names of all activations that `replaced` and `ablate` take."""
    kept = [n for n, array in activations(config).items() if array.grad and n != "losses"]
    taps = [name for stage in gpt(config) for name in stage.taps.values()]
    return [*kept, *taps, *parts(config)]


def _part_of(name: str, shape: Shape, **wanted: int | None) -> Array:
    """True where an activation of this shape is to be replaced."""
    axes = (
        {"position": 1, "neuron": 2} if len(shape) == 3 else {"head": 1, "position": 2, "neuron": 3}
    )
    index: list[Any] = [slice(None)] * len(shape)
    for kind, number in wanted.items():
        if number is None:
            continue
        if kind not in axes:
            raise InputError(f"{kind}={number}: {name} has no heads; take h.0.attn.heads, say")
        size = shape[axes[kind]]
        if not 0 <= number < size:
            raise InputError(f"{kind}={number}: {name} has {size} of them, from 0 to {size - 1}")
        index[axes[kind]] = number
    where = np.zeros(shape, dtype=bool)
    where[tuple(index)] = True
    return where


def _changes(twin: GPT, before: Array) -> dict[str, float]:
    changes, start = {}, 0
    for name, grad in twin.grads.items():
        old = before[start : start + grad.size]
        start += grad.size
        size = float(np.linalg.norm(old))
        difference = float(np.linalg.norm(grad.reshape(-1) - old))
        changes[name] = difference / size if size else (math.inf if difference else 0.0)
    return changes


class Replacements(dict[str, Callable[[Call], None]]):
    """Overrides of a model's calls (model/gpt.py): stages in which something is replaced."""

    def __init__(self, config: GPTConfig, listed: list[tuple[str, Replacement]]) -> None:
        self.listed = listed
        self._parts = parts(config)
        self._logits: dict[Shape, Array] = {}  # of all positions, if the model keeps only some
        wanted = {self._whole(name) for name, _ in listed}
        for stage in gpt(config):
            inside = {array.name for array in stage.activations} | set(stage.taps.values())
            if inside & wanted:
                self[stage.name] = self._run

    def _run(self, call: Call) -> None:
        """The call by the reference, with the replacements put in."""
        if "targets" in call.kwargs:
            call = self._with_all_logits(call)

        def tap(argument: str, array: Array) -> None:
            if name := call.stage.array_name(argument):
                self._replace(name, array)
            elif name := call.stage.array_name(argument.removeprefix("d")):
                self._gradient(name, array)

        call.run_tapped(tap)

    def _with_all_logits(self, call: Call) -> Call:
        x, weights, kept = call.args[-3:]
        shape = (*x.shape[:2], len(weights.weight))
        if kept.logits.shape == shape:
            return call
        if shape not in self._logits:
            self._logits[shape] = np.empty(shape, x.dtype)
        logits = self._logits[shape]
        kwargs = dict(call.kwargs)
        if "dkept" in kwargs:
            kwargs["dkept"] = kwargs["dkept"]._replace(logits=logits)
        args = [*call.args[:-1], kept._replace(logits=logits)]
        return dataclasses.replace(call, args=args, kwargs=kwargs)

    def _replace(self, name: str, x: Array) -> None:
        for part, replacement in self._of(name, x, self.listed):
            new = replacement[0](part) if isinstance(replacement, tuple) else replacement
            part[...] = _fitting(new, part, name)

    def _gradient(self, name: str, dx: Array) -> None:
        for part, replacement in self._of(name, dx, self.listed[::-1]):
            new = replacement[1](part) if isinstance(replacement, tuple) else 0
            part[...] = _fitting(new, part, f"the gradient of {name}")

    def _of(
        self, name: str, array: Array, listed: list[tuple[str, Replacement]]
    ) -> Iterator[tuple[Array, Replacement]]:
        """The replacements of an array or of its parts, each with the view that it replaces."""
        for wanted, replacement in listed:
            if self._whole(wanted) == name:
                part = self._parts.get(wanted)
                yield part.view(array) if part else array, replacement

    def _whole(self, name: str) -> str:
        return self._parts[name].whole if name in self._parts else name


def _fitting(new: Any, part: Array, name: str) -> Array:
    new = np.asarray(new)
    try:
        return np.broadcast_to(new, part.shape)
    except ValueError:
        raise InputError(
            f"what replaces {name} has shape {new.shape}: it must fit {part.shape}"
        ) from None
