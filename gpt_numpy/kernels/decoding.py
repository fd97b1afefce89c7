"""One token more for each sequence, the whole model in one launch.

A step reads every weight once and computes little with it, so what counts is that all threads read
memory without a pause. Products are cut along their inner dimension: the rows of a weight that a
task takes lie one after the other, and its share of the sums goes to a place of its own. Whoever
needs the product adds the shares up, in order.

Tasks are numbered through all parts of the model and drawn in this order. A task waits until all of
the parts before its own are done; whoever has drawn those is at work on them, so that any number of
workers comes to the end, be it one. Sums do not depend on who computes them, nor on how many
sequences there are: a sequence gets the same bits alone as among others.
"""

import math

import numpy as np

from gpt_numpy.arrays import Array
from gpt_numpy.kernels.activation import NUMBERS, activate_row
from gpt_numpy.kernels.elementary import like
from gpt_numpy.kernels.jit import (
    Counter,
    In,
    Int,
    Ints,
    Out,
    exact,
    flat,
    kernel,
    prange,
    room,
    routine,
    threads,
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
from gpt_numpy.kernels.signals import DONE, arrive, arrived
from gpt_numpy.kernels.simd import take

EIGHT = 8  # rows of a weight that are added at once: as many streams from memory
LEAST_ROWS, MOST_TASKS = 32, 32  # of a product
BREADTH = 512  # columns at a time, with several sequences: eight rows then stay in the first cache
LINE = 64  # elements: where arrays start, so that no two workers write to one cache line
(
    LN_1, LN_1_BIAS, QKV, QKV_BIAS, PROJ, PROJ_BIAS, LN_2, LN_2_BIAS, FC, FC_BIAS, DOWN, DOWN_BIAS,
) = range(12)  # fmt: skip
WTE, LN_F, LN_F_BIAS, HEAD = range(4)  # in the last row of the table of places
COLUMNS = 12  # of that table


@exact
def add_products(x, weight, stride, out):
    """Add x @ weight to `out`; row k of the weight starts at k stride, and sums are in order."""
    n = out.size
    whole = x.size // EIGHT * EIGHT
    for k in range(0, whole, EIGHT):
        at = k * stride
        w0, w1 = weight[at : at + n], weight[at + stride : at + stride + n]
        w2 = weight[at + 2 * stride : at + 2 * stride + n]
        w3 = weight[at + 3 * stride : at + 3 * stride + n]
        w4 = weight[at + 4 * stride : at + 4 * stride + n]
        w5 = weight[at + 5 * stride : at + 5 * stride + n]
        w6 = weight[at + 6 * stride : at + 6 * stride + n]
        w7 = weight[at + 7 * stride : at + 7 * stride + n]
        x0, x1, x2, x3 = x[k], x[k + 1], x[k + 2], x[k + 3]
        x4, x5, x6, x7 = x[k + 4], x[k + 5], x[k + 6], x[k + 7]
        for j in range(n):
            total = out[j] + x0 * w0[j] + x1 * w1[j] + x2 * w2[j] + x3 * w3[j]
            out[j] = total + x4 * w4[j] + x5 * w5[j] + x6 * w6[j] + x7 * w7[j]
    for k in range(whole, x.size):
        row, factor = weight[k * stride : k * stride + n], x[k]
        for j in range(n):
            out[j] = out[j] + factor * row[j]


@routine
def multiply_part(x, x_stride, first, rows, weight, breadth, count, shares):
    """The share of `rows` rows of a weight, from `first` on, in the products of `count` rows x."""
    fill(shares, 0.0)
    wide = breadth if count == 1 else BREADTH
    for j in range(0, breadth, wide):
        size = min(wide, breadth - j)
        for k in range(0, rows, EIGHT):
            deep = min(EIGHT, rows - k)
            start = (first + k) * breadth + j
            for b in range(count):
                x_at, at = b * x_stride + first + k, b * breadth + j
                add_products(
                    x[x_at : x_at + deep], weight[start:], breadth, shares[at : at + size]
                )


@routine
def add_shares(shares, each, parts, at, bias, out):
    """Add to `out` the shares of all parts, in order, and the bias; `each` part is so long."""
    for part in range(parts):
        start = part * each + at
        add_in_place(out, shares[start : start + out.size])
    if bias.size > 0:
        add_in_place(out, bias)


@routine
def parameter(params, places, row, column, size):
    """A parameter, or nothing where the model has none."""
    at = places[row * COLUMNS + column]
    return params[at : at + size] if at >= 0 else params[0:0]


@routine
def normalise_into(x, weight, bias, out):
    """The layer norm of one row."""
    mean, rstd = row_statistics(x)
    normalise_row(x, weight, bias, like(mean, x), like(rstd, x), out)


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
def dot(a, b):
    """The sum of the products of two rows, in their own type."""
    total = like(0.0, a)
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@kernel
def step(
    params: In, places: Ints, wpe: In, tokens: Ints, slots: Ints, lengths: Ints,
    keys: Out, values: Out, out: Out,
    L: Int, C: Int, F: Int, H: Int, T: Int, V: Int, S: Int, kind: Int,
    c_rows: Int, f_rows: Int, v_rows: Int, space: Out, workers: Int, counter: Counter,
):  # fmt: skip
    """Tasks: embed; in each layer QKV, attention, projection, sum, up, down, sum; the logits."""
    B, D = tokens.size, C // H
    c_parts, f_parts = -(-C // c_rows), -(-F // f_rows)
    at_attend = c_parts
    at_proj = at_attend + B * H
    at_middle = at_proj + c_parts
    at_fc = at_middle + B
    at_down = at_fc + c_parts
    at_end = at_down + f_parts
    each = at_end + B
    tasks = B + L * each + -(-V // v_rows)
    x, norm, attn = space[: B * C], space[B * C : 2 * B * C], space[2 * B * C : 3 * B * C]
    hidden, rest = space[3 * B * C :][: B * F], space[B * (3 * C + F) :]
    qkv_shares, rest = rest[: c_parts * B * 3 * C], rest[c_parts * B * 3 * C :]
    proj_shares, rest = rest[: c_parts * B * C], rest[c_parts * B * C :]
    fc_shares, rest = rest[: c_parts * B * F], rest[c_parts * B * F :]
    down_shares, rest = rest[: f_parts * B * C], rest[f_parts * B * C :]
    mine_size = T + 3 * C + LINE
    counter[0] = 0
    counter[DONE] = 0
    for worker in prange(workers):
        mine = rest[worker * mine_size : (worker + 1) * mine_size]
        scores, qkv = mine[:T], mine[T : T + 3 * C]
        task = take(counter)
        while task < tasks:
            layer, part = (task - B) // each, (task - B) % each
            if task < B:
                row = x[task * C : (task + 1) * C]
                v, t = tokens[task] * C, lengths[slots[task]] * C
                at = places[L * COLUMNS + WTE] + v
                copy(params[at : at + C], row)
                add_in_place(row, wpe[t : t + C])
                weight = parameter(params, places, 0, LN_1, C)
                bias = parameter(params, places, 0, LN_1_BIAS, C)
                normalise_into(row, weight, bias, norm[task * C : (task + 1) * C])
            elif layer == L:
                while arrived(counter) < task - part:
                    pass
                at = places[L * COLUMNS + HEAD]
                for v in range(part * v_rows, min((part + 1) * v_rows, V)):
                    row = params[at + v * C : at + v * C + C]
                    for b in range(B):
                        out[b * V + v] = dot(row, norm[b * C : (b + 1) * C])
            elif part < at_attend:
                while arrived(counter) < task - part:
                    pass
                first = part * c_rows
                rows = min(c_rows, C - first)
                weight = parameter(params, places, layer, QKV, 3 * C * C)
                shares = qkv_shares[part * B * 3 * C : (part + 1) * B * 3 * C]
                multiply_part(norm, C, first, rows, weight, 3 * C, B, shares)
            elif part < at_proj:
                while arrived(counter) < task - part + at_attend:
                    pass
                b, head = (part - at_attend) // H, (part - at_attend) % H
                bias = parameter(params, places, layer, QKV_BIAS, 3 * C)
                for third in range(3):
                    at = third * C + head * D
                    place = qkv[at : at + D]
                    fill(place, 0.0)
                    some = bias[at : at + D] if bias.size > 0 else bias
                    add_shares(qkv_shares, B * 3 * C, c_parts, b * 3 * C + at, some, place)
                own = ((layer * S + slots[b]) * H + head) * D * T
                at = b * C + head * D
                attend(
                    qkv, lengths[slots[b]], D, T, C, head, keys[own : own + D * T],
                    values[own : own + D * T], scores, attn[at : at + D],
                )  # fmt: skip
            elif part < at_middle:
                while arrived(counter) < task - part + at_proj:
                    pass
                first = (part - at_proj) * c_rows
                rows = min(c_rows, C - first)
                weight = parameter(params, places, layer, PROJ, C * C)
                at = (part - at_proj) * B * C
                multiply_part(attn, C, first, rows, weight, C, B, proj_shares[at : at + B * C])
            elif part < at_fc:
                while arrived(counter) < task - part + at_middle:
                    pass
                at = (part - at_middle) * C
                row = x[at : at + C]
                bias = parameter(params, places, layer, PROJ_BIAS, C)
                add_shares(proj_shares, B * C, c_parts, at, bias, row)
                weight = parameter(params, places, layer, LN_2, C)
                bias = parameter(params, places, layer, LN_2_BIAS, C)
                normalise_into(row, weight, bias, norm[at : at + C])
            elif part < at_down:
                while arrived(counter) < task - part + at_fc:
                    pass
                first = (part - at_fc) * c_rows
                rows = min(c_rows, C - first)
                weight = parameter(params, places, layer, FC, C * F)
                at = (part - at_fc) * B * F
                multiply_part(norm, C, first, rows, weight, F, B, fc_shares[at : at + B * F])
            elif part < at_end:
                while arrived(counter) < task - part + at_down:
                    pass
                first = (part - at_down) * f_rows
                rows = min(f_rows, F - first)
                bias = parameter(params, places, layer, FC_BIAS, F)
                some = bias[first : first + rows] if bias.size > 0 else bias
                for b in range(B):
                    at = b * F + first
                    row = hidden[at : at + rows]
                    fill(row, 0.0)
                    add_shares(fc_shares, B * F, c_parts, at, some, row)
                    activate_row(kind, row, row)
                weight = parameter(params, places, layer, DOWN, F * C)
                at = (part - at_down) * B * C
                multiply_part(hidden, F, first, rows, weight, C, B, down_shares[at : at + B * C])
            else:
                while arrived(counter) < task - part + at_end:
                    pass
                at = (part - at_end) * C
                row = x[at : at + C]
                bias = parameter(params, places, layer, DOWN_BIAS, C)
                add_shares(down_shares, B * C, f_parts, at, bias, row)
                last = layer == L - 1
                place = layer + 1
                weight = parameter(params, places, place, LN_F if last else LN_1, C)
                bias = parameter(params, places, place, LN_F_BIAS if last else LN_1_BIAS, C)
                normalise_into(row, weight, bias, norm[at : at + C])
            arrive(counter)
            task = take(counter)


def rows_of_a_task(inner: int) -> int:
    """How many rows of a weight a task takes."""
    rows = max(LEAST_ROWS, -(-inner // MOST_TASKS))
    return -(-rows // EIGHT) * EIGHT


def decode_step(
    tokens: Array,
    slots: Array,
    lengths: Array,
    params: Array,
    places: Array,
    wpe: Array,
    n_hidden: int,
    activation: str,
    keys: Array,
    values: Array,
    out: Array,
) -> None:
    """Write the logits after one token more of each sequence to `out`, its key and value beside."""
    B, (L, S, H, T, D) = tokens.size, values.shape
    C, F, V = H * D, n_hidden, out.shape[1]
    c_rows, f_rows = rows_of_a_task(C), rows_of_a_task(F)
    c_parts, f_parts = -(-C // c_rows), -(-F // f_rows)
    v_rows = max(16, -(-V // 256))
    size = B * (3 * C + F + c_parts * (4 * C + F) + f_parts * C) + threads() * (T + 3 * C + LINE)
    step(
        params, flat(places), flat(wpe), tokens, slots, lengths, flat(keys), flat(values), flat(out),
        L, C, F, H, T, V, S, NUMBERS[activation], c_rows, f_rows, v_rows,
        room("decoding", size, out.dtype), threads(), room("decoding tasks", 2 * DONE, np.int64),
    )  # fmt: skip
