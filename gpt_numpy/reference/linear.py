"""Linear layer: every position's channels times one weight matrix, plus a bias.

Source: the chain rule; weights lie as (in, out), GPT-2's layout.

Forward, with r the row (one position of one sequence), i the channel in, o the channel out:

    out_ro = sum_i x_ri weight_io + bias_o              out = x @ weight + bias

Backward. Given dout = dL/dout, each quantity collects from every out_ro that it enters:

    dx_ri      = sum_o dout_ro ∂out_ro/∂x_ri
               = sum_o dout_ro weight_io                dx = dout @ weight.T

    dweight_io = sum_r dout_ro ∂out_ro/∂weight_io
               = sum_r x_ri dout_ro                     dweight = x.T @ dout

    dbias_o    = sum_r dout_ro                          dbias = dout summed over rows

A check: for dx, (rows, in), the shapes (rows, out) and (in, out) allow only dout @ weight.T. Where
in = out they allow dout @ weight as well; there only the derivation decides.

Shapes: x (..., I); weight (I, O); bias (O,) or None; out (..., O).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.reference.bfloat16 import product as bfloat16_product
from gpt_numpy.reference.bfloat16 import rounded

FULL, BFLOAT16 = "full", "bfloat16"  # the precision of a product's operands
PRODUCTS: dict[str, Callable[..., Any]] = {FULL: np.matmul, BFLOAT16: bfloat16_product}


def round_stored(x: Array, precision: str) -> None:
    """Round `x` to bfloat16 with such products: only they and the layer's own backward read it.

    So it can be stored in 16 bits. Backward passes the gradient of the rounded numbers on as that
    of the exact ones, as it does where operands of products are rounded.
    """
    if precision == BFLOAT16:
        x[...] = rounded(x)


def linear_forward(
    x: Array, weight: Array, bias: Array | None, out: Array, *, precision: str = FULL
) -> None:
    """Write `x @ weight + bias` to `out`."""
    PRODUCTS[precision](x, weight, out=out)
    if bias is not None:
        out += bias


def linear_backward(
    dout: Array,
    x: Array,
    weight: Array,
    bias: Array | None,
    dx: Array,
    dweight: Array,
    dbias: Array | None,
    *,
    precision: str = FULL,
) -> None:
    """Write the gradients of `x`, `weight` and `bias`."""
    # forward: out = x @ weight + bias
    x_rows = x.reshape(-1, x.shape[-1])
    dout_rows = dout.reshape(-1, dout.shape[-1])
    product = PRODUCTS[precision]
    product(dout, weight.T, out=dx)
    product(x_rows.T, dout_rows, out=dweight)
    if dbias is not None:
        dbias[...] = dout_rows.sum(axis=0)
