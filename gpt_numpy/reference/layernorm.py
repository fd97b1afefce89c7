"""Layer norm: bring each position's channels to mean 0 and variance 1, then scale and shift.

Source: Ba, Kiros, Hinton, "Layer Normalization" (2016), equation 4; GPT-2's eps is 1e-5.

Forward, for one row x of C channels (one position of one sequence):

    mean = sum_c x_c / C
    var  = sum_c (x_c - mean)^2 / C
    rstd = 1 / sqrt(var + eps)
    xhat = (x - mean) * rstd
    out  = xhat * weight + bias

Backward. Given dout = dL/dout, with L the loss:

1.  out_c = xhat_c weight_c + bias_c, and weight and bias are shared by all rows, so their
    gradients sum over the rows r, and xhat gets its own:

        dweight_c = sum_r dout_rc xhat_rc        dbias_c = sum_r dout_rc
        dxhat_c   = dout_c weight_c

2.  xhat depends on x three ways: directly, through mean, and through rstd. The chain rule needs

        ∂mean/∂x_j = 1 / C

        ∂rstd/∂var = -1/2 (var + eps)^(-3/2) = -rstd^3 / 2

        ∂var/∂x_j  = 2/C sum_c (x_c - mean) ([c = j] - 1/C)
                   = 2/C (x_j - mean)            because sum_c (x_c - mean) = 0

        so ∂rstd/∂x_j = -rstd^3 (x_j - mean) / C = -rstd^2 xhat_j / C

3.  Differentiate xhat_c = (x_c - mean) rstd as a product:

        ∂xhat_c/∂x_j = ([c = j] - 1/C) rstd - (x_c - mean) rstd^2 xhat_j / C
                     = rstd ([c = j] - 1/C - xhat_c xhat_j / C)

4.  Sum over everything that x_j touches:

        dx_j = sum_c dxhat_c ∂xhat_c/∂x_j
             = rstd (dxhat_j - sum_c dxhat_c / C - xhat_j sum_c dxhat_c xhat_c / C)
             = rstd (dxhat_j - mean(dxhat) - xhat_j mean(dxhat xhat)),    means over the channels

    Moving x along (1, ..., 1) does not change xhat, and (except for eps) moving x along xhat does
    not either: the second and third term remove the parts of dxhat in these two directions.

Only mean and rstd are kept for backward; xhat is recomputed from x.

Range: in float32 the square of a deviation above 1e19 overflows, and rstd becomes 0.

Shapes: x, out (..., C); weight, bias (C,) or None for bias; mean, rstd (...).
"""

import numpy as np

from gpt_numpy.base.arrays import Array

EPS = 1e-5  # of all norms, unless a model says something else


def layernorm_forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    out: Array,
    mean: Array,
    rstd: Array,
    *,
    eps: float = EPS,
) -> None:
    """Write the normalised rows to `out`, and each row's `mean` and `rstd`."""
    # In float64 at least: a constant row then has exactly its value as mean, and xhat exactly 0.
    mean[...] = x.mean(axis=-1, dtype=np.result_type(x.dtype, np.float64))
    centred = x - mean[..., None]
    # Two passes: the mean of squares less the squared mean would cancel for a large mean.
    rstd[...] = 1 / np.sqrt((centred * centred).mean(axis=-1) + eps)
    normalise(x, weight, bias, mean, rstd, out=out)


def normalise(
    x: Array, weight: Array, bias: Array | None, mean: Array, rstd: Array, out: Array
) -> None:
    """Write the normalised rows to `out`, from the `mean` and `rstd` that forward kept."""
    out[...] = (x - mean[..., None]) * rstd[..., None] * weight
    if bias is not None:
        out += bias


def layernorm_backward(
    dout: Array,
    x: Array,
    weight: Array,
    bias: Array | None,
    mean: Array,
    rstd: Array,
    dx: Array,
    dweight: Array,
    dbias: Array | None,
) -> None:
    """Write the gradients of `x`, `weight` and `bias`."""
    rows = tuple(range(x.ndim - 1))
    xhat = (x - mean[..., None]) * rstd[..., None]
    # forward: out = xhat * weight + bias
    dweight[...] = (dout * xhat).sum(axis=rows)
    if dbias is not None:
        dbias[...] = dout.sum(axis=rows)
    dxhat = dout * weight
    # forward: xhat = (x - mean) * rstd
    along_ones = dxhat.mean(axis=-1, keepdims=True)
    along_xhat = (dxhat * xhat).mean(axis=-1, keepdims=True)
    dx[...] = (dxhat - along_ones - xhat * along_xhat) * rstd[..., None]
