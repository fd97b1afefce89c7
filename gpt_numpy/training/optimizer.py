"""The optimizer of a model: AdamW over its named tensors, clipping, and the learning-rate schedule.

The update of one tensor is derived in `reference/adamw.py`; here is what surrounds it.
"""

import math

import numpy as np

from gpt_numpy.base.arrays import Array, NamedArrays
from gpt_numpy.base.checks import real, shown
from gpt_numpy.base.errors import InputError, NotFiniteError
from gpt_numpy.base.guarded import Guarded
from gpt_numpy.model.gpt import GPT
from gpt_numpy.reference.adamw import AdamWSettings

CLIP_EPS = 1e-6  # as in PyTorch's clip_grad_norm_


class AdamW(Guarded):
    """AdamW on all parameters of a model; tensors of two or more dimensions decay.

    Parameters
    ----------
    model : its `params` are updated from its `grads`, in place.
    learning_rate : of the next step; set the attribute to change it.
    betas : decay of the running mean and of the running mean square, each in [0, 1).
    weight_decay : decoupled, a share per unit of learning rate.
    grad_clip : largest norm of the whole gradient; 0 does not clip.
    eps : added to the root of the running mean square.

    Attributes
    ----------
    m, v : `NamedArrays`, the running mean and mean square under the parameters' names.
    steps : how many steps were taken.

    Raises
    ------
    InputError : a value out of range.
    """

    CHANGEABLE = ("learning_rate", "betas", "weight_decay", "grad_clip", "eps", "steps")
    INSTEAD = {
        "m": "write into its arrays, optimizer.m[name][...] = values",
        "v": "write into its arrays, optimizer.v[name][...] = values",
        "model": "make an optimizer for the other model, AdamW(model)",
        "lr": "use optimizer.learning_rate",
    }

    def __init__(
        self,
        model: GPT,
        *,
        learning_rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.1,
        grad_clip: float = 1.0,
        eps: float = 1e-8,
    ) -> None:
        if model.dtype.kind != "f":
            raise InputError(
                f"a model of type {model.dtype} does not train: use float32 or float64"
            )
        self.model = model
        self.learning_rate = learning_rate
        self.betas = betas
        self.weight_decay = weight_decay
        self.grad_clip = grad_clip
        self.eps = eps
        self._check_settings()
        self.steps = 0
        shapes = {name: param.shape for name, param in model.params.items()}
        self.m = NamedArrays(shapes, model.dtype)
        self.v = NamedArrays(shapes, model.dtype)
        self.m.flat[...] = 0
        self.v.flat[...] = 0
        self._complete = True

    def _check_settings(self) -> None:
        """Raise `InputError` unless all settings can be used; anyone may have set them."""
        at_least_0 = "a finite number of at least 0"
        self.learning_rate = real("learning_rate", self.learning_rate, _not_negative, at_least_0)
        self.weight_decay = real("weight_decay", self.weight_decay, _not_negative, at_least_0)
        self.grad_clip = real("grad_clip", self.grad_clip, _not_negative, at_least_0)
        self.eps = real("eps", self.eps, lambda x: x > 0, "a finite number greater than 0")
        if not isinstance(self.betas, tuple | list) or len(self.betas) != 2:
            raise InputError(f"betas={shown(self.betas)}: must be two numbers, such as (0.9, 0.99)")
        beta1, beta2 = (
            real("each of betas", beta, lambda x: 0 <= x < 1, "at least 0 and less than 1")
            for beta in self.betas
        )
        self.betas = (beta1, beta2)

    def grad_norm(self) -> float:
        """The norm of the whole gradient: the root of the sum of all squares."""
        return math.sqrt(self.model.ops.sum_of_squares(self.model.grads.flat))

    def settings_of(self, param: Array) -> AdamWSettings:
        """The settings for one parameter: only matrices decay, biases and layer norms do not."""
        decay = self.weight_decay if param.ndim >= 2 else 0.0
        return AdamWSettings(self.learning_rate, *self.betas, self.eps, decay)

    def step(self) -> float:
        """Update every parameter once; the norm of the gradient before clipping.

        Raises
        ------
        NotFiniteError : the gradient is not finite; no parameter has changed.
        InputError : a setting was changed to what cannot be used; no parameter has changed.
        """
        self._check_settings()
        norm = self.grad_norm()
        if not math.isfinite(norm):
            name = next(
                (n for n, g in self.model.grads.items() if not np.isfinite(g).all()), "the norm"
            )
            raise NotFiniteError(
                f"the gradient of {name} is not finite: lower learning_rate or use grad_clip"
            )
        self.steps += 1
        clip = min(1.0, self.grad_clip / (norm + CLIP_EPS)) if self.grad_clip else 1.0
        for name, param in self.model.params.items():
            self.model.ops.adamw_update(
                param,
                self.model.grads[name],
                self.m[name],
                self.v[name],
                step=self.steps,
                grad_scale=clip,
                settings=self.settings_of(param),
            )
        return norm


def _not_negative(number: float) -> bool:
    return number >= 0
