"""Cross-attention sublayer, fused as the attention sublayer is.

Keys and values are computed from the encoder's output in one product for both; their gradients go
back in another, and are added there to those of the blocks behind this one.
"""

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.cross_attention import cross_attention_backward, cross_attention_forward
from gpt_numpy.kernels.engine.jit import workspace
from gpt_numpy.kernels.halves import is_half, round_into, widened, workspace_like
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

QUERIES, SOURCES = "queries", "keys, values"  # workspaces: float32 of what is stored in 16 bits


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
    q, kv = _widened(k)
    attn = out if is_half(k.attn) else k.attn  # `out` is written only after that
    cross_attention_forward(q, kv, settings.lengths, settings.n_head, dropout, out=attn, lse=k.lse)
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
    dbranch = through_dropout(dout, dropout.next_site(), workspace=dk.norm)
    linear_backward(
        dbranch, k.attn, w.proj_weight, w.proj_bias,
        dx=dk.attn, dweight=dw.proj_weight, dbias=dw.proj_bias, precision=precision,
    )  # fmt: skip
    # forward: attn = cross_attention(q, kv)
    q, kv = _widened(k)
    attn = widened(k.attn, k.norm)  # which is written again below
    cross_attention_backward(
        dk.attn, q, kv, settings.lengths, settings.n_head, dropout,
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


def _widened(kept: CrossAttentionKept) -> tuple[Array, Array]:
    """Queries, and keys and values, as float32 or float64 numbers."""
    q, kv = kept.q, kept.kv
    return widened(q, workspace_like(q, QUERIES)), widened(kv, workspace_like(kv, SOURCES))
