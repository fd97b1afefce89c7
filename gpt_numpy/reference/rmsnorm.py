"""RMSNorm: divide each position's channels by their root mean square, then scale.

Source: Zhang, Sennrich, "Root Mean Square Layer Normalization" (2019), equation 4; eps is layer
norm's, 1e-5, as in Llama 2 and 3 (1e-6 in Llama 1 and Qwen3). It is layer norm without the mean and
without a bias.

Forward, for one row x of C channels (one position of one sequence):

    square = sum_c x_c^2 / C
    rstd   = 1 / sqrt(square + eps)
    xhat   = x * rstd
    out    = xhat * weight

Backward. Given dout = dL/dout:

1.  The weight is shared by all rows r, so its gradient sums over them, and xhat gets its own:

        dweight_c = sum_r dout_rc xhat_rc           dxhat_c = dout_c weight_c

2.  xhat depends on x directly and through rstd:

        ∂rstd/∂square = -1/2 (square + eps)^(-3/2) = -rstd^3 / 2       ∂square/∂x_j = 2 x_j / C

        so ∂rstd/∂x_j = -rstd^3 x_j / C = -rstd^2 xhat_j / C

3.  Differentiate xhat_c = x_c rstd as a product:

        ∂xhat_c/∂x_j = [c = j] rstd - x_c rstd^2 xhat_j / C = rstd ([c = j] - xhat_c xhat_j / C)

4.  Sum over everything that x_j touches:

        dx_j = sum_c dxhat_c ∂xhat_c/∂x_j
             = rstd (dxhat_j - xhat_j mean(dxhat xhat)),       the mean over the channels

    Making x longer does not change xhat (except for eps): the second term removes the part of dxhat
    along xhat. Layer norm removes the part along (1, ..., 1) as well; here moving x along it
    changes xhat.

Only rstd is kept for backward; xhat is recomputed from x.

Shapes: x, out (..., C); weight (C,); rstd (...).
"""

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.reference.layernorm import EPS


def rmsnorm_forward(x: Array, weight: Array, out: Array, rstd: Array, *, eps: float = EPS) -> None:
    """Write the normalised rows to `out`, and each row's `rstd`."""
    rstd[...] = 1 / np.sqrt((x * x).mean(axis=-1) + eps)
    divide(x, weight, rstd, out=out)


def divide(x: Array, weight: Array, rstd: Array, out: Array) -> None:
    """Write the normalised rows to `out`, from the `rstd` that forward kept."""
    out[...] = x * rstd[..., None] * weight


def rmsnorm_backward(
    dout: Array, x: Array, weight: Array, rstd: Array, dx: Array, dweight: Array
) -> None:
    """Write the gradients of `x` and `weight`."""
    rows = tuple(range(x.ndim - 1))
    xhat = x * rstd[..., None]
    # forward: out = xhat * weight
    dweight[...] = (dout * xhat).sum(axis=rows)
    dxhat = dout * weight
    # forward: xhat = x * rstd
    along_xhat = (dxhat * xhat).mean(axis=-1, keepdims=True)
    dx[...] = (dxhat - xhat * along_xhat) * rstd[..., None]
