"""Attention sublayer, fused: bias, dropout and the residual sum are epilogues of the products.

They are done strip by strip while the product is in the cache (products/epilogue.py). The norm's
backward adds to the residual stream's gradient directly, and writes `norm` again; the gradient of
the QKV weight needs `norm`, so it is computed last.
"""

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.attention import attention_backward, attention_forward
from gpt_numpy.kernels.halves import is_half, round_into, widened
from gpt_numpy.kernels.linear import (
    PRODUCTS,
    linear_and_sum,
    linear_backward,
    linear_forward,
    parameter_gradients,
)
from gpt_numpy.kernels.norms import NORMS
from gpt_numpy.kernels.queries_keys import queries_keys_backward, queries_keys_forward
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
    w, k, n_head, precision = weights, kept, settings.n_head, settings.precision
    n_kv_head = settings.n_kv_head
    NORMS[settings.norm_kind].forward(x, w, k, settings.norm_eps)
    linear_forward(k.norm, w.qkv_weight, w.qkv_bias, out=k.qkv, precision=precision)
    if k.ready is not None:
        queries_keys_forward(
            k.qkv, n_head, n_kv_head,
            q_norm=w.q_norm, k_norm=w.k_norm, rotations=w.rotations,
            eps=settings.norm_eps, out=k.ready,
        )  # fmt: skip
    attn = out if is_half(k.attn) else k.attn  # `out` is written only after that
    attention_forward(
        k.attended, n_head, dropout, out=attn, lse=k.lse,
        n_kv_head=n_kv_head, lengths=settings.lengths,
    )  # fmt: skip
    round_into(attn, k.attn)
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
    n_head, n_kv_head, precision = settings.n_head, settings.n_kv_head, settings.precision
    # forward: out = x + dropout(linear(attn))
    # `norm` is written again below; its gradient may lie where that of `attn` does.
    dbranch = through_dropout(dout, dropout.next_site(), workspace=k.norm)
    linear_backward(
        dbranch, k.attn, w.proj_weight, w.proj_bias,
        dx=dk.attn, dweight=dw.proj_weight, dbias=dw.proj_bias, precision=precision,
    )  # fmt: skip
    # forward: attn = attention(attended)
    attn = widened(k.attn, k.norm)
    attention_backward(
        dk.attn, k.attended, n_head, dropout,
        out=attn, lse=k.lse, dqkv=dk.attended, n_kv_head=n_kv_head, lengths=settings.lengths,
    )  # fmt: skip
    # forward: ready = queries_keys(qkv)
    if dk.ready is not None:
        queries_keys_backward(
            dk.ready, k.qkv, n_head, n_kv_head,
            q_norm=w.q_norm, k_norm=w.k_norm, rotations=w.rotations,
            eps=settings.norm_eps, dqkv=dk.qkv, dq_norm=dw.q_norm, dk_norm=dw.k_norm,
        )  # fmt: skip
    # forward: norm = norm(x); qkv = linear(norm)
    PRODUCTS[precision].multiply(dk.qkv, w.qkv_weight, out=dk.norm, transposed=True)
    copy_unless_same(dout, dx)
    NORMS[settings.norm_kind].backward_and_renormalise(x, w, k, dx, dw, dk)
    parameter_gradients(
        dk.qkv, k.norm, dweight=dw.qkv_weight, dbias=dw.qkv_bias, precision=precision
    )
