"""Replace an activation by name, and see what the loss and the gradients do.

    gn.ablate(model, tokens, targets, "h.1.attn.heads", head=2).change      # of the loss

    with gn.replaced(model, {"h.1.mlp.act": array, "h.0.attn.out": (forward, backward)}):
        loss = model.forward(tokens, targets)
        model.backward()                                                    # exact

A sublayer in which something is replaced runs in the reference, opened (opened.py); all others run
as they always do. `model.activations` then holds what the model went on with, and
`model.activation_grads` the gradient of what was there before. A trace taken inside `with` has
these numbers, too; it names the functions of a pass in which nothing is replaced.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array, Shape
from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.config.gpt import GPTConfig
from gpt_numpy.inspection.hooks import opened
from gpt_numpy.inspection.trace.diagram import all_shapes, whole_of
from gpt_numpy.model.gpt import GPT, twin_of
from gpt_numpy.model.shapes import activation_shapes
from gpt_numpy.model.wiring import WITHOUT_GRADIENT
from gpt_numpy.reference.attention import split_heads

Function = Callable[[Array], Array]
Replacement = Array | float | tuple[Function, Function]
NEVER = (*WITHOUT_GRADIENT, "losses", "scores", "probabilities", "xhat")  # a layer's own affair


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
    before = model.ops
    model.ops = Edited(before, model.config.n_head, replacements)
    try:
        yield model
    finally:
        model.ops = before


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
    shapes = all_shapes(config, 1, 1)
    beside = [name for name in shapes if name.endswith(".proj") or whole_of(name) is not None]
    names = [*activation_shapes(config, 1, 1), *beside]
    return [name for name in names if name.split(".")[-1] not in NEVER]


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


class Edited(ModuleType):
    """Layer functions that replace activations; what is not replaced is `base`'s own."""

    def __init__(
        self, base: ModuleType, n_head: int, replacements: Mapping[str, Replacement]
    ) -> None:
        super().__init__("gpt_numpy.inspection.edited")
        self._base: ModuleType
        self._all: list[tuple[str, Replacement]] = list(replacements.items())
        if isinstance(base, Edited):  # the outer ones come first
            self._all, base = base._all + self._all, base._base
        self._base, self._n_head = base, n_head
        self._names = {(whole_of(name) or (name,))[0] for name, _ in self._all}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._base, name)

    def embedding_forward(self, *arguments: Any, **named: Any) -> None:
        """As `base`'s, then replaced."""
        self._base.embedding_forward(*arguments, **named)
        self._change("")("embedding.out", named["out"])

    def embedding_backward(self, dout: Array, *arguments: Any, **named: Any) -> None:
        """The gradient of what was there before, then as `base`'s."""
        self._back("")("embedding.out", dout)
        self._base.embedding_backward(dout, *arguments, **named)

    def attention_sublayer_forward(self, **named: Any) -> None:
        """Opened, where one of its activations is replaced."""
        block = f"h.{(named['site'] - 1) // 3}."  # sites: reference/dropout.py
        if self._touches(block, "ln_1.out", "attn.qkv", "attn.out", "attn.proj", "resid_mid"):
            opened.attention_forward_with(self._change(block), SimpleNamespace(**named))
        else:
            self._base.attention_sublayer_forward(**named)

    def attention_sublayer_backward(self, **named: Any) -> None:
        """Likewise."""
        block = f"h.{(named['site'] - 1) // 3}."
        if self._touches(block, "ln_1.out", "attn.qkv", "attn.out", "attn.proj", "resid_mid"):
            change, back = self._change(block), self._back(block)
            opened.attention_backward_with(change, back, SimpleNamespace(**named))
        else:
            self._base.attention_sublayer_backward(**named)

    def mlp_sublayer_forward(self, **named: Any) -> None:
        """Opened, where one of its activations is replaced."""
        block = f"h.{(named['site'] - 3) // 3}."
        if self._touches(block, "ln_2.out", "mlp.fc", "mlp.act", "mlp.proj", "resid_post"):
            opened.mlp_forward_with(self._change(block), SimpleNamespace(**named))
        else:
            self._base.mlp_sublayer_forward(**named)

    def mlp_sublayer_backward(self, **named: Any) -> None:
        """Likewise."""
        block = f"h.{(named['site'] - 3) // 3}."
        if self._touches(block, "ln_2.out", "mlp.fc", "mlp.act", "mlp.proj", "resid_post"):
            change, back = self._change(block), self._back(block)
            opened.mlp_backward_with(change, back, SimpleNamespace(**named))
        else:
            self._base.mlp_sublayer_backward(**named)

    def head_forward(self, **named: Any) -> None:
        """Opened, where one of its activations is replaced."""
        if self._touches("", "ln_f.out", "logits"):
            a = SimpleNamespace(**named)
            opened.head_forward_with(self._change(""), a, a.out)
        else:
            self._base.head_forward(**named)

    def head_loss_forward(self, **named: Any) -> None:
        """Likewise."""
        if self._touches("", "ln_f.out", "logits"):
            opened.head_loss_forward_with(self._change(""), SimpleNamespace(**named))
        else:
            self._base.head_loss_forward(**named)

    def head_loss_backward(self, **named: Any) -> None:
        """Likewise."""
        if self._touches("", "ln_f.out", "logits"):
            change, back = self._change(""), self._back("")
            opened.head_loss_backward_with(change, back, SimpleNamespace(**named))
        else:
            self._base.head_loss_backward(**named)

    def _touches(self, block: str, *names: str) -> bool:
        return any(f"{block}{name}" in self._names for name in names)

    def _change(self, block: str) -> opened.Change:
        def change(name: str, x: Array) -> None:
            for part, replacement in self._of(f"{block}{name}", x, self._all):
                new = replacement[0](part) if isinstance(replacement, tuple) else replacement
                part[...] = _fitting(new, part, f"{block}{name}")

        return change

    def _back(self, block: str) -> opened.Change:
        def back(name: str, dx: Array) -> None:
            for part, replacement in self._of(f"{block}{name}", dx, self._all[::-1]):
                new = replacement[1](part) if isinstance(replacement, tuple) else 0
                part[...] = _fitting(new, part, f"the gradient of {block}{name}")

        return back

    def _of(
        self, name: str, array: Array, listed: list[tuple[str, Replacement]]
    ) -> Iterator[tuple[Array, Replacement]]:
        """The replacements of an array or of its parts, each with the view that it is about."""
        for wanted, replacement in listed:
            whole = whole_of(wanted)
            if wanted == name:
                yield array, replacement
            elif whole is not None and whole[0] == name:
                parts = 3 if name.endswith(".qkv") else 1
                yield split_heads(array, self._n_head, parts)[whole[1]], replacement


def _fitting(new: Any, part: Array, name: str) -> Array:
    new = np.asarray(new)
    try:
        return np.broadcast_to(new, part.shape)
    except ValueError:
        raise InputError(
            f"what replaces {name} has shape {new.shape}: it must fit {part.shape}"
        ) from None
