"""The optimizer of a model: AdamW over its named tensors, clipping, and the learning-rate schedule.

The update of one tensor is derived in `reference/adamw.py`; here is what surrounds it.
"""

import math

import numpy as np

from gpt_numpy.arrays import NamedArrays
from gpt_numpy.config import TrainConfig
from gpt_numpy.errors import InputError, NotFiniteError
from gpt_numpy.model import GPT

CLIP_EPS = 1e-6  # as in PyTorch's clip_grad_norm_


class AdamW:
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
        for name, value in (
            ("learning_rate", learning_rate),
            ("weight_decay", weight_decay),
            ("grad_clip", grad_clip),
        ):
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name}={value}: must be a finite number of at least 0")
        if not all(0 <= beta < 1 for beta in betas):
            raise InputError(f"betas={betas}: each must be at least 0 and less than 1")
        if not eps > 0:
            raise InputError(f"eps={eps}: must be greater than 0")
        self.model = model
        self.learning_rate = learning_rate
        self.betas = betas
        self.weight_decay = weight_decay
        self.grad_clip = grad_clip
        self.eps = eps
        self.steps = 0
        shapes = {name: param.shape for name, param in model.params.items()}
        self.m = NamedArrays(shapes, model.dtype)
        self.v = NamedArrays(shapes, model.dtype)
        self.m.flat[...] = 0
        self.v.flat[...] = 0

    def grad_norm(self) -> float:
        """The norm of the whole gradient: the root of the sum of all squares."""
        return math.sqrt(self.model.ops.sum_of_squares(self.model.grads.flat))

    def step(self) -> float:
        """Update every parameter once; the norm of the gradient before clipping.

        Raises
        ------
        NotFiniteError : the gradient is not finite; no parameter has changed.
        """
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
                learning_rate=self.learning_rate,
                beta1=self.betas[0],
                beta2=self.betas[1],
                eps=self.eps,
                weight_decay=self.weight_decay if param.ndim >= 2 else 0.0,
            )
        return norm


def learning_rate_at(iteration: int, config: TrainConfig) -> float:
    """The learning rate of an iteration: linear warm-up, half a cosine, then `min_lr`.

    Source: nanoGPT's get_lr.
    """
    if not config.decay_lr:
        return config.learning_rate
    if iteration < config.warmup_iters:
        return config.learning_rate * (iteration + 1) / (config.warmup_iters + 1)
    if iteration >= config.lr_decay_iters:
        return config.min_lr
    share = (iteration - config.warmup_iters) / (config.lr_decay_iters - config.warmup_iters)
    return config.min_lr + 0.5 * (1 + math.cos(math.pi * share)) * (
        config.learning_rate - config.min_lr
    )
