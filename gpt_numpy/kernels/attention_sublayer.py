"""Attention sublayer, fused: bias, dropout and the residual sum are epilogues of the products.

They are done strip by strip while the product is in the cache (products/epilogue.py). The layer
norm's backward adds to the residual stream's gradient directly, and writes `norm` again; the
gradient of the QKV weight needs `norm`, so it is computed last.
"""

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.attention import attention_backward, attention_forward
from gpt_numpy.kernels.layernorm import layernorm_backward_and_renormalise, layernorm_forward
from gpt_numpy.kernels.linear import (
    PRODUCTS,
    linear_and_sum,
    linear_backward,
    linear_forward,
    parameter_gradients,
)
from gpt_numpy.kernels.residual import copy_unless_same, through_dropout
from gpt_numpy.reference.attention_sublayer import (
    AttentionKept,
    AttentionSettings,
    AttentionWeights,
)
from gpt_numpy.reference.dropout import Dropout


def attention_sublayer_forward(
    x: Array,
    weights: AttentionWeights,
    kept: AttentionKept,
    *,
    settings: AttentionSettings,
    dropout: Dropout,
    out: Array,
) -> None:
    """Write the residual stream after attention to `out`.

    `dropout` masks the attention weights; the branch's mask is that of the following site.
    """
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
    PRODUCTS[precision].multiply(dk.qkv, w.qkv_weight, out=dk.norm, transposed=True)
    copy_unless_same(dout, dx)
    layernorm_backward_and_renormalise(
        dk.norm, x, w.ln_weight, w.ln_bias, k.mean, k.rstd,
        dx=dx, dweight=dw.ln_weight, dbias=dw.ln_bias, out=k.norm,
    )  # fmt: skip
    parameter_gradients(
        dk.qkv, k.norm, dweight=dw.qkv_weight, dbias=dw.qkv_bias, precision=precision
    )
