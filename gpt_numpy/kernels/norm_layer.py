"""A norm as a layer of its own: layer norm's kernels, with the tuples of a stage."""

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.layernorm import layernorm_backward, layernorm_forward
from gpt_numpy.reference.norm_layer import NormKept, NormWeights


def norm_layer_forward(x: Array, weights: NormWeights, kept: NormKept, *, out: Array) -> None:
    """Write the normalised rows to `out`."""
    w, k = weights, kept
    layernorm_forward(x, w.ln_weight, w.ln_bias, out=out, mean=k.mean, rstd=k.rstd)


def norm_layer_backward(
    dout: Array,
    x: Array,
    weights: NormWeights,
    kept: NormKept,
    *,
    dx: Array,
    dweights: NormWeights,
    dkept: NormKept,
) -> None:
    """Write the gradients of `x` and of the weights; `dx` may be `dout`."""
    w, k, dw = weights, kept, dweights
    layernorm_backward(
        dout, x, w.ln_weight, w.ln_bias, k.mean, k.rstd,
        dx=dx, dweight=dw.ln_weight, dbias=dw.ln_bias,
    )  # fmt: skip
