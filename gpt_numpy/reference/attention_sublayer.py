"""Attention sublayer: layer norm, queries, keys and values, attention, projection, residual sum.

Source: Radford et al. (2019), section 2.3: layer norm comes first in each sublayer. With x the
residual stream, a sublayer adds to it what it has computed from it:

    out = x + dropout(linear(attention(linear(norm(x)))))

Backward of a sum: out = x + branch(x), so dx = dout + (what comes back through the branch). The
first term hands the gradient down from block to block unchanged: this is why deep stacks train.

Backward of a composition runs through the same functions in reverse, each taking the gradient that
the next one wrote. The output of the layer norm is not kept for backward but recomputed, into the
buffer that forward used: `kept.norm` is written in both directions.

Shapes: x, out, norm, attn (B, T, C); qkv (B, T, 3C); mean, rstd (B, T); lse (B, H, T).
"""

from typing import NamedTuple

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.reference.attention import attention_backward, attention_forward
from gpt_numpy.reference.dropout import Dropout, dropout_backward, dropout_forward
from gpt_numpy.reference.layernorm import layernorm_backward, layernorm_forward, normalise
from gpt_numpy.reference.linear import FULL, linear_backward, linear_forward
from gpt_numpy.reference.tap import Tap, no_tap


class AttentionWeights(NamedTuple):
    """The weights of the sublayer, or their gradients; biases may be None."""

    ln_weight: Array  # (C,)
    ln_bias: Array | None
    qkv_weight: Array  # (C, 3C)
    qkv_bias: Array | None
    proj_weight: Array  # (C, C)
    proj_bias: Array | None


class AttentionKept(NamedTuple):
    """What forward writes for backward, or the gradients (None for mean, rstd and lse)."""

    mean: Array
    rstd: Array
    norm: Array  # not saved: backward fills it again
    qkv: Array
    lse: Array
    attn: Array


class AttentionSettings(NamedTuple):
    """How the sublayer computes: heads, and the precision of its linear layers' operands."""

    n_head: int
    precision: str = FULL


def attention_sublayer_forward(
    x: Array,
    weights: AttentionWeights,
    kept: AttentionKept,
    *,
    settings: AttentionSettings,
    dropout: Dropout,
    out: Array,
    tap: Tap = no_tap,
) -> None:
    """Write the residual stream after attention to `out`.

    `dropout` masks the attention weights; the branch's mask is that of the following site.
    """
    w, k, branch = weights, kept, np.empty_like(x)
    n_head, precision = settings
    layernorm_forward(x, w.ln_weight, w.ln_bias, out=k.norm, mean=k.mean, rstd=k.rstd)
    tap("norm", k.norm)
    linear_forward(k.norm, w.qkv_weight, w.qkv_bias, out=k.qkv, precision=precision)
    tap("qkv", k.qkv)
    attention_forward(k.qkv, n_head, dropout, out=k.attn, lse=k.lse)
    tap("attn", k.attn)
    linear_forward(k.attn, w.proj_weight, w.proj_bias, out=branch, precision=precision)
    dropout_forward(branch, dropout.next_site(), out=branch)
    tap("branch", branch)
    out[...] = x + branch
    tap("out", out)


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
    tap: Tap = no_tap,
) -> None:
    """Write the gradients of `x`, of the weights and of what was kept; `dx` may be `dout`."""
    w, k, dw, dk = weights, kept, dweights, dkept
    n_head, precision = settings
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
    # forward: attn = attention(qkv)
    attn = k.attn
    if tap is not no_tap:  # a tap may have replaced it; delta needs the output of attention itself
        attn = np.empty_like(k.attn)
        attention_forward(k.qkv, n_head, dropout, out=attn, lse=k.lse)
    attention_backward(dk.attn, k.qkv, n_head, dropout, out=attn, lse=k.lse, dqkv=dk.qkv)
    tap("dqkv", dk.qkv)
    normalise(x, w.ln_weight, w.ln_bias, k.mean, k.rstd, out=k.norm)  # recomputed
    tap("norm", k.norm)
    # forward: qkv = linear(norm)
    linear_backward(
        dk.qkv, k.norm, w.qkv_weight, w.qkv_bias,
        dx=dk.norm, dweight=dw.qkv_weight, dbias=dw.qkv_bias, precision=precision,
    )  # fmt: skip
    tap("dnorm", dk.norm)
    # forward: norm = layernorm(x)
    dx_branch = np.empty_like(x)
    layernorm_backward(
        dk.norm, x, w.ln_weight, w.ln_bias, k.mean, k.rstd,
        dx=dx_branch, dweight=dw.ln_weight, dbias=dw.ln_bias,
    )  # fmt: skip
    # forward: out = x + branch(x)
    dx[...] = dout + dx_branch
