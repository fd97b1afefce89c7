"""Cross-attention sublayer, fused as the attention sublayer is.

Keys and values are computed from the encoder's output in one product for both; their gradients go
back in another, and are added there to those of the blocks behind this one.
"""

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.cross_attention import cross_attention_backward, cross_attention_forward
from gpt_numpy.kernels.engine.jit import workspace
from gpt_numpy.kernels.halves import is_half, round_into, widened
from gpt_numpy.kernels.linear import (
    PRODUCTS,
    linear_and_sum,
    linear_backward,
    linear_forward,
    parameter_gradients,
)
from gpt_numpy.kernels.norms import NORMS
from gpt_numpy.kernels.residual import add_to, copy_unless_same, through_dropout
from gpt_numpy.reference.cross_attention_sublayer import (
    CrossAttentionKept,
    CrossAttentionSettings,
    CrossAttentionWeights,
    Streams,
)
from gpt_numpy.reference.dropout import Dropout


def cross_attention_sublayer_forward(
    x: Streams,
    weights: CrossAttentionWeights,
    kept: CrossAttentionKept,
    *,
    settings: CrossAttentionSettings,
    dropout: Dropout,
    out: Array,
) -> None:
    """Write the target's residual stream after cross-attention to `out`.

    `dropout` masks the attention weights; the branch's mask is that of the following site.
    """
    (stream, memory), w, k, precision = x, weights, kept, settings.precision
    NORMS[settings.norm_kind].forward(stream, w, k)
    linear_forward(k.norm, w.q_weight, w.q_bias, out=k.q, precision=precision)
    linear_forward(memory, w.kv_weight, w.kv_bias, out=k.kv, precision=precision)
    attn = out if is_half(k.attn) else k.attn  # `out` is written only after that
    cross_attention_forward(
        k.q, k.kv, settings.lengths, settings.n_head, dropout, out=attn, lse=k.lse
    )
    round_into(attn, k.attn)
    linear_and_sum(
        k.attn, w.proj_weight, w.proj_bias, stream, dropout.next_site(),
        out=out, precision=precision,
    )  # fmt: skip


def cross_attention_sublayer_backward(
    dout: Array,
    x: Streams,
    weights: CrossAttentionWeights,
    kept: CrossAttentionKept,
    *,
    settings: CrossAttentionSettings,
    dropout: Dropout,
    dx: Streams,
    dweights: CrossAttentionWeights,
    dkept: CrossAttentionKept,
) -> None:
    """Write the gradients of both streams, of the weights and of what was kept.

    `dx.x` may be `dout`.
    """
    (stream, memory), w, k, dw, dk = x, weights, kept, dweights, dkept
    precision, multiply = settings.precision, PRODUCTS[settings.precision].multiply
    # forward: out = x + dropout(linear(attn))
    # `norm` is written again below; its gradient may lie where that of `attn` does.
    dbranch = through_dropout(dout, dropout.next_site(), workspace=k.norm)
    linear_backward(
        dbranch, k.attn, w.proj_weight, w.proj_bias,
        dx=dk.attn, dweight=dw.proj_weight, dbias=dw.proj_bias, precision=precision,
    )  # fmt: skip
    # forward: attn = cross_attention(q, kv)
    attn = widened(k.attn, k.norm)
    cross_attention_backward(
        dk.attn, k.q, k.kv, settings.lengths, settings.n_head, dropout,
        out=attn, lse=k.lse, dq=dk.q, dkv=dk.kv,
    )  # fmt: skip
    # forward: kv = linear(memory), here and in every other block
    dmemory = dx.memory
    if settings.adds:
        dmemory = workspace("encoder", memory.size, memory.dtype)[: memory.size]
        dmemory = dmemory.reshape(memory.shape)
    multiply(dk.kv, w.kv_weight, out=dmemory, transposed=True)
    if settings.adds:
        add_to(dx.memory, dmemory)
    parameter_gradients(dk.kv, memory, dw.kv_weight, dw.kv_bias, precision=precision)
    # forward: norm = norm(x); q = linear(norm)
    multiply(dk.q, w.q_weight, out=dk.norm, transposed=True)
    copy_unless_same(dout, dx.x)
    NORMS[settings.norm_kind].backward_and_renormalise(stream, w, k, dx.x, dw, dk)
    parameter_gradients(dk.q, k.norm, dw.q_weight, dw.q_bias, precision=precision)
