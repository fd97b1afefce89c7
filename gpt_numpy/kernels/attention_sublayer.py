"""Attention sublayer, fused: bias, dropout and the residual sum are epilogues of the products.

They are done strip by strip while the product is in the cache (products/epilogue.py). The layer
norm's backward adds to the residual stream's gradient directly and writes the normalised rows
again, which the gradient of the weight behind it needs: that comes after it.
"""

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.attention import attention_backward, attention_forward
from gpt_numpy.kernels.dropout import dropout_backward, dropout_forward
from gpt_numpy.kernels.engine.jit import same_memory
from gpt_numpy.kernels.layernorm import layernorm_backward_and_renormalise, layernorm_forward
from gpt_numpy.kernels.linear import (
    PRODUCTS,
    linear_and_sum,
    linear_backward,
    linear_forward,
    parameter_gradients,
)
from gpt_numpy.reference.attention_sublayer import (
    AttentionKept,
    AttentionSettings,
    AttentionWeights,
)
from gpt_numpy.reference.dropout import NO_DROPOUT, Dropout


def attention_sublayer_forward(
    x: Array,
    weights: AttentionWeights,
    kept: AttentionKept,
    *,
    settings: AttentionSettings,
    dropout: Dropout,
    out: Array,
) -> None:
    """Write the residual stream after attention to `out`; the branch has the next dropout site."""
    w, k, (n_head, precision) = weights, kept, settings
    layernorm_forward(x, w.ln_weight, w.ln_bias, out=k.norm, mean=k.mean, rstd=k.rstd)
    linear_forward(k.norm, w.qkv_weight, w.qkv_bias, out=k.qkv, precision=precision)
    attention_forward(k.qkv, n_head, dropout, out=k.attn, lse=k.lse)
    linear_and_sum(
        k.attn, w.proj_weight, w.proj_bias, x, dropout.next_site(), out=out, precision=precision
    )


def attention_sublayer_backward(
    dout: Array,
    x: Array,
    weights: AttentionWeights,
    kept: AttentionKept,
    *,
    settings: AttentionSettings,
    dropout: Dropout,
    dx: Array,
    dweights: AttentionWeights,
    dkept: AttentionKept,
) -> None:
    """Write the gradients of `x`, of the weights and of what was kept; `dx` may be `dout`."""
    w, k, dw, dk = weights, kept, dweights, dkept
    n_head, precision = settings
    # forward: out = x + dropout(linear(attn))
    dbranch = through_dropout(dout, dropout.next_site(), workspace=dk.norm)
    linear_backward(
        dbranch, k.attn, w.proj_weight, w.proj_bias,
        dx=dk.attn, dweight=dw.proj_weight, dbias=dw.proj_bias, precision=precision,
    )  # fmt: skip
    # forward: attn = attention(qkv)
    attention_backward(dk.attn, k.qkv, n_head, dropout, out=k.attn, lse=k.lse, dqkv=dk.qkv)
    # forward: norm = layernorm(x); qkv = linear(norm)
    PRODUCTS[precision].multiply(dk.qkv, w.qkv_weight, dk.norm, transposed=True)
    start_from(dout, dx)
    layernorm_backward_and_renormalise(
        dk.norm, x, w.ln_weight, w.ln_bias, k.mean, k.rstd,
        dx=dx, dweight=dw.ln_weight, dbias=dw.ln_bias, out=k.norm,
    )  # fmt: skip
    parameter_gradients(
        dk.qkv, k.norm, dweight=dw.qkv_weight, dbias=dw.qkv_bias, precision=precision
    )


def through_dropout(dout: Array, dropout: Dropout, workspace: Array) -> Array:
    """The gradient of what was dropped out: `dout` itself, or written to `workspace`."""
    if dropout.rate == 0:
        return dout
    dropout_backward(dout, dropout, dx=workspace)
    return workspace


def start_from(dout: Array, dx: Array) -> None:
    """Let `dx` begin as the gradient that the residual stream hands down unchanged."""
    if not same_memory(dx, dout):
        dropout_forward(dout, NO_DROPOUT, out=dx)  # a copy, as a launch
