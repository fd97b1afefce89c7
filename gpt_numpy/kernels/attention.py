"""Attention in strips of queries: only one strip of attention weights exists at a time.

Forward. The keys of a head are packed, transposed, as the right operand of the scores; the values
as that of the output. For a strip of queries as high as a register tile, scores (only up to its own
positions), exponentials and output are computed while the strip stays in the cache. Without the
causal mask a strip sees the same keys as all others of its sequence, those before the padding.

Queries and keys may lie in two arrays, of T and of S positions, as in cross-attention, or in one,
behind each other in every position. The kernels only see where the first of each lies, and how far
it is from one position to the next. Either may be stored in 16 bits (halves.py): then it is widened
a head's keys, values or a strip of queries at a time, in a worker's own memory.

Backward. The weights are recomputed from `lse`. Strips are higher here, so that the products that
sum over queries (dK, dV) have enough to sum; they add to what earlier strips left. The factor
1 / sqrt(D) goes into ds, where it serves both dQ and dK.

A task is one head of keys and values of one sequence, with the query heads that share it, one after
the other. Where there are few of them, a task is one of several parts of that: part p takes strips
p, p + parts, p + 2 parts, ..., and the parts' dK and dV are added up in order.
"""

import math

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.attention_sizes import STRIP, WIDEST, Sizes
from gpt_numpy.kernels.dropout import drop_row, mask_arguments, mask_base
from gpt_numpy.kernels.elementary import exp, like
from gpt_numpy.kernels.engine.jit import (
    Counter,
    Half,
    In,
    Int,
    Ints,
    Key,
    Out,
    Real,
    Word,
    by_width,
    flat,
    kernel,
    prange,
    routine,
    tasks,
    threads,
)  # fmt: skip
from gpt_numpy.kernels.engine.tasks import next_task, reset
from gpt_numpy.kernels.halves import numbers_of
from gpt_numpy.kernels.products.matmul import EDGE, strip_by_columns, strip_by_rows
from gpt_numpy.kernels.products.packing import pack, pack_transposed
from gpt_numpy.kernels.products.tile import TILE_ROWS, Matrix, panel_width, tile_by_rows
from gpt_numpy.kernels.rows import add_in_place, dot, exp_in_place, fill, largest, scale_in_place
from gpt_numpy.reference.dropout import Dropout

_CAUSAL = np.empty(0, np.int64)  # no lengths


@routine
def whole_panels(count, width):
    """`count` rounded up to whole panels."""
    return -(-count // width) * width


@routine
def strip_scores(a, rows, panels, D, out, seen):
    """A strip, as high as a tile, of a @ panels, up to the panel that has position `seen` - 1."""
    width = panel_width(out.array)
    for j in range(0, seen, width):
        tile = Matrix(out.array, out.at + j, out.stride)
        tile_by_rows(a, rows, panels, j * D, tile, D, False)


@kernel
def forward(
    q: In, q16: Half, kv: In, kv16: Half, lengths: Ints, out: Out, lse: Out,
    B: Int, T: Int, S: Int, H: Int, G: Int, D: Int, parts: Int,
    q_stride: Int, kv_at: Int, kv_stride: Int,
    key: Key, site: Int, threshold: Word, scale: Real,
    workers: Int, counter: Counter, space: Out, space_each: Int,
):  # fmt: skip
    """One strip after the other: scores, softmax, output."""
    base = mask_base(key[0], site)
    width, C, group = panel_width(out), H * D, H // G
    factor = like(1.0 / math.sqrt(D), q)
    wide_S, causal = whole_panels(S, width), lengths.size == 0
    reset(counter)
    for worker in prange(workers):
        mine = space[worker * space_each : (worker + 1) * space_each]
        edge, mine = mine[:EDGE], mine[EDGE:]
        totals, mine = mine[:WIDEST], mine[WIDEST:]
        keys, mine = mine[: wide_S * D], mine[wide_S * D :]
        values, mine = mine[: S * whole_panels(D, width)], mine[S * whole_panels(D, width) :]
        single, weights = mine[: max(S, STRIP) * D], mine[max(S, STRIP) * D :]
        task = next_task(counter, worker, workers, B * G * parts)
        while task < B * G * parts:
            shared, part = task // parts, task % parts
            start = shared // G * S * kv_stride + kv_at + shared % G * D
            count = S if causal else lengths[shared // G]
            k_rows = numbers_of(kv, kv16, start, kv_stride, count, D, single)
            pack_transposed(k_rows.array, k_rows.at, k_rows.stride, D, count, keys)
            v_rows = numbers_of(kv, kv16, start + G * D, kv_stride, count, D, single)
            pack(v_rows.array, v_rows.at, v_rows.stride, count, D, values)
            for head in range(shared * group, (shared + 1) * group):
                q_start = head // H * T * q_stride + head % H * D
                out_start = head // H * T * C + head % H * D
                for q0 in range(part * TILE_ROWS, T, parts * TILE_ROWS):
                    rows = min(TILE_ROWS, T - q0)
                    last = q0 + rows if causal else count
                    scores = Matrix(weights, 0, wide_S)
                    q_at = q_start + q0 * q_stride
                    queries = numbers_of(q, q16, q_at, q_stride, rows, D, single)
                    strip_scores(queries, rows, keys, D, scores, last)
                    wide = whole_panels(last, width)
                    for r in range(rows):
                        seen = q0 + r + 1 if causal else count
                        row = weights[r * wide_S : r * wide_S + wide]
                        fill(row[seen:], -np.inf)  # the future, or padding; then whole vectors
                        top = largest(row)
                        totals[r] = exp_in_place(row, top, factor)
                        lse[head * T + q0 + r] = top * factor + math.log(totals[r])
                        if scale != 0.0:
                            drop_row(row[:seen], (head * T + q0 + r) * S, base, threshold, scale)
                    strip_by_rows(
                        scores, rows, values, count, last, Matrix(out, out_start + q0 * C, C), D,
                        False, edge,
                    )  # fmt: skip
                    for r in range(rows):
                        goal = out_start + (q0 + r) * C
                        scale_in_place(out[goal : goal + D], like(1.0, totals) / totals[r])
            task = next_task(counter, worker, workers, B * G * parts)


@routine
def score_gradients(p, dp, lse, delta, factor, index, base, threshold, scale):
    """Turn a row of scores and of dw into one of w and of ds; a score of -inf into zeros."""
    shift, back, zero = lse, like(delta, p), like(0.0, p)
    if scale == 0.0:
        for i in range(p.size):
            weight = exp(min(p[i] * factor - shift, zero))  # above 0 by rounding of a huge lse
            p[i] = weight
            dp[i] = weight * (dp[i] - back) * factor
    else:
        drop_row(dp, index, base, threshold, scale)
        for i in range(p.size):
            weight = exp(min(p[i] * factor - shift, zero))  # above 0 by rounding of a huge lse
            p[i] = weight
            dp[i] = weight * (dp[i] - back) * factor
        drop_row(p, index, base, threshold, scale)


@routine
def collect(sums, parts, S, D, dkv, at, stride, apart):
    """Bring dK and dV of one head to their places, `apart`, added up over the parts in order."""
    for half in range(2):
        for k in range(S):
            goal = at + half * apart + k * stride
            row = dkv[goal : goal + D]
            fill(row, 0.0)
            for part in range(parts):
                start = ((2 * part + half) * S + k) * D
                add_in_place(row, sums[start : start + D])


@kernel
def backward(
    dout: In, q: In, q16: Half, kv: In, kv16: Half, lengths: Ints, out: In, lse: In,
    dq: Out, dkv: Out, partial: Out,
    B: Int, T: Int, S: Int, H: Int, G: Int, D: Int, parts: Int,
    q_stride: Int, kv_at: Int, kv_stride: Int,
    key: Key, site: Int, threshold: Word, scale: Real,
    workers: Int, counter: Counter, space: Out, space_each: Int,
):  # fmt: skip
    """One strip after the other: weights, their gradient, dQ, and its share of dK and dV."""
    base = mask_base(key[0], site)
    width, C, group = panel_width(q), H * D, H // G
    factor = like(1.0 / math.sqrt(D), q)
    wide_S, wide_D, causal = whole_panels(S, width), whole_panels(D, width), lengths.size == 0
    across = wide_S + width  # of a strip; never a power of two, whose columns share few cache sets
    reset(counter)
    for worker in prange(workers):
        mine = space[worker * space_each : (worker + 1) * space_each]
        edge, mine = mine[:EDGE], mine[EDGE:]
        keys_across, mine = mine[: wide_S * D], mine[wide_S * D :]
        values_across, mine = mine[: wide_S * D], mine[wide_S * D :]
        keys, mine = mine[: S * wide_D], mine[S * wide_D :]
        queries, mine = mine[: STRIP * wide_D], mine[STRIP * wide_D :]
        douts, mine = mine[: STRIP * wide_D], mine[STRIP * wide_D :]
        single, mine = mine[: max(S, STRIP) * D], mine[max(S, STRIP) * D :]
        half = (STRIP + TILE_ROWS) * across
        w, ds = mine[:half], mine[half : 2 * half]
        task = next_task(counter, worker, workers, B * G * parts)
        while task < B * G * parts:
            shared, part = task // parts, task % parts
            k_start = shared // G * S * kv_stride + kv_at + shared % G * D
            v_start = k_start + G * D
            count = S if causal else lengths[shared // G]
            v_rows = numbers_of(kv, kv16, v_start, kv_stride, count, D, single)
            pack_transposed(v_rows.array, v_rows.at, v_rows.stride, D, count, values_across)
            k_rows = numbers_of(kv, kv16, k_start, kv_stride, count, D, single)
            pack_transposed(k_rows.array, k_rows.at, k_rows.stride, D, count, keys_across)
            pack(k_rows.array, k_rows.at, k_rows.stride, count, D, keys)
            sums, dk, dv, sums_stride = dkv, k_start, v_start, kv_stride
            if parts > 1:
                sums, dk, dv, sums_stride = partial, 2 * task * S * D, (2 * task + 1) * S * D, D
            done = 0  # keys that have got something from the strips before
            for head in range(shared * group, (shared + 1) * group):
                start = head // H * T * q_stride + head % H * D
                out_start = head // H * T * C + head % H * D
                for q0 in range(part * STRIP, T, parts * STRIP):
                    q1 = min(q0 + STRIP, T)
                    q_at = start + q0 * q_stride
                    q_rows = numbers_of(q, q16, q_at, q_stride, q1 - q0, D, single)
                    for i in range(q0, q1, TILE_ROWS):
                        rows, at = min(TILE_ROWS, T - i), (i - q0) * across
                        last = i + rows if causal else count
                        out_at, stride = out_start + i * C, q_rows.stride
                        w_strip, ds_strip = Matrix(w, at, across), Matrix(ds, at, across)
                        q_strip = Matrix(q_rows.array, q_rows.at + (i - q0) * stride, stride)
                        dout_strip = Matrix(dout, out_at, C)
                        strip_scores(q_strip, rows, keys_across, D, w_strip, last)
                        strip_scores(dout_strip, rows, values_across, D, ds_strip, last)
                        wide = whole_panels(last, width)
                        for r in range(rows):
                            row, first, o = head * T + i + r, at + r * across, out_at + r * C
                            seen = i + r + 1 if causal else count
                            fill(w[first + seen : first + wide], -np.inf)
                            delta = dot(dout[o : o + D], out[o : o + D])
                            score_gradients(
                                w[first : first + wide], ds[first : first + wide], lse[row], delta,
                                factor, row * S, base, threshold, scale,
                            )  # fmt: skip
                        dq_strip = Matrix(dq, start + i * q_stride, q_stride)
                        strip_by_rows(ds_strip, rows, keys, count, last, dq_strip, D, False, edge)
                    pack(q_rows.array, q_rows.at, q_rows.stride, q1 - q0, D, queries)
                    pack(dout, out_start + q0 * C, C, q1 - q0, D, douts)
                    reached = q1 if causal else count
                    for k in range(0, reached, TILE_ROWS):
                        rows, first = min(TILE_ROWS, count - k), max(0, k - q0) if causal else 0
                        depth, add, at = q1 - q0, k < done, first * across + k
                        strip_by_columns(
                            Matrix(ds, at, across), rows, queries, first, depth, depth - first,
                            Matrix(sums, dk + k * sums_stride, sums_stride), D, add, edge,
                        )  # fmt: skip
                        strip_by_columns(
                            Matrix(w, at, across), rows, douts, first, depth, depth - first,
                            Matrix(sums, dv + k * sums_stride, sums_stride), D, add, edge,
                        )  # fmt: skip
                    done = max(done, reached)
            for k in range(done, S):  # padding, and keys that no strip of this part has seen
                fill(sums[dk + k * sums_stride :][:D], 0.0)
                fill(sums[dv + k * sums_stride :][:D], 0.0)
            task = next_task(counter, worker, workers, B * G * parts)
    if parts > 1:
        for shared in prange(B * G):
            start = shared // G * S * kv_stride + kv_at + shared % G * D
            mine = partial[shared * parts * 2 * S * D : (shared + 1) * parts * 2 * S * D]
            collect(mine, parts, S, D, dkv, start, kv_stride, G * D)


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

    qkv (B, T, C + 2 G D), G being n_kv_head or n_head, may be in 16 bits; out (B, T, C);
    lse (B, H, T); lengths (B,), or None for a causal mask.
    """
    sizes, x = Sizes.within(qkv, n_head, n_kv_head), by_width(qkv)
    forward(
        *x, *x, integers(lengths), flat(out), flat(lse), *sizes, *mask_arguments(dropout),
        threads(), tasks(), *sizes.space(out.dtype),
    )  # fmt: skip


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
    sizes, x, dx = Sizes.within(qkv, n_head, n_kv_head), by_width(qkv), flat(dqkv)
    backward(
        flat(dout), *x, *x, integers(lengths), flat(out), flat(lse), dx, dx,
        sizes.partial(out.dtype), *sizes, *mask_arguments(dropout), threads(), tasks(),
        *sizes.space(out.dtype),
    )  # fmt: skip


def integers(lengths: Array | None) -> Array:
    """The lengths as a kernel takes them; none of them mean a causal mask."""
    return _CAUSAL if lengths is None else flat(lengths)
