"""Cross-attention: the queries of one stream average values of another, the encoder's output.

Source: Vaswani et al., "Attention Is All You Need" (2017), sections 3.2.2 and 3.2.3. The softmax
and its backward are those of attention.py; here is what differs.

q holds the queries of a target of T positions, kv keys and values, side by side, of a source of S
positions. There is no causal mask: the whole source is there before the target's first token. But
sources of one batch have different lengths, and what follows their last token is padding, which no
query sees. All sums over k run over k < lengths_b, and p_qk = w_qk = 0 for the others:

    s_qk   = sum_d Q_qd K_kd / sqrt(D)          for every target position q, source position k
    lse_q  = log sum_k exp(s_qk)
    p_qk   = exp(s_qk - lse_q),   w_qk = dropout(p_qk)
    out_qd = sum_k w_qk V_kd

Backward. Nothing in attention.py, 1 to 5, used that queries and keys belong to one stream:

    dw_qk = sum_d dout_qd V_kd
    ds_qk = p_qk (dp_qk - delta_q)              delta_q = sum_d dout_qd out_qd
    dQ_qd = sum_k ds_qk K_kd / sqrt(D)          goes down the target's stream
    dK_kd = sum_q ds_qk Q_qd / sqrt(D)          dV_kd = sum_q w_qk dout_qd      go to the source

Keys and values of padding have p = 0 in every row: their gradients are exactly 0, so padding
neither enters a loss nor learns from it. If a target is padded, its last positions have losses that
do not count; dout is 0 there, so they send nothing to the source either.

Where the gradients of the source meet. Every decoder block l computes keys and values of its own
from the same encoder output `memory`, kv_l = linear_l(memory) (cross_attention_sublayer.py). By the
chain rule each of the L blocks contributes, and the encoder gets their sum:

    dmemory = sum_l dkv_l weight_l.T

This sum is the only way from the loss to the encoder.

Shapes: q, out (B, T, C); kv (B, S, 2C); lengths (B,), from 1 to S; lse (B, H, T); Q (B, H, T, D);
K, V (B, H, S, D); s, p, w (B, H, T, S). The mask of dropout belongs to w as such an array.
"""

import math

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.reference.attention import (
    masked_softmax,
    merge_heads,
    probabilities,
    scores,
    split_heads,
    visible,
)
from gpt_numpy.reference.dropout import Dropout, dropout_backward, dropout_forward


def cross_attention_forward(
    q: Array, kv: Array, lengths: Array, n_head: int, dropout: Dropout, out: Array, lse: Array
) -> None:
    """Write each target position's average of the source's values to `out`, log-sum-exp to `lse`.

    lengths : how many positions of each source there are before its padding.
    """
    (Q,), (K, V) = split_heads(q, n_head, parts=1), split_heads(kv, n_head, parts=2)
    s = scores(Q, K)
    p = masked_softmax(s, visible(s, lengths), lse=lse)
    w = np.empty_like(p)
    dropout_forward(p, dropout, out=w)
    out[...] = merge_heads(w @ V)


def cross_attention_weights(q: Array, kv: Array, lengths: Array, n_head: int, lse: Array) -> Array:
    """The weights before dropout, (B, H, T, S), computed again from what forward kept."""
    (Q,), (K, _) = split_heads(q, n_head, parts=1), split_heads(kv, n_head, parts=2)
    return probabilities(Q, K, lse, lengths)


def cross_attention_backward(
    dout: Array,
    q: Array,
    kv: Array,
    lengths: Array,
    n_head: int,
    dropout: Dropout,
    out: Array,
    lse: Array,
    dq: Array,
    dkv: Array,
) -> None:
    """Write the gradients of `q` and of `kv`."""
    (Q,), (K, V) = split_heads(q, n_head, parts=1), split_heads(kv, n_head, parts=2)
    (dQ,), (dK, dV) = split_heads(dq, n_head, parts=1), split_heads(dkv, n_head, parts=2)
    (dO,) = split_heads(dout, n_head, parts=1)
    scale = 1 / math.sqrt(Q.shape[-1])
    p = probabilities(Q, K, lse, lengths)
    w, dp = np.empty_like(p), np.empty_like(p)
    # forward: w = dropout(p); out = w @ V
    dropout_forward(p, dropout, out=w)
    dw = dO @ V.swapaxes(-1, -2)
    dV[...] = w.swapaxes(-1, -2) @ dO
    dropout_backward(dw, dropout, dx=dp)
    # forward: p = softmax(s)
    (out_heads,) = split_heads(out, n_head, parts=1)
    delta = (dO * out_heads).sum(axis=-1, keepdims=True)
    ds = p * (dp - delta)
    # forward: s = Q @ K.T / sqrt(D)
    dQ[...] = ds @ K * scale
    dK[...] = ds.swapaxes(-1, -2) @ Q * scale
