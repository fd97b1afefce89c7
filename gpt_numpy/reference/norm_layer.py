"""A norm as a layer of its own: the end of a post-norm sublayer, and of a pre-norm encoder.

Source: Vaswani et al., "Attention Is All You Need" (2017), sections 3.1 and 5.4, where each
sublayer is LayerNorm(x + dropout(sublayer(x))). The sum is what a sublayer writes whose own norm is
"none" (norms.py); this layer takes it to the next sublayer:

    out = norm(x)               x the sum, kept by the stage that wrote it

Backward is layer norm's own (layernorm.py). Its dx is the gradient of the whole sum, so in the
sublayer before it goes both down the branch and, unchanged, around it. In a pre-norm stack nothing
but sums lies between the loss and the first block; here every gradient around a branch still passes
through each norm on its way down. This is why post-norm needs a warm-up of the learning rate (Xiong
et al., "On Layer Normalization in the Transformer Architecture", 2020).

Shapes: x, out (B, T, C); mean, rstd (B, T).
"""

from typing import NamedTuple

from gpt_numpy.base.arrays import Array
from gpt_numpy.reference.layernorm import layernorm_backward, layernorm_forward
from gpt_numpy.reference.tap import Tap, no_tap


class NormWeights(NamedTuple):
    """The weights of the norm, or their gradients; the bias may be None."""

    ln_weight: Array  # (C,)
    ln_bias: Array | None


class NormKept(NamedTuple):
    """What forward writes for backward; as gradients None."""

    mean: Array
    rstd: Array


def norm_layer_forward(
    x: Array, weights: NormWeights, kept: NormKept, *, out: Array, tap: Tap = no_tap
) -> None:
    """Write the normalised rows to `out`."""
    w, k = weights, kept
    layernorm_forward(x, w.ln_weight, w.ln_bias, out=out, mean=k.mean, rstd=k.rstd)
    tap("out", out)


def norm_layer_backward(
    dout: Array,
    x: Array,
    weights: NormWeights,
    kept: NormKept,
    *,
    dx: Array,
    dweights: NormWeights,
    dkept: NormKept,
    tap: Tap = no_tap,
) -> None:
    """Write the gradients of `x` and of the weights; `dx` may be `dout`."""
    w, k, dw = weights, kept, dweights
    tap("dout", dout)
    # forward: out = norm(x)
    layernorm_backward(
        dout, x, w.ln_weight, w.ln_bias, k.mean, k.rstd,
        dx=dx, dweight=dw.ln_weight, dbias=dw.ln_bias,
    )  # fmt: skip
