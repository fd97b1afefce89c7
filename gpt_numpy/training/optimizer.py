"""The optimizer of a model: AdamW over all its parameters, with gradient clipping.

The update of one tensor is derived in `reference/adamw.py`. Muon, which updates the matrices inside
the blocks in its own way, is in `muon.py`.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from gpt_numpy.base.arrays import Array, NamedArrays, Shape
from gpt_numpy.base.checks import real, shown
from gpt_numpy.base.errors import InputError, NotFiniteError
from gpt_numpy.base.guarded import Guarded
from gpt_numpy.model.base_model import Model
from gpt_numpy.model.stage import ModelConfig
from gpt_numpy.model.stages import parameter_shapes
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

    Attributes
    ----------
    m, v : `NamedArrays`, running mean and running mean square, by the parameters' names.
    steps : number of steps taken.

    Raises
    ------
    InputError : a value out of range.
    """

    KIND = "adamw"  # of TrainConfig.optimizer
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
    ) -> None:
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
        shapes = self.state_shapes(model.config)
        self._state = {kind: _zeros(shapes[kind], model) for kind in shapes}
        self.m, self.v = self._state["adamw.m"], self._state["adamw.v"]
        self._stretches = np.array(_stretches(model.params, self.m), np.int64)
        self._begin()
        self._complete = True

    def _begin(self) -> None:
        """For a subclass: set what it needs in addition."""

    @classmethod
    def state_shapes(cls, config: ModelConfig) -> dict[str, dict[str, Shape]]:
        """The shapes of what is kept from step to step, by kind and by the parameters' names."""
        shapes = parameter_shapes(config)
        return {"adamw.m": shapes, "adamw.v": shapes}

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
        """The norm of the gradient over all parameters."""
        return math.sqrt(self.model.ops.sum_of_squares(self.model.grads.flat))

    def clip_factor(self, norm: float) -> float:
        """What gradients of this norm are multiplied by."""
        return min(1.0, self.grad_clip / (norm + CLIP_EPS)) if self.grad_clip else 1.0

    def step(self) -> float:
        """Update every parameter once; return the norm of the gradient before clipping.

        Raises
        ------
        NotFiniteError : the gradient is not finite; no parameter has changed.
        InputError : a setting was changed to an invalid value; no parameter has changed.
        """
        self._check_settings()
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
        beta1, beta2 = self.betas
        change = self.m[name] * (self.learning_rate / (1 - beta1**self.steps))
        spread = self.v[name] * (1 / (1 - beta2**self.steps))
        np.sqrt(spread, out=spread)
        spread += self.eps
        change /= spread
        new = self.model.params[name]
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


def _stretches(params: NamedArrays, moments: NamedArrays) -> list[Stretch]:
    """Stretches of parameters that decay alike, as long as can be."""
    found: list[Stretch] = []
    for name, state in moments.starts.items():
        start, decays = params.starts[name], int(params[name].ndim >= 2)
        new = Stretch(start, state, params[name].size, decays)
        last = found[-1] if found else None
        if last and (last.start + last.size, last.decays) == (start, new.decays):
            found[-1] = last._replace(size=last.size + new.size)
        else:
            found.append(new)
    return found
