"""One more token for each sequence, the whole model in one launch.

A step reads every weight once and computes little with it, so it is bound by memory: all threads
must read without a pause. Products are split along their inner dimension: the rows of a weight that
a task takes are contiguous, and its partial sums (shares) go to a place of their own. Whatever
needs the product adds the shares up, in order.

Tasks are numbered through all parts of the model and drawn in this order. A task waits until all
earlier parts are done; their tasks have all been drawn by then, so any number of workers finishes,
even one. Sums do not depend on which worker computes them, nor on the number of sequences: a
sequence gets the same bits alone as in a batch.

With `pairs`, matrices are read in bfloat16 (decoding_weights.py), and what they multiply is rounded
where it is written. Everything else is the same, in float32.
"""

import math

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.activation import NUMBERS, activate_row
from gpt_numpy.kernels.decoding_products import (
    EIGHT,
    add_products,
    dot,
    dot_pairs,
    multiply_pairs,
    multiply_part,
    round_row,
)
from gpt_numpy.kernels.decoding_weights import (
    COLUMNS,
    DOWN,
    DOWN_BIAS,
    FC,
    FC_BIAS,
    HEAD,
    LN_1,
    LN_1_BIAS,
    LN_2,
    LN_F,
    PROJ,
    PROJ_BIAS,
    QKV,
    QKV_BIAS,
    WTE,
    block_pairs,
    matrix_start,
    parameter,
)
from gpt_numpy.kernels.elementary import like
from gpt_numpy.kernels.engine.atomics import DONE, arrive, arrived, take, yield_processor
from gpt_numpy.kernels.engine.crew import Crew
from gpt_numpy.kernels.engine.jit import (
    Counter,
    In,
    Int,
    Ints,
    Out,
    Pairs,
    flat,
    kernel,
    prange,
    routine,
    threads,
    workspace,
)  # fmt: skip
from gpt_numpy.kernels.layernorm import normalise_row, row_statistics
from gpt_numpy.kernels.rows import (
    add_in_place,
    copy,
    exp_in_place,
    fill,
    largest,
    scale_in_place,
)  # fmt: skip
from gpt_numpy.reference.decoding import DecodingWeights, KeysValues

LEAST_ROWS, MOST_TASKS = 32, 32  # of a product
SPINS = 2000  # times that a worker looks for the others, some 10 us, before it yields
LINE = 64  # elements: where arrays start, so that no two workers write to one cache line
NO_PAIRS = np.empty(0, np.uint32)


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
    """Round a row that is multiplied by matrices in pairs."""
    if pairs.size > 0:
        round_row(row)


@routine
def normalise_into(x, weight, bias, pairs, out):
    """The layer norm of one row."""
    mean, rstd = row_statistics(x)
    normalise_row(x, weight, bias, like(mean, x), like(rstd, x), out)
    round_for(pairs, out)


@routine
def attend(qkv, t, D, T, C, head, keys, values, scores, out):
    """Put a head's new key and value at position t; average the values of all up to it."""
    for d in range(D):
        keys[d * T + t] = qkv[C + head * D + d]
        values[t * D + d] = qkv[2 * C + head * D + d]
    seen = scores[: t + 1]
    fill(seen, 0.0)
    add_products(qkv[head * D : head * D + D], keys, T, seen)
    total = exp_in_place(seen, largest(seen), like(1.0 / math.sqrt(D), scores))
    fill(out, 0.0)
    add_products(seen, values, D, out)
    scale_in_place(out, like(1.0 / total, scores))


@routine
def embed(b, weights, L, C, wpe, token, t, x, norm):
    """A token's first residual stream, and its layer norm for the first block."""
    params, places, pairs = weights
    row = x[b * C : (b + 1) * C]
    at = places[L * COLUMNS + WTE] + token * C
    copy(params[at : at + C], row)
    add_in_place(row, wpe[t * C : (t + 1) * C])
    weight = parameter(weights, 0, LN_1, C)
    bias = parameter(weights, 0, LN_1_BIAS, C)
    normalise_into(row, weight, bias, pairs, norm[b * C : (b + 1) * C])


@routine
def add_and_normalise(b, weights, product, each, norm_row, norm_column, C, x, norm):
    """Add a product to a sequence's residual stream; its layer norm for what comes next.

    `product` is its shares, how many parts they have, and the bias.
    """
    at = b * C
    shares, parts, bias = product
    add_shares(shares, each, parts, at, bias, x[at : at + C])
    weight = parameter(weights, norm_row, norm_column, C)
    norm_bias = parameter(weights, norm_row, norm_column + 1, C)
    normalise_into(x[at : at + C], weight, norm_bias, weights[2], norm[at : at + C])


@routine
def collect(shares, parts, B, breadth, b, at, bias, out):
    """The sums of a product of sequence b, from column `at` on, with their bias."""
    fill(out, 0.0)
    some = bias[at : at + out.size] if bias.size > 0 else bias
    add_shares(shares, B * breadth, parts, b * breadth + at, some, out)


@routine
def head_attention(b, head, product, sizes, t, own, kept, mine, attn):
    """One head of one sequence: its query, key and value from the shares, then its average."""
    (shares, parts, bias), (B, C, D, T) = product, sizes
    (keys, values), (scores, qkv) = kept, mine
    for third in range(3):
        at = third * C + head * D
        collect(shares, parts, B, 3 * C, b, at, bias, qkv[at : at + D])
    at, end = b * C + head * D, own + D * T
    attend(qkv, t, D, T, C, head, keys[own:end], values[own:end], scores, attn[at : at + D])


@routine
def activate_part(first, rows, shares, parts, B, F, bias, kind, pairs, hidden):
    """The hidden channels that a task of the projection down takes, of all sequences."""
    for b in range(B):
        row = hidden[b * F + first : b * F + first + rows]
        collect(shares, parts, B, F, b, first, bias, row)
        activate_row(kind, row, row)
        round_for(pairs, row)


@routine
def logits_part(first, last, weights, L, V, sizes, norm, out):
    """The logits of the tokens from `first` to `last`, of all sequences."""
    (params, places, pairs), (B, C, F) = weights, sizes
    at, half = places[L * COLUMNS + HEAD], (C + 1) // 2
    if pairs.size > 0:
        head = pairs[L * block_pairs(C, F) :]
        for v in range(first, last):
            for b in range(B):
                out[b * V + v] = dot_pairs(
                    head[v * half : (v + 1) * half], norm[b * C : (b + 1) * C]
                )
    else:
        for v in range(first, last):
            row = params[at + v * C : at + v * C + C]
            for b in range(B):
                out[b * V + v] = dot(row, norm[b * C : (b + 1) * C])


@routine
def wait(counter, count):
    """Wait until `count` tasks are done; a thread that has one of them may need this processor."""
    rounds = 0
    while arrived(counter) < count:
        rounds += 1
        if rounds > SPINS:
            yield_processor()


@routine
def product_task(part, rows, x, inner, weights, place, breadth, sizes, shares):
    """One task of a product: its rows of the weight in this place, a layer and a column."""
    (layer, column), (B, C, F), first = place, sizes, part * rows
    at, deep = part * B * breadth, min(rows, inner - first)
    mine, pairs = shares[at : at + B * breadth], weights[2]
    if pairs.size > 0:
        start = layer * block_pairs(C, F) + matrix_start(column, C, F)
        multiply_pairs(x, inner, first, deep, pairs[start:], breadth, B, mine)
    else:
        weight = parameter(weights, layer, column, inner * breadth)
        multiply_part(x, inner, first, deep, weight, breadth, B, mine)


@kernel
def step(
    params: In, places: Ints, pairs: Pairs, wpe: In, tokens: Ints, slots: Ints, lengths: Ints,
    keys: Out, values: Out, out: Out,
    L: Int, C: Int, F: Int, H: Int, T: Int, V: Int, S: Int, kind: Int,
    c_rows: Int, f_rows: Int, v_rows: Int, space: Out, workers: Int, counter: Counter,
):  # fmt: skip
    """Tasks: embed; in each layer QKV, attention, projection, sum, up, down, sum; the logits."""
    B, D = tokens.size, C // H
    cs, fs = -(-C // c_rows), -(-F // f_rows)  # tasks of a product of inner dimension C, or F
    # Where in a layer's tasks each part begins; QKV at 0.
    attention, proj, middle = cs, cs + B * H, 2 * cs + B * H
    up, down = middle + B, middle + B + cs
    end = down + fs
    each = end + B
    x, norm, attn = space[: B * C], space[B * C : 2 * B * C], space[2 * B * C : 3 * B * C]
    hidden, rest = space[3 * B * C :][: B * F], space[B * (3 * C + F) :]
    qkv_shares, rest = rest[: cs * B * 3 * C], rest[cs * B * 3 * C :]
    proj_shares, rest = rest[: cs * B * C], rest[cs * B * C :]
    up_shares, rest = rest[: cs * B * F], rest[cs * B * F :]
    down_shares, rest = rest[: fs * B * C], rest[fs * B * C :]
    mine_size = T + 3 * C + LINE
    counter[0], counter[DONE] = 0, 0
    for worker in prange(workers):
        weights, sizes = (params, places, pairs), (B, C, F)
        mine = rest[worker * mine_size : (worker + 1) * mine_size]
        task = take(counter, 0)
        while task < B + L * each + -(-V // v_rows):
            i = min((task - B) // each, L)  # the logits may be more tasks than a layer
            before = B + i * each
            part = task - before
            if task < B:
                t = lengths[slots[task]]
                embed(task, weights, L, C, wpe, tokens[task], t, x, norm)
            elif i == L:
                wait(counter, before)
                first, last = part * v_rows, min((part + 1) * v_rows, V)
                logits_part(first, last, weights, L, V, sizes, norm, out)
            elif part < attention:
                wait(counter, before)
                place = (i, QKV)
                product_task(part, c_rows, norm, C, weights, place, 3 * C, sizes, qkv_shares)
            elif part < proj:
                wait(counter, before + attention)
                b, head = (part - attention) // H, (part - attention) % H
                own = ((i * S + slots[b]) * H + head) * D * T
                product = (qkv_shares, cs, parameter(weights, i, QKV_BIAS, 3 * C))
                head_attention(
                    b, head, product, (B, C, D, T), lengths[slots[b]], own, (keys, values),
                    (mine[:T], mine[T : T + 3 * C]), attn,
                )  # fmt: skip
                round_for(pairs, attn[b * C + head * D : b * C + (head + 1) * D])
            elif part < middle:
                wait(counter, before + proj)
                k, place = part - proj, (i, PROJ)
                product_task(k, c_rows, attn, C, weights, place, C, sizes, proj_shares)
            elif part < up:
                wait(counter, before + middle)
                product = (proj_shares, cs, parameter(weights, i, PROJ_BIAS, C))
                add_and_normalise(part - middle, weights, product, B * C, i, LN_2, C, x, norm)
            elif part < down:
                wait(counter, before + up)
                k, place = part - up, (i, FC)
                product_task(k, c_rows, norm, C, weights, place, F, sizes, up_shares)
            elif part < end:
                wait(counter, before + down)
                first = (part - down) * f_rows
                bias = parameter(weights, i, FC_BIAS, F)
                rows = min(f_rows, F - first)
                activate_part(first, rows, up_shares, cs, B, F, bias, kind, pairs, hidden)
                k, place = part - down, (i, DOWN)
                product_task(k, f_rows, hidden, F, weights, place, C, sizes, down_shares)
            else:
                wait(counter, before + end)
                product = (down_shares, fs, parameter(weights, i, DOWN_BIAS, C))
                following = LN_F if i == L - 1 else LN_1
                add_and_normalise(part - end, weights, product, B * C, i + 1, following, C, x, norm)
            arrive(counter)
            task = take(counter, 0)


_crew = Crew()


def rows_of_a_task(inner: int) -> int:
    """How many rows of a weight a task takes."""
    rows = max(LEAST_ROWS, -(-inner // MOST_TASKS))
    return -(-rows // (2 * EIGHT)) * 2 * EIGHT  # pairs of rows as well are added eight at once


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
    pairs = NO_PAIRS if copies is None else copies
    B, (L, S, H, T, D) = tokens.size, values.shape
    C, F, V = H * D, n_hidden, out.shape[1]
    c_rows, f_rows = rows_of_a_task(C), rows_of_a_task(F)
    c_parts, f_parts = -(-C // c_rows), -(-F // f_rows)
    v_rows = max(16, -(-V // 256))
    size = B * (3 * C + F + c_parts * (4 * C + F) + f_parts * C) + threads() * (T + 3 * C + LINE)
    space = workspace("decoding", size, out.dtype)
    counter = workspace("decoding tasks", 2 * DONE, np.int64)
    _crew.run(lambda workers: step(
        params, flat(places), pairs, flat(wpe), tokens, slots, lengths,
        flat(keys), flat(values), flat(out), L, C, F, H, T, V, S, NUMBERS[activation],
        c_rows, f_rows, v_rows, space, workers, counter,
    ))  # fmt: skip
