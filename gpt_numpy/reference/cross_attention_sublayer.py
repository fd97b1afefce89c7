"""Cross-attention sublayer: queries from the target's stream, keys and values from the encoder.

Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.1: the second of a decoder
block's three sublayers. With x the target's residual stream and memory the encoder's output:

    q = linear(norm(x))        kv = linear(memory)
    out = x + dropout(linear(cross_attention(q, kv)))

Keys and values are not normalised here: the encoder's output has been. Backward is, as in
attention_sublayer.py, the same functions in reverse, and has two streams to go to:

    dx      = dout + (what comes back through q)
    dmemory = dkv @ kv_weight.T, added to what the decoder blocks after this one have sent

The last block, whose backward is the first, assigns `dmemory` instead (`adds` is False).

Post-norm as in attention_sublayer.py.

Shapes: x, out, norm, q, attn (B, T, C); memory (B, S, C); kv (B, S, 2C); lengths (B,); mean, rstd
(B, T); lse (B, H, T).
"""

from typing import Any, NamedTuple

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.reference.cross_attention import cross_attention_backward, cross_attention_forward
from gpt_numpy.reference.dropout import Dropout, dropout_backward, dropout_forward
from gpt_numpy.reference.linear import FULL, linear_backward, linear_forward, round_stored
from gpt_numpy.reference.norms import LAYERNORM, NORMS
from gpt_numpy.reference.tap import Tap, no_tap


class Streams(NamedTuple):
    """What the sublayer reads, or the gradients."""

    x: Array  # the target's residual stream, (B, T, C)
    memory: Array  # the encoder's output, (B, S, C)


class CrossAttentionWeights(NamedTuple):
    """The weights of the sublayer, or their gradients; biases may be None."""

    ln_weight: Array | None  # (C,); None without a norm
    ln_bias: Array | None
    q_weight: Array  # (C, C)
    q_bias: Array | None
    kv_weight: Array  # (C, 2C)
    kv_bias: Array | None
    proj_weight: Array  # (C, C)
    proj_bias: Array | None


class CrossAttentionKept(NamedTuple):
    """What forward writes for backward, or the gradients: None for the statistics."""

    mean: Array | None
    rstd: Array | None
    norm: Array  # not saved: backward fills it again
    q: Array
    kv: Array
    lse: Array
    attn: Array


class CrossAttentionSettings(NamedTuple):
    """How the sublayer computes: heads, norm, and the precision of its products' operands.

    `lengths`, (B,), says how many positions each source has before its padding. `adds`: backward
    adds to the gradient of the encoder's output, where another block's lies already.
    """

    n_head: int
    norm_kind: str = LAYERNORM
    precision: str = FULL
    lengths: Any = None  # filled in by the model
    adds: bool = False


def cross_attention_sublayer_forward(
    x: Streams,
    weights: CrossAttentionWeights,
    kept: CrossAttentionKept,
    *,
    settings: CrossAttentionSettings,
    dropout: Dropout,
    out: Array,
    tap: Tap = no_tap,
) -> None:
    """Write the target's residual stream after cross-attention to `out`.

    `dropout` masks the attention weights; the branch's mask is that of the following site.
    """
    (stream, memory), w, k, precision = x, weights, kept, settings.precision
    branch = np.empty_like(stream)
    NORMS[settings.norm_kind].forward(stream, w, k)
    tap("norm", k.norm)
    linear_forward(k.norm, w.q_weight, w.q_bias, out=k.q, precision=precision)
    round_stored(k.q, precision)
    tap("q", k.q)
    linear_forward(memory, w.kv_weight, w.kv_bias, out=k.kv, precision=precision)
    round_stored(k.kv, precision)
    tap("kv", k.kv)
    cross_attention_forward(
        k.q, k.kv, settings.lengths, settings.n_head, dropout, out=k.attn, lse=k.lse
    )
    round_stored(k.attn, precision)
    tap("attn", k.attn)
    linear_forward(k.attn, w.proj_weight, w.proj_bias, out=branch, precision=precision)
    dropout_forward(branch, dropout.next_site(), out=branch)
    tap("branch", branch)
    out[...] = stream + branch
    tap("out", out)


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
    tap: Tap = no_tap,
) -> None:
    """Write the gradients of both streams, of the weights and of what was kept.

    `dx.x` may be `dout`.
    """
    (stream, memory), w, k, dw, dk = x, weights, kept, dweights, dkept
    n_head, lengths, precision = settings.n_head, settings.lengths, settings.precision
    tap("dout", dout)
    # forward: out = x + dropout(linear(attn))
    dbranch = dout.copy()
    tap("dbranch", dbranch)
    dropout_backward(dbranch, dropout.next_site(), dx=dbranch)
    linear_backward(
        dbranch, k.attn, w.proj_weight, w.proj_bias,
        dx=dk.attn, dweight=dw.proj_weight, dbias=dw.proj_bias, precision=precision,
    )  # fmt: skip
    tap("dattn", dk.attn)
    # forward: attn = cross_attention(q, kv)
    attn = k.attn
    if tap is not no_tap:  # a tap may have replaced it; delta needs the output of attention itself
        attn = np.empty_like(k.attn)
        cross_attention_forward(k.q, k.kv, lengths, n_head, dropout, out=attn, lse=k.lse)
        round_stored(attn, precision)
    cross_attention_backward(
        dk.attn, k.q, k.kv, lengths, n_head, dropout, out=attn, lse=k.lse, dq=dk.q, dkv=dk.kv
    )
    tap("dq", dk.q)
    tap("dkv", dk.kv)
    # forward: kv = linear(memory), here and in every other block
    dmemory = np.empty_like(memory)
    linear_backward(
        dk.kv, memory, w.kv_weight, w.kv_bias,
        dx=dmemory, dweight=dw.kv_weight, dbias=dw.kv_bias, precision=precision,
    )  # fmt: skip
    dx.memory[...] = dx.memory + dmemory if settings.adds else dmemory
    NORMS[settings.norm_kind].again(stream, w, k)  # recomputed
    tap("norm", k.norm)
    # forward: q = linear(norm)
    linear_backward(
        dk.q, k.norm, w.q_weight, w.q_bias,
        dx=dk.norm, dweight=dw.q_weight, dbias=dw.q_bias, precision=precision,
    )  # fmt: skip
    tap("dnorm", dk.norm)
    # forward: norm = norm(x)
    dx_branch = np.empty_like(stream)
    NORMS[settings.norm_kind].backward(stream, w, k, dx_branch, dw, dk)
    # forward: out = x + branch(x)
    dx.x[...] = dout + dx_branch
