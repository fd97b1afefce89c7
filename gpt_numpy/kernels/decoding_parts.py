"""The parts of a step of decoding: shares of products, norms, heads, hidden channels, logits.

Each is called by one worker for one task of decoding.py. Products are split along their inner
dimension: the rows of a weight that a task takes are contiguous, and its partial sums (shares) go
to a place of their own. Whatever needs the product adds the shares up, in order.
"""

import math

from gpt_numpy.kernels.activation import SWIGLU, activate_row, swiglu_row
from gpt_numpy.kernels.cross_entropy import cap_row
from gpt_numpy.kernels.decoding_products import (
    add_products,
    dot,
    dot_pairs,
    multiply_pairs,
    multiply_part,
    round_row,
)
from gpt_numpy.kernels.decoding_weights import (
    COLUMNS,
    HEAD,
    LN_1,
    LN_1_BIAS,
    WTE,
    block_pairs,
    matrix_start,
    parameter,
)
from gpt_numpy.kernels.elementary import like
from gpt_numpy.kernels.engine.jit import routine
from gpt_numpy.kernels.layernorm import normalise_row, row_statistics
from gpt_numpy.kernels.norms import NUMBERS as NORMS
from gpt_numpy.kernels.products.prefetch import LINE, address_of, prefetch
from gpt_numpy.kernels.queries_keys import ready_head
from gpt_numpy.kernels.rmsnorm import divide_row, reciprocal_root
from gpt_numpy.kernels.rows import (
    add_in_place,
    copy,
    exp_in_place,
    fill,
    largest,
    scale_in_place,
)  # fmt: skip

RMSNORM = NORMS["rmsnorm"]
AHEAD = 6144  # bytes: a row takes less time than its way from memory


@routine
def add_shares(shares, each, parts, at, bias, out):
    """Add to `out` the shares of all parts, in order, and the bias; `each` part is so long."""
    for part in range(parts):
        start = part * each + at
        add_in_place(out, shares[start : start + out.size])
    if bias.size > 0:
        add_in_place(out, bias)


@routine
def round_for(pairs, row):
    """Round a row where the forward pass rounds it: with matrices in pairs."""
    if pairs.size > 0:
        round_row(row)


@routine
def normalise_into(norm, x, weight, bias, pairs, out):
    """The norm of one row; `norm` is its kind and its eps."""
    kind, eps = norm
    if kind == RMSNORM:
        divide_row(x, weight, like(reciprocal_root(x, eps), x), out)
    else:
        mean, rstd = row_statistics(x, eps)
        normalise_row(x, weight, bias, like(mean, x), like(rstd, x), out)
    round_for(pairs, out)


@routine
def attend(query, t, T, keys, values, scores, out):
    """The average of a head's values up to position t, by how well the query matches its keys."""
    D = query.size
    seen = scores[: t + 1]
    fill(seen, 0.0)
    add_products(query, keys, T, seen)
    total = exp_in_place(seen, largest(seen), like(1.0 / math.sqrt(D), scores))
    fill(out, 0.0)
    add_products(seen, values, D, out)
    scale_in_place(out, like(1.0 / total, scores))


@routine
def embed(b, weights, L, C, wpe, token, t, x, norm, kind):
    """A token's first residual stream, and its norm for the first block."""
    params, places, pairs = weights
    row = x[b * C : (b + 1) * C]
    at = places[L * COLUMNS + WTE] + token * C
    copy(params[at : at + C], row)
    if wpe.size > 0:
        add_in_place(row, wpe[t * C : (t + 1) * C])
    weight = parameter(weights, 0, LN_1, C)
    bias = parameter(weights, 0, LN_1_BIAS, C)
    normalise_into(kind, row, weight, bias, pairs, norm[b * C : (b + 1) * C])


@routine
def add_and_normalise(b, weights, product, each, following, C, x, norm):
    """Add a product to a sequence's residual stream; its norm for what comes next.

    `product` is its shares, how many parts they have, and the bias; `following` kind and eps of
    the norm, and row and column of its weight in the table.
    """
    at = b * C
    (shares, parts, bias), (kind, norm_row, norm_column) = product, following
    add_shares(shares, each, parts, at, bias, x[at : at + C])
    weight = parameter(weights, norm_row, norm_column, C)
    norm_bias = parameter(weights, norm_row, norm_column + 1, C)
    normalise_into(kind, x[at : at + C], weight, norm_bias, weights[2], norm[at : at + C])


@routine
def collect(shares, parts, B, breadth, b, at, bias, out):
    """The sums of a product of sequence b, from column `at` on, with their bias."""
    fill(out, 0.0)
    some = bias[at : at + out.size] if bias.size > 0 else bias
    add_shares(shares, B * breadth, parts, b * breadth + at, some, out)


@routine
def heads_attention(b, shared, product, sizes, t, norms, rotation, kept, mine, attn):
    """The query heads that share a head of keys and values, of one sequence.

    `product` is the shares of qkv, how many parts they have, and the bias; `norms` the weights and
    the eps of the norms of queries and keys; `kept` the keys and values of this head.
    """
    (shares, parts, bias), (B, C, G, D, T) = product, sizes
    (keys, values), (q_norm, k_norm, eps), (scores, qkv, pairs) = kept, norms, mine
    each, breadth = C // G, C + 2 * G * D
    collect(shares, parts, B, breadth, b, shared * each, bias, qkv[:each])
    key, value = qkv[each : each + D], qkv[each + D : each + 2 * D]
    collect(shares, parts, B, breadth, b, C + shared * D, bias, key)
    collect(shares, parts, B, breadth, b, C + (G + shared) * D, bias, value)
    if q_norm.size + k_norm.size + rotation.size == 0:  # then qkv is what attention reads
        round_for(pairs, qkv[: each + 2 * D])
    ready_head(key, 0, D, k_norm, eps, rotation, 0, key, 0)
    for d in range(D):
        keys[d * T + t] = key[d]
        values[t * D + d] = value[d]
    for at in range(0, each, D):
        query, goal = qkv[at : at + D], b * C + shared * each + at
        ready_head(query, 0, D, q_norm, eps, rotation, 0, query, 0)
        attend(query, t, T, keys, values, scores, attn[goal : goal + D])


@routine
def activate_part(first, rows, shares, parts, sizes, bias, kind, pairs, hidden, inside):
    """The hidden channels that a task of the projection down takes, of all sequences.

    `inside` : memory for what the nonlinearity reads, twice `rows`: in place its loops would not be
    vector code.
    """
    B, F, breadth = sizes
    first_half, second_half = inside[:rows], inside[rows : 2 * rows]
    for b in range(B):
        row = hidden[b * F + first : b * F + first + rows]
        collect(shares, parts, B, breadth, b, first, bias, first_half)
        if kind == SWIGLU:
            collect(shares, parts, B, breadth, b, F + first, bias, second_half)
            swiglu_row(first_half, second_half, row)
        else:
            round_for(pairs, first_half)
            activate_row(kind, first_half, row)
        round_for(pairs, row)


@routine
def ask_ahead(pairs, at, size):
    """Ask for as much as a row of the head takes, some rows after the one at `at`."""
    address = address_of(pairs, at) + AHEAD
    for byte in range(0, size * pairs.itemsize, LINE):
        prefetch(address + byte)


@routine
def logits_part(first, last, weights, L, V, B, widths, norm, cap, out):
    """The logits of the tokens from `first` to `last`, of all sequences; cap 0: no soft cap."""
    (params, places, pairs), C = weights, widths[0]
    at, half = places[L * COLUMNS + HEAD], (C + 1) // 2
    if pairs.size > 0:
        head = pairs[L * block_pairs(widths) :]
        for v in range(first, last):
            ask_ahead(head, v * half, half)
            for b in range(B):
                out[b * V + v] = dot_pairs(
                    head[v * half : (v + 1) * half], norm[b * C : (b + 1) * C]
                )
    else:
        for v in range(first, last):
            row = params[at + v * C : at + v * C + C]
            for b in range(B):
                out[b * V + v] = dot(row, norm[b * C : (b + 1) * C])
    if cap != 0.0:
        for b in range(B):
            some = out[b * V + first : b * V + last]
            cap_row(some, cap, some)


@routine
def product_task(part, rows, x, inner, weights, place, breadth, B, widths, shares):
    """One task of a product: its rows of the weight in this place, a layer and a column."""
    (layer, column), first = place, part * rows
    at, deep = part * B * breadth, min(rows, inner - first)
    mine, pairs = shares[at : at + B * breadth], weights[2]
    if pairs.size > 0:
        start = layer * block_pairs(widths) + matrix_start(column, widths)
        multiply_pairs(x, inner, first, deep, pairs[start:], breadth, B, mine)
    else:
        weight = parameter(weights, layer, column, inner * breadth)
        multiply_part(x, inner, first, deep, weight, breadth, B, mine)
