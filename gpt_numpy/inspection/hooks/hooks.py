"""Replace an activation by name, and see the effect on the loss and the gradients.

    gn.ablate(model, tokens, targets, "h.1.attn.heads", head=2).change      # of the loss

    with gn.replaced(model, {"h.1.mlp.act": array, "h.0.attn.out": (forward, backward)}):
        loss = model.forward(tokens, targets)
        model.backward()                                                    # exact gradients

A layer with a replacement runs in the reference, with a tap (reference/tap.py); all others run as
usual. `model.activations` then holds the replacement, and `model.activation_grads` the gradient of
the activation that it replaced. A trace taken inside `with` has these numbers, too; the functions
that it names are those of a pass without replacements.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from gpt_numpy.base.arrays import Array, Shape, refuse_mask
from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.inspection.trace.diagram import all_shapes, parts
from gpt_numpy.model.base_model import Model, twin_of
from gpt_numpy.model.calls import Call
from gpt_numpy.model.stage import ModelConfig
from gpt_numpy.model.stages import activations, stages_of

AnyModel = TypeVar("AnyModel", bound=Model)
Function = Callable[[Array], Array]
Replacement = Array | float | tuple[Function, Function]


@dataclass(frozen=True)
class Effect:
    """The effect of an ablation: the loss before and after, nats a token, and the gradients.

    `grad_change` is, for each parameter, the norm of the change of its gradient divided by the norm
    of the gradient; infinite if that was zero.
    """

    before: float
    after: float
    grad_change: dict[str, float]

    @property
    def change(self) -> float:
        """The increase of the loss."""
        return self.after - self.before


@contextlib.contextmanager
def replaced(model: AnyModel, replacements: Mapping[str, Replacement]) -> Iterator[AnyModel]:
    """Within `with`, replace activations in the passes of the model.

    Parameters
    ----------
    replacements : for each activation, by name, one of
        an array or a number, broadcast to its shape: no gradient passes through it;
        a pair `(forward, backward)`: forward(x) replaces x, and backward(dout) is the gradient of
        x. Forward may be called twice in a step and must return the same both times.

    Both passes of a step belong within the same `with`. It may be nested.

    Raises
    ------
    InputError : a name that cannot be replaced; a value that does not fit.
    """
    for name, value in replacements.items():
        _check_name(name, model.config)
        refuse_mask(name, value)
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
    model: AnyModel,
    tokens: Array,
    targets: Array,
    name: str,
    *,
    head: int | None = None,
    position: int | None = None,
    neuron: int | None = None,
    value: float = 0.0,
) -> Effect:
    """The effect on loss and gradients of setting an activation, or a part of it, to `value`.

    The model's own gradients and activations stay as they are.

    Parameters
    ----------
    name : of an activation; heads are in `h.{i}.attn.heads`, `query`, `key` and `value`, and of a
        Transformer in `decoder.h.{i}.cross.heads` and so on, too.
    head, position, neuron : the number of a part; without them the whole is set. A neuron is an
        index of the last dimension, such as a channel of the MLP's `h.{i}.mlp.act`.

    Raises
    ------
    InputError : an unknown name or part; tokens or targets that cannot be used.
    """
    twin = twin_of(model, ())
    before = twin.forward(tokens, targets)
    twin.backward()
    grads = {parameter: grad.copy() for parameter, grad in twin.grads.items()}
    _check_name(name, model.config)
    shape = all_shapes(model.config, *model.sizes_of(tokens, targets))[name]
    where = _part_of(name, shape, head=head, position=position, neuron=neuron)

    pair = (lambda x: np.where(where, value, x), lambda dout: np.where(where, 0, dout))
    with replaced(twin, {name: pair}):
        after = twin.forward(tokens, targets)
        twin.backward()
    changes = {parameter: _change(grad, twin.grads[parameter]) for parameter, grad in grads.items()}
    return Effect(before, after, changes)


def replaceable(config: ModelConfig) -> list[str]:
    """The names of all activations that `replaced` and `ablate` take."""
    kept = [n for n, array in activations(config).items() if array.grad and n != "losses"]
    taps = [name for stage in stages_of(config) for name in stage.taps.values()]
    return [*kept, *taps, *parts(config)]


def _check_name(name: str, config: ModelConfig) -> None:
    names = replaceable(config)
    if name not in names:
        raise InputError(f"{name!r} cannot be replaced: {did_you_mean(name, names)}")


def _part_of(name: str, shape: Shape, **wanted: int | None) -> Array:
    """True where an activation of this shape is to be replaced."""
    axes = ("position", "neuron") if len(shape) == 3 else ("head", "position", "neuron")
    index: list[Any] = [slice(None)] * len(shape)
    for kind, number in wanted.items():
        if number is None:
            continue
        if kind not in axes:
            raise InputError(
                f"{kind}={number}: {name} has no heads; h.0.attn.heads, for example, has"
            )
        axis = 1 + axes.index(kind)
        if not 0 <= number < shape[axis]:
            raise InputError(
                f"{kind}={number}: {name} has {shape[axis]} of them, from 0 to {shape[axis] - 1}"
            )
        index[axis] = number
    where = np.zeros(shape, dtype=bool)
    where[tuple(index)] = True
    return where


def _change(old: Array, new: Array) -> float:
    size, difference = float(np.linalg.norm(old)), float(np.linalg.norm(new - old))
    return difference / size if size else (math.inf if difference else 0.0)


class Replacements(dict[str, Callable[[Call], None]]):
    """Overrides of a model's calls (base_model.py): the stages in which something is replaced."""

    def __init__(self, config: ModelConfig, listed: list[tuple[str, Replacement]]) -> None:
        self.listed = listed
        self._parts = parts(config)
        self._logits: dict[Shape, Array] = {}  # of all positions, if the model keeps only some
        wanted = {self._whole(name) for name, _ in listed}
        for stage in stages_of(config):
            inside = {array.name for array in stage.activations} | set(stage.taps.values())
            if inside & wanted:
                self[stage.name] = self._run

    def _run(self, call: Call) -> None:
        """Compute the call by the reference, with the replacements."""
        if "targets" in call.kwargs:
            call = self._with_all_logits(call)

        def tap(argument: str, array: Array) -> None:
            if name := call.stage.array_name(argument):
                self._replace(name, array)
            elif name := call.stage.array_name(argument.removeprefix("d")):
                self._replace(name, array, gradient=True)

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

    def _replace(self, name: str, x: Array, *, gradient: bool = False) -> None:
        """Apply in place all replacements of an array and of its parts, backward in reverse."""
        for wanted, replacement in reversed(self.listed) if gradient else self.listed:
            if self._whole(wanted) != name:
                continue
            part = self._parts[wanted].view(x) if wanted in self._parts else x
            new: Any = 0 if gradient else replacement
            if isinstance(replacement, tuple):
                forward, backward = replacement
                new = backward(part) if gradient else forward(part)
            try:
                part[...] = np.broadcast_to(new, part.shape)
            except ValueError:
                what = f"the gradient of {name}" if gradient else name
                raise InputError(
                    f"what replaces {what} has shape {np.shape(new)}: it must fit {part.shape}"
                ) from None

    def _whole(self, name: str) -> str:
        return self._parts[name].whole if name in self._parts else name
