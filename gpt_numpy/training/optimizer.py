"""The optimizer of a model: AdamW over all its parameters, with gradient clipping.

The update of one tensor is derived in `reference/adamw.py`.
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
                f"a model of dtype {model.dtype} cannot be trained: use float32 or float64"
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
        """Raise `InputError` if a setting is invalid: the attributes are public."""
        for name in ("learning_rate", "weight_decay", "grad_clip"):
            fix = "a finite number of at least 0"
            setattr(self, name, real(name, getattr(self, name), lambda x: x >= 0, fix))
        self.eps = real("eps", self.eps, lambda x: x > 0, "a finite number greater than 0")
        if not isinstance(self.betas, tuple | list) or len(self.betas) != 2:
            raise InputError(f"betas={shown(self.betas)}: must be two numbers, such as (0.9, 0.99)")
        beta1, beta2 = (
            real("each of betas", beta, lambda x: 0 <= x < 1, "at least 0 and less than 1")
            for beta in self.betas
        )
        self.betas = (beta1, beta2)

    def grad_norm(self) -> float:
        """The norm of the gradient over all parameters."""
        return math.sqrt(self.model.ops.sum_of_squares(self.model.grads.flat))

    def settings_of(self, param: Array) -> AdamWSettings:
        """The update's settings for one parameter; biases and layer norms have no weight decay."""
        decay = self.weight_decay if param.ndim >= 2 else 0.0
        return AdamWSettings(self.learning_rate, *self.betas, self.eps, decay)

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
