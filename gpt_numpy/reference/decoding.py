"""One more token for each sequence, with the keys and values of those before it kept.

Attention is the only place where positions meet, and a position sees only itself and those before
it (attention.py). So the keys and values of a position never change when the text continues: with
them kept, a new token costs one position. With t tokens before it,

    q, k, v = linear(norm(x))       K_t = k, V_t = v        kept from now on
    s_j     = sum_d q_d K_jd / sqrt(D)                      for j <= t: no mask, all are past
    attn_d  = sum_j softmax(s)_j V_jd

and everything else is what the sublayers do with one position. The logits are those that the whole
text would have given at its last position.

With bfloat16 products (bfloat16.py) the operands of the four products of a block and of the head
are rounded, as in the forward pass. The rounded weights are copied before the first step
(`decoding_copies`), so that a step reads 16 bits for each. How they lie in memory is a matter of
the implementation that reads them.

Sequences stand in slots, of which a step may take any: slot s holds lengths[s] tokens.

Shapes: tokens, slots (B,); lengths (S,); params, a vector; places (L + 1, 12), -1 where the model
has no such parameter (generation/kv_cache.py, `parameter_places`); wpe (T, C); out (B, V).
"""

import math
from typing import Any, NamedTuple

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.reference import activation as activations
from gpt_numpy.reference.bfloat16 import stored
from gpt_numpy.reference.layernorm import layernorm_forward
from gpt_numpy.reference.linear import BFLOAT16, FULL, PRODUCTS


class DecodingWeights(NamedTuple):
    """All parameters in one vector, where each one starts in it, and the position table.

    `copies` are the matrices rounded to bfloat16, as `decoding_copies` of the same implementation
    returns them; None: they are not rounded.
    """

    params: Array
    places: Array
    wpe: Array
    copies: Array | None = None


class KeysValues(NamedTuple):
    """The keys and values of all tokens so far, by layer and slot."""

    keys: Array  # (L, S, H, D, T)
    values: Array  # (L, S, H, T, D)


def decode_step(
    tokens: Array,
    slots: Array,
    lengths: Array,
    weights: DecodingWeights,
    kept: KeysValues,
    *,
    n_hidden: int,
    activation: str,
    out: Array,
) -> None:
    """Write the logits after one more token of each sequence to `out`; keep its key and value."""
    (params, places, wpe, copies), (keys, values) = weights, kept
    matrices = params if copies is None else copies
    product = PRODUCTS[FULL if copies is None else BFLOAT16]
    L, H, D = keys.shape[0], keys.shape[2], keys.shape[3]
    C, F, V = H * D, n_hidden, out.shape[1]
    vectors = ((C,), (C,), (3 * C,), (C,), (C,), (C,), (F,), (C,))
    x = params[places[L, 0] :][: V * C].reshape(V, C)[tokens] + wpe[lengths[slots]]
    for i in range(L):
        ln_1, ln_1_bias, qkv_bias, proj_bias = _parts(params, places[i, [0, 1, 3, 5]], vectors[:4])
        qkv, proj = _parts(matrices, places[i, [2, 4]], ((C, 3 * C), (C, C)))
        heads = _plus(product(_norm(x, ln_1, ln_1_bias), qkv), qkv_bias)
        attn = _attend(heads, slots, lengths, keys[i], values[i])
        x = x + _plus(product(attn, proj), proj_bias)
        ln_2, ln_2_bias, fc_bias, down_bias = _parts(params, places[i, [6, 7, 9, 11]], vectors[4:])
        fc, down = _parts(matrices, places[i, [8, 10]], ((C, F), (F, C)))
        hidden = _plus(product(_norm(x, ln_2, ln_2_bias), fc), fc_bias)
        activations.FORWARD[activation](hidden, out=hidden)
        x = x + _plus(product(hidden, down), down_bias)
    ln_f, ln_f_bias = _parts(params, places[L, 1:3], ((C,), (C,)))
    (head,) = _parts(matrices, places[L, 3:4], ((V, C),))
    out[...] = product(_norm(x, ln_f, ln_f_bias), head.T)


def decoding_copies(
    params: Array, places: Array, *, n_embd: int, n_hidden: int, vocab_size: int
) -> Array:
    """All parameters rounded to bfloat16, as uint16, each in its place."""
    return stored(params)


def _attend(qkv: Array, slots: Array, lengths: Array, keys: Array, values: Array) -> Array:
    """Put each sequence's new key and value in its slot; the average of its values, (B, C)."""
    H, D = keys.shape[1], keys.shape[2]
    attn = np.empty((len(slots), H, D), qkv.dtype)
    for b, slot in enumerate(slots):
        t = lengths[slot]
        q, keys[slot, :, :, t], values[slot, :, t] = qkv[b].reshape(3, H, D)
        s = np.einsum("hd,hdt->ht", q, keys[slot, :, :, : t + 1]) / math.sqrt(D)
        p = np.exp(s - s.real.max(axis=-1, keepdims=True))
        p = p / p.sum(axis=-1, keepdims=True)
        attn[b] = np.einsum("ht,htd->hd", p, values[slot, :, : t + 1])
    return attn.reshape(len(slots), H * D)


def _norm(x: Array, weight: Array, bias: Array | None) -> Array:
    out, mean, rstd = np.empty_like(x), np.empty(len(x), x.dtype), np.empty(len(x), x.dtype)
    layernorm_forward(x, weight, bias, out=out, mean=mean, rstd=rstd)
    return out


def _plus(x: Array, bias: Array | None) -> Array:
    return x if bias is None else x + bias


def _parts(params: Array, places: Array, shapes: tuple[tuple[int, ...], ...]) -> list[Any]:
    """The parameters that start at these places; None for one that the model does not have."""
    return [
        None if at < 0 else params[at : at + math.prod(shape)].reshape(shape)
        for at, shape in zip(places, shapes, strict=False)
    ]
