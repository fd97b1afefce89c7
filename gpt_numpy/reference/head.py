"""The head: a last norm, one score for every token of the vocabulary, and the loss.

Source: Radford et al. (2019), section 2.3; Press, Wolf, "Using the Output Embedding to Improve
Language Models" (2017) for the weight that the head shares with the token embedding:

    logits = norm(x) @ weight.T
    losses = cross_entropy(logits, targets)

The weight lies as (V, C), like the token embedding that it may be, so it enters the linear layer
transposed, and its gradient leaves it transposed. A soft cap of the logits is a part of the loss.
Backward runs through the same functions in reverse; of the linear layer it is (linear.py)

    dnorm = dlogits @ weight
    dweight = dlogits.T @ norm

Shapes: x, norm (B, T, C); logits (B, T, V); targets, losses, mean, rstd, lse (B, T).
"""

from typing import NamedTuple

from gpt_numpy.base.arrays import Array
from gpt_numpy.reference.cross_entropy import cross_entropy_backward, cross_entropy_forward
from gpt_numpy.reference.layernorm import EPS
from gpt_numpy.reference.linear import FULL, linear_backward, linear_forward
from gpt_numpy.reference.norms import LAYERNORM, NORMS
from gpt_numpy.reference.tap import Tap, no_tap


class HeadWeights(NamedTuple):
    """The weights of the head, or their gradients; the bias may be None."""

    ln_weight: Array | None  # (C,); None without a norm
    ln_bias: Array | None  # RMSNorm has none
    weight: Array  # (V, C)


class HeadKept(NamedTuple):
    """What forward writes for backward, or the gradients: None for the statistics."""

    mean: Array | None  # RMSNorm has none
    rstd: Array | None
    norm: Array
    logits: Array
    lse: Array


class HeadSettings(NamedTuple):
    """How the head computes: norm, soft cap, label smoothing, and the precision of operands."""

    norm_kind: str = LAYERNORM
    softcap: float = 0.0  # of the logits; 0: none
    precision: str = FULL
    smoothing: float = 0.0  # of the targets in the loss
    norm_eps: float = EPS


def head_forward(
    x: Array,
    weights: HeadWeights,
    kept: HeadKept,
    *,
    settings: HeadSettings,
    out: Array,
    tap: Tap = no_tap,
) -> None:
    """Write the logits, before the soft cap, to `out`; of `kept`, only mean, rstd and norm."""
    w, k = weights, kept
    NORMS[settings.norm_kind].forward(x, w, k, settings.norm_eps)
    tap("norm", k.norm)
    linear_forward(k.norm, w.weight.T, None, out=out, precision=settings.precision)
    tap("logits", out)


def head_backward(
    dout: Array,
    x: Array,
    weights: HeadWeights,
    kept: HeadKept,
    *,
    settings: HeadSettings,
    dx: Array,
    dweights: HeadWeights,
    dkept: HeadKept,
    tap: Tap = no_tap,
) -> None:
    """Write the gradients of `x`, of the weights and of the norm's output."""
    w, k, dw, dk = weights, kept, dweights, dkept
    # forward: logits = norm @ weight.T
    linear_backward(
        dout, k.norm, w.weight.T, None,
        dx=dk.norm, dweight=dw.weight.T, dbias=None, precision=settings.precision,
    )  # fmt: skip
    tap("dnorm", dk.norm)
    # forward: norm = norm(x)
    NORMS[settings.norm_kind].backward(x, w, k, dx, dw, dk)


def head_loss_forward(
    x: Array,
    weights: HeadWeights,
    kept: HeadKept,
    *,
    targets: Array,
    settings: HeadSettings,
    out: Array,
    tap: Tap = no_tap,
) -> None:
    """Write each position's loss to `out`, and the logits that it comes from."""
    head_forward(x, weights, kept, settings=settings, out=kept.logits, tap=tap)
    cross_entropy_forward(
        kept.logits, targets, out=out, lse=kept.lse,
        softcap=settings.softcap, smoothing=settings.smoothing,
    )  # fmt: skip


def head_loss_backward(
    dout: Array,
    x: Array,
    weights: HeadWeights,
    kept: HeadKept,
    *,
    targets: Array,
    settings: HeadSettings,
    dx: Array,
    dweights: HeadWeights,
    dkept: HeadKept,
    tap: Tap = no_tap,
) -> None:
    """Write the gradients of `x` and of the weights; `dkept.logits` may be `kept.logits`."""
    # forward: losses = cross_entropy(logits)
    cross_entropy_backward(
        dout, kept.logits, targets, kept.lse, dlogits=dkept.logits,
        softcap=settings.softcap, smoothing=settings.smoothing,
    )  # fmt: skip
    tap("dlogits", dkept.logits)
    head_backward(
        dkept.logits, x, weights, kept,
        settings=settings, dx=dx, dweights=dweights, dkept=dkept, tap=tap,
    )  # fmt: skip
