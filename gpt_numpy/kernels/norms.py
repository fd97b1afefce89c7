"""The norm at the beginning of a sublayer and of the head, by its kind, as in the reference.

In a sublayer backward adds to the residual stream's gradient and writes `norm` again, in one pass.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.layernorm import (
    EPS,
    layernorm_backward,
    layernorm_backward_and_renormalise,
    layernorm_forward,
)
from gpt_numpy.kernels.residual import add_to, copy_unless_same
from gpt_numpy.kernels.rmsnorm import (
    rmsnorm_backward,
    rmsnorm_backward_and_renormalise,
    rmsnorm_forward,
)

LAYERNORM, RMSNORM, NO_NORM = "layernorm", "rmsnorm", "none"  # as in the reference
NUMBERS = {LAYERNORM: 0, RMSNORM: 1}  # by which decoding knows them


class Norm(NamedTuple):
    """What a sublayer does with its norm.

    `forward(x, weights, kept, eps)` writes `kept.norm` and the statistics.
    `backward(x, weights, kept, dx, dweights, dkept)` writes the gradients, and
    `backward_and_renormalise`, called alike, adds to `dx` and writes `kept.norm` again.
    """

    forward: Callable[..., None]
    backward: Callable[[Array, Any, Any, Array, Any, Any], None]
    backward_and_renormalise: Callable[[Array, Any, Any, Array, Any, Any], None]


def _layernorm(x: Array, w: Any, k: Any, eps: float = EPS) -> None:
    layernorm_forward(x, w.ln_weight, w.ln_bias, out=k.norm, mean=k.mean, rstd=k.rstd, eps=eps)


def _layernorm_gradients(x: Array, w: Any, k: Any, dx: Array, dw: Any, dk: Any) -> None:
    layernorm_backward(
        dk.norm, x, w.ln_weight, w.ln_bias, k.mean, k.rstd,
        dx=dx, dweight=dw.ln_weight, dbias=dw.ln_bias,
    )  # fmt: skip


def _layernorm_gradients_and_again(x: Array, w: Any, k: Any, dx: Array, dw: Any, dk: Any) -> None:
    layernorm_backward_and_renormalise(
        dk.norm, x, w.ln_weight, w.ln_bias, k.mean, k.rstd,
        dx=dx, dweight=dw.ln_weight, dbias=dw.ln_bias, out=k.norm,
    )  # fmt: skip


def _rmsnorm(x: Array, w: Any, k: Any, eps: float = EPS) -> None:
    rmsnorm_forward(x, w.ln_weight, out=k.norm, rstd=k.rstd, eps=eps)


def _rmsnorm_gradients(x: Array, w: Any, k: Any, dx: Array, dw: Any, dk: Any) -> None:
    rmsnorm_backward(dk.norm, x, w.ln_weight, k.rstd, dx=dx, dweight=dw.ln_weight)


def _rmsnorm_gradients_and_again(x: Array, w: Any, k: Any, dx: Array, dw: Any, dk: Any) -> None:
    rmsnorm_backward_and_renormalise(
        dk.norm, x, w.ln_weight, k.rstd, dx=dx, dweight=dw.ln_weight, out=k.norm
    )


def _identity(x: Array, w: Any, k: Any, eps: float = EPS) -> None:
    copy_unless_same(x, k.norm)


def _identity_gradient(x: Array, w: Any, k: Any, dx: Array, dw: Any, dk: Any) -> None:
    copy_unless_same(dk.norm, dx)


def _identity_gradient_and_again(x: Array, w: Any, k: Any, dx: Array, dw: Any, dk: Any) -> None:
    add_to(dx, dk.norm)
    copy_unless_same(x, k.norm)


NORMS = {
    LAYERNORM: Norm(_layernorm, _layernorm_gradients, _layernorm_gradients_and_again),
    RMSNORM: Norm(_rmsnorm, _rmsnorm_gradients, _rmsnorm_gradients_and_again),
    NO_NORM: Norm(_identity, _identity_gradient, _identity_gradient_and_again),
}
