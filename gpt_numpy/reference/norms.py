"""The norm at the beginning of a sublayer and of the head, by the name of its kind.

The entries are called with a sublayer's own tuples: of the weights they take `ln_weight` and
`ln_bias`, and of what is kept `mean`, `rstd` and `norm`. RMSNorm has no `ln_bias` and no `mean`.

"none" is the identity, norm = x, for sublayers in front of which there is no norm because one
follows (norm_layer.py): dx = dnorm, and of the tuples only `norm` is there.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from gpt_numpy.base.arrays import Array
from gpt_numpy.reference.layernorm import EPS, layernorm_backward, layernorm_forward, normalise
from gpt_numpy.reference.rmsnorm import divide, rmsnorm_backward, rmsnorm_forward

LAYERNORM, RMSNORM, NO_NORM = "layernorm", "rmsnorm", "none"


class Norm(NamedTuple):
    """What a sublayer does with its norm.

    `forward(x, weights, kept, eps)` writes `kept.norm` and the statistics, `again(x, weights,
    kept)` only `kept.norm`, from the statistics; `backward(x, weights, kept, dx, dweights, dkept)`
    reads `dkept.norm`.
    """

    forward: Callable[..., None]
    again: Callable[[Array, Any, Any], None]
    backward: Callable[[Array, Any, Any, Array, Any, Any], None]


def _layernorm(x: Array, w: Any, k: Any, eps: float = EPS) -> None:
    layernorm_forward(x, w.ln_weight, w.ln_bias, out=k.norm, mean=k.mean, rstd=k.rstd, eps=eps)


def _layernorm_again(x: Array, w: Any, k: Any) -> None:
    normalise(x, w.ln_weight, w.ln_bias, k.mean, k.rstd, out=k.norm)


def _layernorm_gradients(x: Array, w: Any, k: Any, dx: Array, dw: Any, dk: Any) -> None:
    layernorm_backward(
        dk.norm, x, w.ln_weight, w.ln_bias, k.mean, k.rstd,
        dx=dx, dweight=dw.ln_weight, dbias=dw.ln_bias,
    )  # fmt: skip


def _rmsnorm(x: Array, w: Any, k: Any, eps: float = EPS) -> None:
    rmsnorm_forward(x, w.ln_weight, out=k.norm, rstd=k.rstd, eps=eps)


def _rmsnorm_again(x: Array, w: Any, k: Any) -> None:
    divide(x, w.ln_weight, k.rstd, out=k.norm)


def _rmsnorm_gradients(x: Array, w: Any, k: Any, dx: Array, dw: Any, dk: Any) -> None:
    rmsnorm_backward(dk.norm, x, w.ln_weight, k.rstd, dx=dx, dweight=dw.ln_weight)


def _identity(x: Array, w: Any, k: Any, eps: float = EPS) -> None:
    k.norm[...] = x


def _identity_gradient(x: Array, w: Any, k: Any, dx: Array, dw: Any, dk: Any) -> None:
    # forward: norm = x
    dx[...] = dk.norm


NORMS = {
    LAYERNORM: Norm(_layernorm, _layernorm_again, _layernorm_gradients),
    RMSNORM: Norm(_rmsnorm, _rmsnorm_again, _rmsnorm_gradients),
    NO_NORM: Norm(_identity, _identity, _identity_gradient),
}
