"""Attention sublayer: layer norm, queries, keys and values, attention, projection, residual sum.

Source: Radford et al. (2019), section 2.3: layer norm comes first in each sublayer. With x the
residual stream, a sublayer adds to it what it has computed from it:

    out = x + dropout(linear(attention(linear(norm(x)))))

Backward of a sum: out = x + branch(x), so dx = dout + (what comes back through the branch). The
first term hands the gradient down from block to block unchanged: this is why deep stacks train.

Backward of a composition runs through the same functions in reverse, each taking the gradient that
the next one wrote. The output of the layer norm is not kept for backward but recomputed, into the
buffer that forward used: `kept.norm` is written in both directions.

With QK norm or rotary positions attention reads `ready`, made from qkv (queries_keys.py). With
`lengths` it has no causal mask: an encoder sees all of its source (attention.py).

Post-norm (Vaswani et al., 2017, section 5.4), norm(x + dropout(sublayer(x))), is this sublayer with
the norm kind "none", followed by a norm of its own (norm_layer.py).

Shapes: x, out, norm, attn (B, T, C); qkv, ready (B, T, C + 2 G D) with G heads of keys and values,
as a rule H, which makes 3C; mean, rstd (B, T); lse (B, H, T); lengths (B,).
"""

from typing import NamedTuple

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.reference.attention import attention_backward, attention_forward
from gpt_numpy.reference.dropout import Dropout, dropout_backward, dropout_forward
from gpt_numpy.reference.layernorm import EPS
from gpt_numpy.reference.linear import FULL, linear_backward, linear_forward, round_stored
from gpt_numpy.reference.norms import LAYERNORM, NORMS
from gpt_numpy.reference.queries_keys import queries_keys_backward, queries_keys_forward
from gpt_numpy.reference.tap import Tap, no_tap


class AttentionWeights(NamedTuple):
    """The weights of the sublayer, or their gradients; biases may be None."""

    ln_weight: Array | None  # (C,); None without a norm
    ln_bias: Array | None  # RMSNorm has none
    qkv_weight: Array  # (C, C + 2 G D)
    qkv_bias: Array | None
    proj_weight: Array  # (C, C)
    proj_bias: Array | None
    q_norm: Array | None = None  # (D,), with QK norm
    k_norm: Array | None = None
    rotations: Array | None = None  # (block_size, D), fixed, with rotary positions


class AttentionKept(NamedTuple):
    """What forward writes for backward, or the gradients (None for mean, rstd and lse)."""

    mean: Array | None  # RMSNorm has none
    rstd: Array | None
    norm: Array  # not saved: backward fills it again
    qkv: Array
    lse: Array
    attn: Array
    ready: Array | None = None  # with QK norm or rotary positions

    @property
    def attended(self) -> Array:
        """What attention reads: `ready`, or where there is none qkv itself."""
        return self.qkv if self.ready is None else self.ready


class AttentionSettings(NamedTuple):
    """How the sublayer computes: heads, norm, precision of the products' operands, and the mask.

    `lengths`, (B,), says how many positions of each sequence are seen; None: a causal mask.
    """

    n_head: int
    n_kv_head: int
    norm_kind: str = LAYERNORM
    precision: str = FULL
    lengths: Array | None = None
    norm_eps: float = EPS


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
    n_head, n_kv_head, precision = settings.n_head, settings.n_kv_head, settings.precision
    NORMS[settings.norm_kind].forward(x, w, k, settings.norm_eps)
    tap("norm", k.norm)
    linear_forward(k.norm, w.qkv_weight, w.qkv_bias, out=k.qkv, precision=precision)
    if k.ready is None:
        round_stored(k.qkv, precision)
    tap("qkv", k.qkv)
    if k.ready is not None:
        queries_keys_forward(
            k.qkv, n_head, n_kv_head,
            q_norm=w.q_norm, k_norm=w.k_norm, rotations=w.rotations,
            eps=settings.norm_eps, out=k.ready,
        )  # fmt: skip
        tap("ready", k.ready)
    _attend(k, settings, dropout, out=k.attn)
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
    n_head, n_kv_head, precision = settings.n_head, settings.n_kv_head, settings.precision
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
    # forward: attn = attention(attended)
    attn = k.attn
    if tap is not no_tap:  # a tap may have replaced it; delta needs the output of attention itself
        attn = np.empty_like(k.attn)
        _attend(k, settings, dropout, out=attn)
    attention_backward(
        dk.attn, k.attended, n_head, dropout,
        out=attn, lse=k.lse, dqkv=dk.attended, n_kv_head=n_kv_head, lengths=settings.lengths,
    )  # fmt: skip
    # forward: ready = queries_keys(qkv)
    if dk.ready is not None:
        tap("dready", dk.ready)
        queries_keys_backward(
            dk.ready, k.qkv, n_head, n_kv_head,
            q_norm=w.q_norm, k_norm=w.k_norm, rotations=w.rotations,
            eps=settings.norm_eps, dqkv=dk.qkv, dq_norm=dw.q_norm, dk_norm=dw.k_norm,
        )  # fmt: skip
    tap("dqkv", dk.qkv)
    NORMS[settings.norm_kind].again(x, w, k)  # recomputed
    tap("norm", k.norm)
    # forward: qkv = linear(norm)
    linear_backward(
        dk.qkv, k.norm, w.qkv_weight, w.qkv_bias,
        dx=dk.norm, dweight=dw.qkv_weight, dbias=dw.qkv_bias, precision=precision,
    )  # fmt: skip
    tap("dnorm", dk.norm)
    # forward: norm = norm(x)
    dx_branch = np.empty_like(x)
    NORMS[settings.norm_kind].backward(x, w, k, dx_branch, dw, dk)
    # forward: out = x + branch(x)
    dx[...] = dout + dx_branch


def _attend(k: AttentionKept, settings: AttentionSettings, dropout: Dropout, out: Array) -> None:
    """Attention's output, rounded as it is stored, to `out`, and its log-sum-exp to `k.lse`."""
    attention_forward(
        k.attended, settings.n_head, dropout,
        out=out, lse=k.lse, n_kv_head=settings.n_kv_head, lengths=settings.lengths,
    )  # fmt: skip
    round_stored(out, settings.precision)
