"""Where a decoding step finds its weights: the table of places, and matrices in 16 bits.

With bfloat16 products the matrices are rounded once, before the first step, which halves what has
to be read from memory for a token. Two numbers lie in 32 bits, a pair: those of two rows that
follow one another, or, in the head, whose rows are summed up, an element and the one half a row
further on. So the two are factors of different numbers, and no vector has to be shuffled. An odd
dimension ends in a pair whose second number is 0 and is not used.
"""

import numpy as np

from gpt_numpy.base.arrays import Array, aligned_empty
from gpt_numpy.kernels.engine.jit import (
    Counter,
    Int,
    Ints,
    Pairs,
    Single,
    flat,
    kernel,
    prange,
    routine,
    tasks,
    threads,
)  # fmt: skip
from gpt_numpy.kernels.engine.tasks import next_task, reset
from gpt_numpy.kernels.products.packing_bf16 import WIDTH
from gpt_numpy.kernels.products.rounding_bf16 import HALF, bits_at, pair_panel_rows
from gpt_numpy.reference.decoding import DecodingSettings

(
    LN_1, LN_1_BIAS, QKV, QKV_BIAS, PROJ, PROJ_BIAS, Q_NORM, K_NORM, ROTATIONS,
    LN_2, LN_2_BIAS, FC, FC_BIAS, DOWN, DOWN_BIAS,
) = range(15)  # fmt: skip
WTE, LN_F, LN_F_BIAS, HEAD = range(4)  # in the last row of the table of places
COLUMNS = 15  # of that table
MATRICES = (QKV, PROJ, FC, DOWN)  # of a block, in the order of its pairs
CHUNK = 16  # rows of pairs that a task packs


@routine
def parameter(weights, row, column, size):
    """A parameter, or nothing where the model has none.

    `weights` is the vector, the table of places, and the matrices in pairs, if they are rounded.
    """
    params, places, _ = weights
    at = places[row * COLUMNS + column]
    return params[at : at + size] if at >= 0 else params[0:0]


@routine
def block_pairs(widths):
    """How many pairs the matrices of a block take.

    `widths` : C, how wide qkv and the MLP's first product are, and its hidden channels F.
    """
    C, Q, W, F = widths
    return (C + 1) // 2 * (Q + C + W) + (F + 1) // 2 * C


@routine
def matrix_start(matrix, widths):
    """Where in a block's pairs the matrix of a column of the table begins."""
    C, Q, W, _ = widths
    before = 0 if matrix == QKV else Q if matrix == PROJ else Q + C
    return (C + 1) // 2 * (before + W if matrix == DOWN else before)


@routine
def pair_row(params, first, second, count, pairs, target):
    """The pairs of `count` neighbours from `first` on and as many from `second` on."""
    whole = count // WIDTH * WIDTH
    for j in range(0, whole, WIDTH):
        pair_panel_rows(params, first + j, second + j, pairs, target + j)
    for j in range(whole, count):
        pairs[target + j] = bits_at(params, first + j) | (bits_at(params, second + j) << HALF)


@routine
def pair_rows(params, at, rows, columns, first, last, pairs, target):
    """The pairs of rows, from row `first` of pairs to `last`, of a matrix in `params`."""
    for k in range(first, last):
        start, goal = at + 2 * k * columns, target + k * columns
        if 2 * k + 1 < rows:
            pair_row(params, start, start + columns, columns, pairs, goal)
        else:
            for j in range(columns):
                pairs[goal + j] = bits_at(params, start + j)


@routine
def pair_halves(params, at, columns, first, last, pairs, target):
    """The pairs of the two halves of rows `first` to `last` of a matrix in `params`."""
    half = (columns + 1) // 2
    for v in range(first, last):
        start, goal = at + v * columns, target + v * half
        pair_row(params, start, start + half, columns - half, pairs, goal)
        if 2 * half > columns:
            pairs[goal + half - 1] = bits_at(params, start + half - 1)


@kernel
def pack(
    params: Single, places: Ints, pairs: Pairs, L: Int, C: Int, Q: Int, W: Int, F: Int, V: Int,
    workers: Int, counter: Counter,
):  # fmt: skip
    """Round every matrix of all blocks, then the head."""
    c_chunks, f_chunks = -(-((C + 1) // 2) // CHUNK), -(-((F + 1) // 2) // CHUNK)
    each, widths = 3 * c_chunks + f_chunks, (C, Q, W, F)
    count = L * each + -(-V // CHUNK)
    reset(counter)
    for worker in prange(workers):
        task = next_task(counter, worker, workers, count)
        while task < count:
            i = min(task // each, L)  # the head may be more tasks than a block
            part = task - i * each
            if i == L:
                first = part * CHUNK
                last, target = min(first + CHUNK, V), L * block_pairs(widths)
                pair_halves(params, places[L * COLUMNS + HEAD], C, first, last, pairs, target)
            else:
                number = min(part // c_chunks, 3)
                matrix = MATRICES[number]
                rows = F if matrix == DOWN else C
                breadth = Q if matrix == QKV else W if matrix == FC else C
                first = (part - number * c_chunks) * CHUNK
                last = min(first + CHUNK, (rows + 1) // 2)
                at = places[i * COLUMNS + matrix]
                target = i * block_pairs(widths) + matrix_start(matrix, widths)
                pair_rows(params, at, rows, breadth, first, last, pairs, target)
            task = next_task(counter, worker, workers, count)


def decoding_copies(
    params: Array,
    places: Array,
    *,
    settings: DecodingSettings,
    vocab_size: int,
    out: Array | None = None,
) -> Array:
    """The matrices of a model, rounded to bfloat16, as `decode_step` reads them.

    They take two bytes a parameter: half as much as the parameters themselves. `out` is what an
    earlier call for the same model returned, which is overwritten; None: a new array.
    """
    L, C, F, V = len(places) - 1, settings.n_embd, settings.n_hidden, vocab_size
    Q, W, half, hidden = settings.qkv_width, settings.fc_width, (C + 1) // 2, (F + 1) // 2
    size = L * (half * (Q + C + W) + hidden * C) + V * half
    pairs = aligned_empty(size, np.uint32) if out is None else out
    pack(flat(params), flat(places), pairs, L, C, Q, W, F, V, threads(), tasks())
    return pairs
