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

q and k are ready for attention, as the sublayer makes them: normalised and turned, if it does.

Shapes: tokens, slots (B,); lengths (S,); params, a vector; places (L + 1, 15), -1 where the model
has no such parameter (generation/kv_cache.py, `parameter_places`); wpe (T, C); out (B, V).
"""

import math
from typing import Any, NamedTuple

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.reference import activation as activations
from gpt_numpy.reference.bfloat16 import stored
from gpt_numpy.reference.cross_entropy import capped
from gpt_numpy.reference.layernorm import layernorm_forward
from gpt_numpy.reference.linear import BFLOAT16, FULL, PRODUCTS, round_stored
from gpt_numpy.reference.norms import RMSNORM
from gpt_numpy.reference.queries_keys import queries_keys_forward
from gpt_numpy.reference.rmsnorm import rmsnorm_forward


class DecodingWeights(NamedTuple):
    """All parameters in one vector, where each one starts in it, and the tables of positions.

    `copies` are the matrices rounded to bfloat16, as `decoding_copies` of the same implementation
    returns them; None: they are not rounded.
    """

    params: Array
    places: Array
    wpe: Array | None  # (T, C), if vectors of positions are added
    copies: Array | None = None
    rotations: Array | None = None  # (T, D), if queries and keys turn


class DecodingSettings(NamedTuple):
    """The shape of a model, and how a step computes: nonlinearity, norm, soft cap."""

    n_head: int
    n_kv_head: int
    n_embd: int
    n_hidden: int
    activation: str
    norm_kind: str
    softcap: float
    norm_eps: float

    @property
    def qkv_width(self) -> int:
        """Channels of queries, keys and values together."""
        return self.n_embd + 2 * self.n_kv_head * (self.n_embd // self.n_head)

    @property
    def fc_width(self) -> int:
        """Channels of the MLP's first product: SwiGLU takes two for each that it writes."""
        return 2 * self.n_hidden if self.activation == "swiglu" else self.n_hidden


class KeysValues(NamedTuple):
    """The keys and values of all tokens so far, by layer and slot."""

    keys: Array  # (L, S, G, D, T)
    values: Array  # (L, S, G, T, D)


def decode_step(
    tokens: Array,
    slots: Array,
    lengths: Array,
    weights: DecodingWeights,
    kept: KeysValues,
    *,
    settings: DecodingSettings,
    out: Array,
) -> None:
    """Write the logits after one more token of each sequence to `out`; keep its key and value."""
    (params, places, wpe, copies, rotations), (keys, values) = weights, kept
    matrices = params if copies is None else copies
    precision = FULL if copies is None else BFLOAT16
    product = PRODUCTS[precision]
    L, G, D = keys.shape[0], keys.shape[2], keys.shape[3]
    C, F, V = settings.n_embd, settings.n_hidden, out.shape[1]
    kind = settings.norm_kind, settings.norm_eps
    Q, W = settings.qkv_width, settings.fc_width
    at = lengths[slots]
    turns = None if rotations is None else rotations[at]
    wte = params[places[L, 0] :][: V * C].reshape(V, C)
    x = wte[tokens] if wpe is None else wte[tokens] + wpe[at]
    for i in range(L):
        ln_1, ln_1_bias, qkv_bias, proj_bias, q_norm, k_norm = _parts(
            params, places[i, [0, 1, 3, 5, 6, 7]], ((C,), (C,), (Q,), (C,), (D,), (D,))
        )
        qkv, proj = _parts(matrices, places[i, [2, 4]], ((C, Q), (C, C)))
        heads = _plus(product(_norm(x, ln_1, ln_1_bias, kind), qkv), qkv_bias)
        if q_norm is k_norm is turns is None:
            round_stored(heads, precision)
        heads = _ready(heads, (settings.n_head, G), q_norm, k_norm, settings.norm_eps, turns)
        attn = _attend(heads, slots, lengths, keys[i], values[i])
        x = x + _plus(product(attn, proj), proj_bias)
        ln_2, ln_2_bias, fc_bias, down_bias = _parts(
            params, places[i, [9, 10, 12, 14]], ((C,), (C,), (W,), (C,))
        )
        fc, down = _parts(matrices, places[i, [11, 13]], ((C, W), (F, C)))
        inside = _plus(product(_norm(x, ln_2, ln_2_bias, kind), fc), fc_bias)
        if settings.activation != "swiglu":
            round_stored(inside, precision)
        hidden = np.empty((len(x), F), x.dtype)
        activations.FORWARD[settings.activation](inside, out=hidden)
        x = x + _plus(product(hidden, down), down_bias)
    ln_f, ln_f_bias = _parts(params, places[L, 1:3], ((C,), (C,)))
    (head,) = _parts(matrices, places[L, 3:4], ((V, C),))
    out[...] = capped(product(_norm(x, ln_f, ln_f_bias, kind), head.T), settings.softcap)


def decoding_copies(
    params: Array,
    places: Array,
    *,
    settings: DecodingSettings,
    vocab_size: int,
    out: Array | None = None,
) -> Array:
    """All parameters rounded to bfloat16, as uint16, each in its place; in `out`, if given."""
    if out is None:
        return stored(params)
    out[...] = stored(params)
    return out


def _ready(
    qkv: Array, heads: tuple[int, int], q_norm: Array | None, k_norm: Array | None, eps: float,
    turns: Array | None,
) -> Array:  # fmt: skip
    """What attention reads, (B, C + 2 G D): queries and keys normalised and turned."""
    if q_norm is None and turns is None:
        return qkv
    ready = np.empty_like(qkv)
    for b in range(len(qkv)):  # each a sequence of one position, with turns of its own
        queries_keys_forward(
            qkv[b : b + 1, None], *heads, q_norm=q_norm, k_norm=k_norm, eps=eps,
            rotations=None if turns is None else turns[b : b + 1], out=ready[b : b + 1, None],
        )  # fmt: skip
    return ready


def _attend(qkv: Array, slots: Array, lengths: Array, keys: Array, values: Array) -> Array:
    """Put each sequence's new key and value in its slot; the average of its values, (B, C)."""
    G, D = keys.shape[1], keys.shape[2]
    H = qkv.shape[1] // D - 2 * G
    attn = np.empty((len(slots), G, H // G, D), qkv.dtype)
    for b, slot in enumerate(slots):
        t, each = lengths[slot], qkv[b].reshape(H + 2 * G, D)
        q = each[:H].reshape(G, H // G, D)
        keys[slot, :, :, t], values[slot, :, t] = each[H : H + G], each[H + G :]
        s = np.einsum("ghd,gdt->ght", q, keys[slot, :, :, : t + 1]) / math.sqrt(D)
        p = np.exp(s - s.real.max(axis=-1, keepdims=True))
        p = p / p.sum(axis=-1, keepdims=True)
        attn[b] = np.einsum("ght,gtd->ghd", p, values[slot, :, : t + 1])
    return attn.reshape(len(slots), H * D)


def _norm(x: Array, weight: Array, bias: Array | None, kind: tuple[str, float]) -> Array:
    out, mean, rstd = np.empty_like(x), np.empty(len(x), x.dtype), np.empty(len(x), x.dtype)
    name, eps = kind
    if name == RMSNORM:
        rmsnorm_forward(x, weight, out=out, rstd=rstd, eps=eps)
    else:
        layernorm_forward(x, weight, bias, out=out, mean=mean, rstd=rstd, eps=eps)
    return out


def _plus(x: Array, bias: Array | None) -> Array:
    return x if bias is None else x + bias


def _parts(params: Array, places: Array, shapes: tuple[tuple[int, ...], ...]) -> list[Any]:
    """The parameters that start at these places; None for one that the model does not have."""
    return [
        None if at < 0 else params[at : at + math.prod(shape)].reshape(shape)
        for at, shape in zip(places, shapes, strict=False)
    ]
