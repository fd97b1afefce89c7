"""Causal attention in strips of queries: only one strip of attention weights exists at a time.

Forward. The keys of a head are packed, transposed, as the right operand of the scores; the values
as that of the output. For a strip of queries as high as a register tile, scores (only up to its own
positions), exponentials and output are computed while the strip stays in the cache.

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
from gpt_numpy.kernels.dropout import drop_row, mask_arguments, mask_base
from gpt_numpy.kernels.elementary import exp, like
from gpt_numpy.kernels.engine.jit import (
    Counter,
    In,
    Int,
    Key,
    Out,
    Real,
    Word,
    flat,
    kernel,
    prange,
    routine,
    tasks,
    threads,
    workspace,
)  # fmt: skip
from gpt_numpy.kernels.engine.tasks import next_task, reset
from gpt_numpy.kernels.products.matmul import EDGE, strip_by_columns, strip_by_rows
from gpt_numpy.kernels.products.packing import pack, pack_transposed
from gpt_numpy.kernels.products.tile import TILE_ROWS, Matrix, panel_width, tile_by_rows
from gpt_numpy.kernels.rows import add_in_place, dot, exp_in_place, fill, largest, scale_in_place
from gpt_numpy.reference.dropout import Dropout

STRIP = 48 // TILE_ROWS * TILE_ROWS  # queries of a strip in backward
WIDEST = 64  # elements of a panel's row, at most
FEW = 8  # sequences times heads below which a task is a part of one


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
    qkv: In, out: Out, lse: Out, B: Int, T: Int, H: Int, G: Int, D: Int, parts: Int,
    key: Key, site: Int, threshold: Word, scale: Real,
    workers: Int, counter: Counter, space: Out, space_each: Int,
):  # fmt: skip
    """One strip after the other: scores, softmax, output."""
    base = mask_base(key[0], site)
    width, C, group = panel_width(out), H * D, H // G
    stride = C + 2 * G * D
    factor = like(1.0 / math.sqrt(D), qkv)
    wide_T = whole_panels(T, width)
    reset(counter)
    for worker in prange(workers):
        mine = space[worker * space_each : (worker + 1) * space_each]
        edge, mine = mine[:EDGE], mine[EDGE:]
        totals, mine = mine[:WIDEST], mine[WIDEST:]
        keys, mine = mine[: wide_T * D], mine[wide_T * D :]
        values, weights = mine[: T * whole_panels(D, width)], mine[T * whole_panels(D, width) :]
        task = next_task(counter, worker, workers, B * G * parts)
        while task < B * G * parts:
            shared, part = task // parts, task % parts
            start = shared // G * T * stride + C + shared % G * D
            pack_transposed(qkv, start, stride, D, T, keys)
            pack(qkv, start + G * D, stride, T, D, values)
            for head in range(shared * group, (shared + 1) * group):
                q_start = head // H * T * stride + head % H * D
                out_start = head // H * T * C + head % H * D
                for q0 in range(part * TILE_ROWS, T, parts * TILE_ROWS):
                    rows = min(TILE_ROWS, T - q0)
                    scores = Matrix(weights, 0, wide_T)
                    queries = Matrix(qkv, q_start + q0 * stride, stride)
                    strip_scores(queries, rows, keys, D, scores, q0 + rows)
                    wide = whole_panels(q0 + rows, width)
                    for r in range(rows):
                        seen = q0 + r + 1
                        row = weights[r * wide_T : r * wide_T + wide]
                        fill(row[seen:], -np.inf)  # the future; whole vectors from here on
                        top = largest(row)
                        totals[r] = exp_in_place(row, top, factor)
                        lse[head * T + q0 + r] = top * factor + math.log(totals[r])
                        if scale != 0.0:
                            drop_row(row[:seen], (head * T + q0 + r) * T, base, threshold, scale)
                    strip_by_rows(
                        scores, rows, values, T, q0 + rows, Matrix(out, out_start + q0 * C, C), D,
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
def collect(sums, parts, T, D, dqkv, at, stride, apart):
    """Bring dK and dV of one head to their places, `apart`, added up over the parts in order."""
    for half in range(2):
        for k in range(T):
            goal = at + half * apart + k * stride
            row = dqkv[goal : goal + D]
            fill(row, 0.0)
            for part in range(parts):
                start = ((2 * part + half) * T + k) * D
                add_in_place(row, sums[start : start + D])


@kernel
def backward(
    dout: In, qkv: In, out: In, lse: In, dqkv: Out, partial: Out,
    B: Int, T: Int, H: Int, G: Int, D: Int, parts: Int,
    key: Key, site: Int, threshold: Word, scale: Real,
    workers: Int, counter: Counter, space: Out, space_each: Int,
):  # fmt: skip
    """One strip after the other: weights, their gradient, dQ, and its share of dK and dV."""
    base = mask_base(key[0], site)
    width, C, group = panel_width(qkv), H * D, H // G
    stride = C + 2 * G * D
    factor = like(1.0 / math.sqrt(D), qkv)
    wide_T, wide_D = whole_panels(T, width), whole_panels(D, width)
    across = wide_T + width  # of a strip; never a power of two, whose columns share few cache sets
    reset(counter)
    for worker in prange(workers):
        mine = space[worker * space_each : (worker + 1) * space_each]
        edge, mine = mine[:EDGE], mine[EDGE:]
        keys_across, mine = mine[: wide_T * D], mine[wide_T * D :]
        values_across, mine = mine[: wide_T * D], mine[wide_T * D :]
        keys, mine = mine[: T * wide_D], mine[T * wide_D :]
        queries, mine = mine[: STRIP * wide_D], mine[STRIP * wide_D :]
        douts, mine = mine[: STRIP * wide_D], mine[STRIP * wide_D :]
        half = (STRIP + TILE_ROWS) * across
        w, ds = mine[:half], mine[half : 2 * half]
        task = next_task(counter, worker, workers, B * G * parts)
        while task < B * G * parts:
            shared, part = task // parts, task % parts
            k_start = shared // G * T * stride + C + shared % G * D
            v_start = k_start + G * D
            pack_transposed(qkv, k_start, stride, D, T, keys_across)
            pack_transposed(qkv, v_start, stride, D, T, values_across)
            pack(qkv, k_start, stride, T, D, keys)
            dkv, dk, dv, dkv_stride = dqkv, k_start, v_start, stride
            if parts > 1:
                dkv, dk, dv, dkv_stride = partial, 2 * task * T * D, (2 * task + 1) * T * D, D
            done = 0  # keys that have got something from the strips before
            for head in range(shared * group, (shared + 1) * group):
                start = head // H * T * stride + head % H * D
                out_start = head // H * T * C + head % H * D
                for q0 in range(part * STRIP, T, parts * STRIP):
                    q1 = min(q0 + STRIP, T)
                    for q in range(q0, q1, TILE_ROWS):
                        rows, at = min(TILE_ROWS, T - q), (q - q0) * across
                        q_at, out_at = start + q * stride, out_start + q * C
                        w_strip, ds_strip = Matrix(w, at, across), Matrix(ds, at, across)
                        q_strip, dout_strip = Matrix(qkv, q_at, stride), Matrix(dout, out_at, C)
                        strip_scores(q_strip, rows, keys_across, D, w_strip, q + rows)
                        strip_scores(dout_strip, rows, values_across, D, ds_strip, q + rows)
                        wide = whole_panels(q + rows, width)
                        for r in range(rows):
                            row, first, o = head * T + q + r, at + r * across, out_at + r * C
                            fill(w[first + q + r + 1 : first + wide], -np.inf)
                            delta = dot(dout[o : o + D], out[o : o + D])
                            score_gradients(
                                w[first : first + wide], ds[first : first + wide], lse[row], delta,
                                factor, row * T, base, threshold, scale,
                            )  # fmt: skip
                        dq_strip = Matrix(dqkv, q_at, stride)
                        strip_by_rows(ds_strip, rows, keys, T, q + rows, dq_strip, D, False, edge)
                    pack(qkv, start + q0 * stride, stride, q1 - q0, D, queries)
                    pack(dout, out_start + q0 * C, C, q1 - q0, D, douts)
                    for k in range(0, q1, TILE_ROWS):
                        rows, first = min(TILE_ROWS, T - k), max(0, k - q0)
                        depth, add, at = q1 - q0, k < done, first * across + k
                        strip_by_columns(
                            Matrix(ds, at, across), rows, queries, first, depth, depth - first,
                            Matrix(dkv, dk + k * dkv_stride, dkv_stride), D, add, edge,
                        )  # fmt: skip
                        strip_by_columns(
                            Matrix(w, at, across), rows, douts, first, depth, depth - first,
                            Matrix(dkv, dv + k * dkv_stride, dkv_stride), D, add, edge,
                        )  # fmt: skip
                    done = max(done, q1)
            if parts > 1:  # the last keys may have got nothing from the strips of this part
                fill(partial[dk + done * D : dv], 0.0)
                fill(partial[dv + done * D : dv + T * D], 0.0)
            task = next_task(counter, worker, workers, B * G * parts)
    if parts > 1:
        for shared in prange(B * G):
            start = shared // G * T * stride + C + shared % G * D
            sums = partial[shared * parts * 2 * T * D : (shared + 1) * parts * 2 * T * D]
            collect(sums, parts, T, D, dqkv, start, stride, G * D)


def _sizes(qkv: Array, n_head: int, n_kv_head: int) -> tuple[int, int, int, int, int, int]:
    """B, T, H, G, D, and how many parts each sequence and head of keys is cut into."""
    B, T, channels = qkv.shape
    G = n_kv_head or n_head
    heads = B * G
    parts = 1 if heads >= FEW else max(1, min(-(-FEW // heads), T // (2 * STRIP)))
    return B, T, n_head, G, channels // (n_head + 2 * G), parts


def _space(T: int, D: int, dtype: np.dtype) -> tuple[Array, int]:
    """Memory for each worker: packed keys and values, two strips of weights, their operands."""
    wide_T, wide_D = T + WIDEST, D + WIDEST
    weights = (STRIP + TILE_ROWS) * (wide_T + WIDEST)
    each = EDGE + WIDEST + 2 * wide_T * D + T * wide_D + 2 * weights + 2 * STRIP * wide_D
    each = -(-each // WIDEST) * WIDEST  # no worker writes to a cache line of another's
    return workspace("attention", threads() * each, dtype), each


def attention_forward(
    qkv: Array, n_head: int, dropout: Dropout, out: Array, lse: Array, *, n_kv_head: int = 0
) -> None:
    """Write each position's average of values to `out`, and its log-sum-exp to `lse`.

    qkv (B, T, C + 2 G D), G being n_kv_head or n_head; out (B, T, C); lse (B, H, T).
    """
    forward(
        flat(qkv), flat(out), flat(lse), *_sizes(qkv, n_head, n_kv_head), *mask_arguments(dropout),
        threads(), tasks(), *_space(qkv.shape[1], out.shape[-1] // n_head, qkv.dtype),
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
) -> None:
    """Write the gradient of `qkv`."""
    sizes = B, T, _, G, D, parts = _sizes(qkv, n_head, n_kv_head)
    partial = workspace("attention parts", 2 * B * G * parts * T * D if parts > 1 else 0, qkv.dtype)
    backward(
        flat(dout), flat(qkv), flat(out), flat(lse), flat(dqkv), partial,
        *sizes, *mask_arguments(dropout), threads(), tasks(), *_space(T, D, qkv.dtype),
    )  # fmt: skip
