"""The optimizer of a model: AdamW over all its parameters, with gradient clipping.

The update of one tensor is derived in `reference/adamw.py`. With several processes each updates its
own segment of the parameters and holds the moments of that alone (parallel/). Muon, which updates
the matrices inside the blocks in its own way, is in `muon.py`.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from gpt_numpy.base.arrays import Array, NamedArrays, Shape
from gpt_numpy.base.checks import instance, real, shown
from gpt_numpy.base.errors import InputError, NotFiniteError
from gpt_numpy.base.guarded import Guarded
from gpt_numpy.model.base_model import Model
from gpt_numpy.model.stage import ModelConfig
from gpt_numpy.model.stages import parameter_shapes
from gpt_numpy.parallel.segments import pieces_of
from gpt_numpy.parallel.tree_sum import sum_in_order
from gpt_numpy.parallel.world import ONE, World
from gpt_numpy.reference.adamw import AdamWSettings, Stretch, adamw_update

CLIP_EPS = 1e-6  # as in PyTorch's clip_grad_norm_


class AdamW(Guarded):
    """AdamW on all parameters of a model, with weight decay for tensors of two or more dimensions.

    Parameters
    ----------
    model : its `params` are updated in place from its `grads`.
    learning_rate : for the next step; set the attribute to change it.
    betas : decay rates of the running mean and the running mean square, each in [0, 1).
    weight_decay : decoupled: a step shrinks a weight by learning_rate * weight_decay of itself.
    grad_clip : largest norm of the gradient over all parameters; 0 turns clipping off.
    eps : added to the square root of the running mean square.
    world : the processes that train the model together; by default this one alone.

    Attributes
    ----------
    m, v : `NamedArrays`, running mean and running mean square, by the parameters' names; with
        several processes, those of the elements that this one updates, as vectors.
    steps : number of steps taken.

    Raises
    ------
    InputError : a value out of range.
    """

    KIND = "adamw"  # of TrainConfig.optimizer
    DIVIDED = "adamw."  # kinds of state of which a process has pieces, not whole arrays
    SETTINGS: ClassVar[tuple[str, ...]] = (
        "learning_rate",
        "betas",
        "weight_decay",
        "grad_clip",
        "eps",
    )
    CHANGEABLE = (*SETTINGS, "steps")
    INSTEAD = {
        "m": "write into its arrays, optimizer.m[name][...] = values",
        "v": "write into its arrays, optimizer.v[name][...] = values",
        "model": "make an optimizer for the other model, AdamW(model)",
        "lr": "use optimizer.learning_rate",
    }

    def __init__(
        self,
        model: Model,
        *,
        learning_rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.1,
        grad_clip: float = 1.0,
        eps: float = 1e-8,
        world: World = ONE,
    ) -> None:
        instance("model", model, Model, "a GPT or a Transformer")
        if model.dtype.kind != "f":
            raise InputError(
                f"a model of dtype {model.dtype} cannot be trained: use float32 or float64"
            )
        self.model = model
        self.learning_rate = learning_rate
        self.betas = betas
        self.weight_decay = weight_decay
        self.grad_clip = grad_clip
        self.eps = eps
        self._checked: dict[str, Any] = {}  # by name, values that were found right
        self._check_settings()
        self.steps = 0
        self.world = world
        self._segment = world.segment(model.params.flat.size)
        shapes = self.own_shapes()
        self._state = {kind: _zeros(shapes[kind], model) for kind in shapes}
        self.m, self.v = self._state["adamw.m"], self._state["adamw.v"]
        stretches = _stretches(model.params, self.m, self._segment[0])
        self._stretches = np.array(stretches, np.int64).reshape(-1, 4)
        self._begin()
        self._complete = True

    def _begin(self) -> None:
        """For a subclass: set what it needs in addition."""

    @classmethod
    def state_shapes(cls, config: ModelConfig) -> dict[str, dict[str, Shape]]:
        """The shapes of what is kept from step to step, by kind and by the parameters' names."""
        shapes = parameter_shapes(config)
        return {"adamw.m": shapes, "adamw.v": shapes}

    def own_shapes(self) -> dict[str, dict[str, Shape]]:
        """The part of `state_shapes` that this process keeps."""
        shapes = self.state_shapes(self.model.config)
        if self.world.size == 1:
            return shapes
        pieces = pieces_of(self.model.params, *self._segment)
        own: dict[str, Shape] = {
            name: (stop - start,)
            for name, (start, stop) in pieces.items()
            if name in shapes["adamw.m"]
        }
        return shapes | {"adamw.m": own, "adamw.v": own}

    def divided(self, world: World) -> "AdamW":
        """The same optimizer for several processes: each keeps its part of the state."""
        mine = type(self)(self.model, world=world)
        for name in (*self.SETTINGS, "steps"):
            setattr(mine, name, getattr(self, name))
        pieces = pieces_of(self.model.params, *mine._segment)
        for kind, arrays in mine._state.items():
            for name, array in arrays.items():
                whole = self._state[kind][name]
                if kind.startswith(self.DIVIDED):
                    start, stop = pieces[name]
                    begin = self.model.params.starts[name]
                    whole = whole.reshape(-1)[start - begin : stop - begin]
                array[...] = whole
        return mine

    def whole_state(self) -> Iterator[tuple[str, Array | None]]:
        """Names, as adamw.m.wte.weight, and arrays of the state of the whole model, for process 0.

        All processes must take part; the others get None.
        """
        params, nothing = self.model.params, np.empty(0, self.model.dtype)
        for kind, shapes in self.state_shapes(self.model.config).items():
            for name in shapes:
                piece = self._state[kind].get(name, nothing)
                if self.world.size > 1:
                    whole = np.empty_like(params[name]) if self.world.first else None
                    owner = self._owner(kind, name)
                    if owner is None:
                        start = params.starts[name]
                        place = start, start + params[name].size
                        self.world.collect(piece, place, params.flat.size, whole)
                    else:
                        self.world.send_first(piece, owner, whole)
                    yield f"{kind}.{name}", whole
                else:
                    yield f"{kind}.{name}", piece

    def _owner(self, kind: str, name: str) -> int | None:
        """The process that holds the whole of an array of the state; None: it is divided."""
        return None

    def summed_grads(self) -> Iterator[tuple[str, Array]]:
        """Of the last step's gradient over all processes, what this process added up."""
        grads = self.model.grads
        for name, (start, stop) in pieces_of(grads, *self._segment).items():
            yield name, grads.flat[start:stop]

    def state(self) -> Mapping[str, NamedArrays]:
        """What is kept from step to step: the arrays of `state_shapes`."""
        return self._state

    def _check_settings(self) -> None:
        """Raise `InputError` if a setting is invalid: the attributes are public.

        A setting that is still what it was at the last check is right.
        """
        for name in self.SETTINGS:
            value = getattr(self, name)
            if name not in self._checked or value is not self._checked[name]:
                self._checked[name] = self._checked_setting(name, value)
                setattr(self, name, self._checked[name])

    def _checked_setting(self, name: str, value: Any) -> Any:
        """The value of a setting in its own type, or `InputError`."""
        if name == "eps":
            return real(name, value, lambda x: x > 0, "a finite number greater than 0")
        if name != "betas":
            return real(name, value, lambda x: x >= 0, "a finite number of at least 0")
        if not isinstance(value, tuple | list) or len(value) != 2:
            raise InputError(f"betas={shown(value)}: must be two numbers, such as (0.9, 0.99)")
        return tuple(
            real("each of betas", beta, lambda x: 0 <= x < 1, "at least 0 and less than 1")
            for beta in value
        )

    def grad_norm(self) -> float:
        """The norm of the gradient over all parameters; with several processes, after a step."""
        start, stop = self._segment
        sums = self.model.ops.squares_of_chunks(self.model.grads.flat[start:stop])
        return math.sqrt(sum_in_order(self.world.numbers(sums)))

    def clip_factor(self, norm: float) -> float:
        """What gradients of this norm are multiplied by."""
        return min(1.0, self.grad_clip / (norm + CLIP_EPS)) if self.grad_clip else 1.0

    def step(self) -> float:
        """Update every parameter once; return the norm of the gradient before clipping.

        With several processes, their gradients are added up first, and all get all parameters.

        Raises
        ------
        NotFiniteError : the gradient is not finite; no parameter has changed.
        InputError : a setting was changed to an invalid value; no parameter has changed.
        """
        self._check_settings()
        self.world.add_up(self.model.grads.flat)
        norm = self.grad_norm()
        if not math.isfinite(norm):
            bad = [name for name, g in self.model.grads.items() if not np.isfinite(g).all()]
            raise NotFiniteError(
                f"the gradient of {[*bad, 'the norm'][0]} is not finite: "
                "lower learning_rate or use grad_clip"
            )
        self.steps += 1
        self._update(self.clip_factor(norm))
        return norm

    def _update(self, clip: float) -> None:
        self._adamw(clip)
        self.world.hand_on(self.model.params.flat)

    def _adamw(self, clip: float) -> None:
        self.model.ops.adamw_updates(
            self.model.params.flat,
            self.model.grads.flat,
            self.m.flat,
            self.v.flat,
            self._stretches,
            step=self.steps,
            grad_scale=clip,
            settings=self._adamw_settings(),
        )

    def _adamw_settings(self) -> AdamWSettings:
        return AdamWSettings(self.learning_rate, *self.betas, self.eps, self.weight_decay)

    def predicted(self, name: str, grad: Array, clip: float) -> Array:
        """What the next step would make of a parameter; nothing is changed."""
        new = self.model.params[name].copy()
        settings = self._adamw_settings()._replace(weight_decay=self._decay(name))
        moments = self.m[name].copy(), self.v[name].copy()
        adamw_update(new, grad, *moments, step=self.steps + 1, grad_scale=clip, settings=settings)
        return new

    def last_change(self, name: str) -> tuple[float, float]:
        """Squared norms of the last change of a parameter, and of the parameter before it.

        The change is recomputed from the moments, which saves a copy of the parameters:

            new = old - lr (u + decay old),   u = mhat / (sqrt(vhat) + eps)   (reference/adamw.py)
            so  old = (new + lr u) / (1 - lr decay)
        """
        if name not in self.m:  # another process has it
            return 0.0, 0.0
        beta1, beta2 = self.betas
        change = self.m[name] * (self.learning_rate / (1 - beta1**self.steps))
        spread = self.v[name] * (1 / (1 - beta2**self.steps))
        np.sqrt(spread, out=spread)
        spread += self.eps
        change /= spread
        new = self.model.params[name]
        if self.world.size > 1:
            start, stop = pieces_of(self.model.params, *self._segment)[name]
            new = self.model.params.flat[start:stop]
        old = new + change
        old /= 1 - self.learning_rate * self._decay(name)
        change = new - old
        return float(np.vdot(change, change)), float(np.vdot(old, old))

    def _decay(self, name: str) -> float:
        """Biases and norms have no weight decay."""
        return self.weight_decay if self.model.params[name].ndim >= 2 else 0.0


def _zeros(shapes: Mapping[str, Shape], model: Model) -> NamedArrays:
    arrays = NamedArrays(shapes, model.dtype)
    arrays.flat[...] = 0
    return arrays


def _stretches(params: NamedArrays, moments: NamedArrays, first: int) -> list[Stretch]:
    """Stretches of parameters that decay alike, as long as can be.

    first : where in the flat vector of all parameters those with moments here begin.
    """
    found: list[Stretch] = []
    for name, state in moments.starts.items():
        start, decays = max(params.starts[name], first), int(params[name].ndim >= 2)
        new = Stretch(start, state, moments[name].size, decays)
        last = found[-1] if found else None
        if last and (last.start + last.size, last.decays) == (start, new.decays):
            found[-1] = last._replace(size=last.size + new.size)
        else:
            found.append(new)
    return found
