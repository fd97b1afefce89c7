"""Causal multi-head attention: each position averages the values of the positions it may see.

Sources: Vaswani et al., "Attention Is All You Need" (2017), equation 1 and section 3.2.2; `delta`
is from Dao et al., "FlashAttention" (2022), appendix B, and one log-sum-exp a row, kept for
backward, from Dao, "FlashAttention-2" (2023).

qkv holds, for every position, queries, keys and values side by side, each of C = H D channels: head
h owns channels h D to (h + 1) D of each. Everything below happens in each sequence and head alone.

Forward. A query at position q sees the keys at k <= q; later ones are masked. All sums over k run
over k <= q only, and p_qk = w_qk = 0 for k > q:

    s_qk   = sum_d Q_qd K_kd / sqrt(D)          scores; sqrt(D) keeps their spread near 1
    lse_q  = log sum_k exp(s_qk)                kept for backward
    p_qk   = exp(s_qk - lse_q)                  softmax: positive, each row sums to 1
    w_qk   = dropout(p_qk)
    out_qd = sum_k w_qk V_kd

Backward. Given dout:

1.  out = w V is a matrix product, so as in linear.py

        dw_qk = sum_d dout_qd V_kd              dV_kd = sum_q w_qk dout_qd

2.  dp from dw by dropout's own backward (dropout.py): with m_qk = keep_qk / (1 - rate),
    w = p m and dp = dw m.

3.  Softmax. A score raises its own weight and lowers all others of its row:

        ∂p_qk/∂s_qj = p_qk ([k = j] - p_qj)     because ∂lse_q/∂s_qj = p_qj

        ds_qj = sum_k dp_qk p_qk ([k = j] - p_qj)
              = dp_qj p_qj - p_qj sum_k dp_qk p_qk       only k = j is left of the first part
              = p_qj (dp_qj - delta_q),         delta_q = sum_k p_qk dp_qk

    Masked positions have p = 0, so ds = 0: nothing flows back from the future.

4.  delta needs no sum over k: since p dp = p dw m = w dw,

        delta_q = sum_k w_qk dw_qk = sum_k w_qk sum_d dout_qd V_kd = sum_d dout_qd out_qd

5.  s = Q K^T / sqrt(D), so again as in linear.py

        dQ_qd = sum_k ds_qk K_kd / sqrt(D)      dK_kd = sum_q ds_qk Q_qd / sqrt(D)

p is recomputed from qkv and lse; no T x T array is kept.

Grouped heads (Ainslie et al., "GQA", 2023). There may be fewer heads of keys and values, G of them:
H / G neighbouring query heads then share one, and qkv is C + 2 G D channels wide. Query head h sees
the keys and values of head j = h G // H. As in any sum, what is read several times collects a
gradient from each reader:

    dK_jkd = sum over the heads h of group j of sum_q ds_hqk Q_hqd / sqrt(D)          likewise dV

Without the causal mask, as in an encoder, every query of sequence b sees the keys k < lengths_b:
all of its tokens, before and after it, but not the padding that follows them. Nothing above depends
on which keys are seen, as long as p_qk = 0 for the others: their keys and values get no gradient.

Shapes: qkv (B, T, C + 2 G D), as a rule 3C; out (B, T, C); lse (B, H, T); Q (B, H, T, D); K, V
(B, G, T, D); s, p, w (B, H, T, T); lengths (B,), from 1 to T. The mask of dropout belongs to w as a
(B, H, T, T) array.
"""

import math

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.reference.dropout import Dropout, dropout_backward, dropout_forward


def attention_forward(
    qkv: Array,
    n_head: int,
    dropout: Dropout,
    out: Array,
    lse: Array,
    *,
    n_kv_head: int = 0,
    lengths: Array | None = None,
) -> None:
    """Write each position's average of values to `out`, and its log-sum-exp to `lse`.

    n_kv_head : heads of keys and of values, G; 0: as many as queries have.
    lengths : how many positions of each sequence are seen from all of them; None: a causal mask.
    """
    Q, K, V = split_qkv(qkv, n_head, n_kv_head)
    V = for_queries(V, n_head)
    s = scores(Q, K)
    p = masked_softmax(s, visible(s, lengths), lse=lse)
    w = np.empty_like(p)
    dropout_forward(p, dropout, out=w)
    out[...] = merge_heads(w @ V)


def attention_backward(
    dout: Array,
    qkv: Array,
    n_head: int,
    dropout: Dropout,
    out: Array,
    lse: Array,
    dqkv: Array,
    *,
    n_kv_head: int = 0,
    lengths: Array | None = None,
) -> None:
    """Write the gradient of `qkv`."""
    Q, K, V = split_qkv(qkv, n_head, n_kv_head)
    dQ, dK, dV = split_qkv(dqkv, n_head, n_kv_head)
    (dO,) = split_heads(dout, n_head, parts=1)
    K, V = for_queries(K, n_head), for_queries(V, n_head)
    scale = 1 / math.sqrt(Q.shape[-1])
    p = probabilities(Q, K, lse, lengths)
    w, dp = np.empty_like(p), np.empty_like(p)
    # forward: w = dropout(p); out = w @ V
    dropout_forward(p, dropout, out=w)
    dw = dO @ V.swapaxes(-1, -2)
    dV[...] = sum_of_groups(w.swapaxes(-1, -2) @ dO, dV.shape[1])
    dropout_backward(dw, dropout, dx=dp)
    # forward: p = softmax(s)
    (out_heads,) = split_heads(out, n_head, parts=1)
    delta = (dO * out_heads).sum(axis=-1, keepdims=True)
    ds = p * (dp - delta)
    # forward: s = Q @ K.T / sqrt(D)
    dQ[...] = ds @ K * scale
    dK[...] = sum_of_groups(ds.swapaxes(-1, -2) @ Q * scale, dK.shape[1])


def split_qkv(qkv: Array, n_head: int, n_kv_head: int = 0) -> tuple[Array, Array, Array]:
    """Views of queries (B, H, T, D), keys and values (B, G, T, D)."""
    B, T, channels = qkv.shape
    G = n_kv_head or n_head
    heads = qkv.reshape(B, T, n_head + 2 * G, channels // (n_head + 2 * G)).transpose(0, 2, 1, 3)
    return heads[:, :n_head], heads[:, n_head : n_head + G], heads[:, n_head + G :]


def for_queries(x: Array, n_head: int) -> Array:
    """Keys or values once for every query head that sees them: (B, G, T, D) to (B, H, T, D)."""
    G = x.shape[1]
    return x if G == n_head else np.repeat(x, n_head // G, axis=1)


def sum_of_groups(dx: Array, n_kv_head: int) -> Array:
    """What the query heads of each group contribute together: (B, H, T, D) to (B, G, T, D)."""
    B, H, T, D = dx.shape
    if n_kv_head == H:
        return dx
    total: Array = dx.reshape(B, n_kv_head, H // n_kv_head, T, D).sum(axis=2)
    return total


def split_heads(x: Array, n_head: int, parts: int = 3) -> tuple[Array, ...]:
    """Views (B, H, T, D) of the `parts` side by side in the channels of `x`."""
    B, T, channels = x.shape
    D = channels // (parts * n_head)
    return tuple(x.reshape(B, T, parts, n_head, D).transpose(2, 0, 3, 1, 4))


def merge_heads(x: Array) -> Array:
    """The heads of `x`, (B, H, T, D), side by side again: (B, T, C)."""
    B, H, T, D = x.shape
    return x.transpose(0, 2, 1, 3).reshape(B, T, H * D)


def causal_mask(s: Array) -> Array:
    """True where a query may see a key: at its own position and before."""
    return np.tri(s.shape[-2], s.shape[-1], dtype=bool)


def visible(s: Array, lengths: Array | None) -> Array:
    """True where a query may see a key: by the causal mask, or in all that is no padding."""
    if lengths is None:
        return causal_mask(s)
    return np.arange(s.shape[-1]) < lengths[:, None, None, None]


def scores(Q: Array, K: Array) -> Array:
    """How well each query matches each key, (B, H, T, T), the masked ones included."""
    return Q @ for_queries(K, Q.shape[1]).swapaxes(-1, -2) * (1 / math.sqrt(Q.shape[-1]))


def masked_softmax(s: Array, seen: Array, *, lse: Array) -> Array:
    """The softmax over the keys that each query sees, (B, H, T, T); its log-sum-exp to `lse`."""
    largest = np.where(seen, s.real, -np.inf).max(axis=-1)
    p = np.where(seen, np.exp(np.where(seen, s - largest[..., None], 0)), 0)
    total = p.sum(axis=-1)
    lse[...] = largest + np.log(total)
    p /= total[..., None]
    return p


def probabilities(Q: Array, K: Array, lse: Array, lengths: Array | None = None) -> Array:
    """The softmax of the scores, computed again from what forward kept."""
    s = scores(Q, K)
    seen = visible(s, lengths)
    return np.where(seen, np.exp(np.where(seen, s - lse[..., None], 0)), 0)
