"""The products of matmul.py in bfloat16: operands rounded as they are packed, sums in float32.

What is computed, to the bit, is `product` of `reference/bfloat16.py`: an element's sum is continued
from one stretch of the inner dimension to the next, so it does not depend on blocks or threads. x,
weight and dout may be float32 or uint16 with bfloat16 numbers, and so may `out` of `multiply`: then
sums and epilogue take place in a worker's own memory, and what is finished is rounded.

The rows of the left operand of x @ weight are brought into pairs strip by strip, in the first-level
cache; all other operands are packed as in matmul.py.
"""

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.dropout import mask_arguments, mask_base
from gpt_numpy.kernels.engine.jit import (
    NO_SINGLE,
    Counter,
    Half,
    Int,
    Key,
    Pairs,
    Real,
    Single,
    Word,
    by_width,
    flat,
    kernel,
    prange,
    routine,
    tasks,
    threads,
    workspace,
)  # fmt: skip
from gpt_numpy.kernels.engine.tasks import next_task, reset
from gpt_numpy.kernels.products.epilogue import NO_EPILOGUE, PLAIN, Epilogue, finish_row
from gpt_numpy.kernels.products.matmul import MANY, block_length, cut, store_edge, unit_of
from gpt_numpy.kernels.products.packing_bf16 import (
    APART,
    left_panel,
    left_size,
    pack_left_pairs,
    pack_pairs,
    pack_pairs_transposed,
    round_rows,
    steps_of,
    store_row,
    strip_start,
    strips_of,
)
from gpt_numpy.kernels.products.prefetch import ahead, ask_for
from gpt_numpy.kernels.products.tile import Matrix
from gpt_numpy.kernels.products.tile_choice import (
    BLOCKS,
    BOTH_BLOCKS,
    PACKED,
    STEP,
    TILE_ROWS,
    WIDTH,
    begin_tiles,
    end_tiles,
    fits_columns,
    fits_rows,
    pairs_by_columns,
    pairs_by_rows,
)

# Blocks as in matmul.py; an inner dimension of so many elements is half as many pairs.
INNER, ROWS, COLUMNS, KEPT_INNER, FEW = BLOCKS
BOTH_INNER, BOTH_ROWS, BOTH_COLUMNS, BOTH_MANY = BOTH_BLOCKS
ALIGNED = max(8, 2 * STEP)  # a stretch is a multiple of so many elements

EDGE = TILE_ROWS * WIDTH  # elements of a tile that hangs over the edge
STRIP = TILE_ROWS * (max(INNER, KEPT_INNER) // 2 + APART)  # pairs of a strip
FINISHED = (ROWS + TILE_ROWS) * (COLUMNS + WIDTH)  # elements that wait to be rounded


@routine
def strip_of_pairs(left, rows, panels, steps, out, columns, add, edge, next_left):
    """Write or add to `out` left @ panels, each `steps` pairs long, for the rows of a tile."""
    for j in range(0, columns, WIDTH):
        ask_for(next_left, j // WIDTH, -(-columns // WIDTH))
        tile = Matrix(out.array, out.at + j, out.stride)
        if fits_rows(rows) and j + WIDTH <= columns:
            pairs_by_rows(left, rows, panels, j * steps, tile, steps, add)
        else:
            height, breadth = min(rows, TILE_ROWS), min(WIDTH, columns - j)
            if add:
                load_edge(edge, height, breadth, tile)
            pairs_by_rows(left, rows, panels, j * steps, Matrix(edge, 0, WIDTH), steps, add)
            store_edge(edge, height, breadth, tile, False)


@routine
def strip_of_columns(left, rows, panels, steps, out, columns, add, edge, next_left, next_right):
    """The same for left.T @ panels."""
    for j in range(0, columns, WIDTH):
        ask_for(next_left, j // WIDTH, -(-columns // WIDTH))
        ask_for(next_right, j // WIDTH, -(-columns // WIDTH))
        tile = Matrix(out.array, out.at + j, out.stride)
        if fits_columns(rows) and j + WIDTH <= columns:
            pairs_by_columns(left, rows, panels, j * steps, tile, steps, add)
        else:
            height, breadth = min(rows, TILE_ROWS), min(WIDTH, columns - j)
            if add:
                load_edge(edge, height, breadth, tile)
            pairs_by_columns(left, rows, panels, j * steps, Matrix(edge, 0, WIDTH), steps, add)
            store_edge(edge, height, breadth, tile, False)


@routine
def cut_both(rows, columns):
    """How many rows and columns a task of x.T @ dout has.

    There are many tasks, and of the ways to cut that into as many, the one that reads least.
    """
    least, down, across, fewest = 0, 1, 1, -(-rows // BOTH_ROWS)
    for i in range(fewest, fewest + BOTH_MANY):
        j = max(-(-columns // BOTH_COLUMNS), -(-BOTH_MANY // i))
        if i == fewest or rows * j + columns * i <= least:
            least, down, across = rows * j + columns * i, i, j
    row_block = block_length(rows, -(-rows // down), TILE_ROWS)
    return row_block, block_length(columns, -(-columns // across), WIDTH)


@routine
def load_edge(edge, rows, columns, out):
    """Bring the sums so far of a tile over the edge to where it is computed."""
    array, at, stride = out
    for r in range(rows):
        for c in range(columns):
            edge[r * WIDTH + c] = array[at + r * stride + c]


@kernel
def product(
    a: Single, a16: Half, b: Single, b16: Half, transposed: Int, bias: Single,
    out: Single, out16: Half, rows: Int, inner: Int, columns: Int,
    finish: Int, kind: Int, other: Single, second: Single, third: Single,
    key: Key, site: Int, threshold: Word, scale: Real,
    workers: Int, counter: Counter, space: Single, pairs: Pairs,
):  # fmt: skip
    """Write a @ b, or with `transposed` a @ b.T, to `out`; then the epilogue, strip by strip."""
    base = mask_base(key[0], site)
    row_block, column_block = cut(rows, columns, ROWS, COLUMNS, TILE_ROWS, WIDTH)
    step = block_length(inner, INNER, ALIGNED)
    whole = steps_of(inner) * (columns + WIDTH) <= PACKED and rows >= MANY * FEW
    whole = whole and columns * FEW <= FINISHED
    if whole:  # a worker packs all of `b` once, for all its tasks, which then are small
        row_block, column_block, step = FEW, columns, block_length(inner, KEPT_INNER, ALIGNED)
    apart = block_length(columns, columns, WIDTH) if whole else 0  # columns of the panels kept
    across = -(-columns // column_block)
    count = -(-rows // row_block) * across
    single, finishing = out16.size == 0, finish != PLAIN or bias.size > 0
    reset(counter)
    for worker in prange(workers):
        edge = space[worker * (EDGE + FINISHED) : (worker + 1) * (EDGE + FINISHED)]
        waiting = edge[EDGE:]
        strip = pairs[worker * (STRIP + PACKED) : (worker + 1) * (STRIP + PACKED)]
        packed = False
        begin_tiles()
        task = next_task(counter, worker, workers, count)
        while task < count:
            i0, j0 = task // across * row_block, task % across * column_block
            i1, breadth = min(i0 + row_block, rows), min(column_block, columns - j0)
            for k0 in range(0, inner, step):
                depth = min(step, inner - k0)
                steps = steps_of(depth)
                panels = strip[STRIP + steps_of(k0) * apart :]
                if not packed and transposed:
                    at = j0 * inner + k0
                    if b16.size > 0:
                        pack_pairs_transposed(b16, at, inner, depth, breadth, panels)
                    else:
                        pack_pairs_transposed(b, at, inner, depth, breadth, panels)
                elif not packed:
                    at = k0 * columns + j0
                    if b16.size > 0:
                        pack_pairs(b16, at, columns, depth, breadth, panels)
                    else:
                        pack_pairs(b, at, columns, depth, breadth, panels)
                for i in range(i0, i1, TILE_ROWS):
                    height = min(TILE_ROWS, i1 - i)
                    left = Matrix(strip, 0, steps + APART)
                    at = i * inner + k0
                    if a16.size > 0:
                        round_rows(a16, at, inner, height, depth, strip, left.stride)
                        next_left = ahead(a16, at + TILE_ROWS * inner, inner, TILE_ROWS, depth)
                    else:
                        round_rows(a, at, inner, height, depth, strip, left.stride)
                        next_left = ahead(a, at + TILE_ROWS * inner, inner, TILE_ROWS, depth)
                    target = Matrix(waiting, (i - i0) * breadth, breadth)
                    if single:
                        target = Matrix(out, i * columns + j0, columns)
                    strip_of_pairs(
                        left, i1 - i, panels, steps, target, breadth, k0 > 0, edge, next_left
                    )
                    if k0 + step >= inner and (finishing or not single):
                        for r in range(height):
                            at, here = (i + r) * columns + j0, target.at + r * target.stride
                            y = target.array[here : here + breadth]
                            finish_row(
                                finish, kind, y, at, bias, j0,
                                (other, second, third), (base, threshold, scale),
                            )  # fmt: skip
                            if not single:
                                store_row(y, out16, at)
            packed = whole
            task = next_task(counter, worker, workers, count)
        end_tiles()


@kernel
def product_of_columns(
    a: Single, a16: Half, b: Single, b16: Half, out: Single,
    rows: Int, inner: Int, columns: Int, add: Int,
    workers: Int, counter: Counter, space: Single, pairs: Pairs,
):  # fmt: skip
    """Write or add a.T @ b to `out`, with a (inner, rows) and b (inner, columns): both are packed.

    If it fits, a worker packs all of the smaller operand once, for all its tasks.
    """
    row_block, column_block = cut_both(rows, columns)
    step = block_length(inner, BOTH_INNER, ALIGNED)
    keep_left = rows < columns
    down, across = (rows, 4 * WIDTH) if keep_left else (4 * TILE_ROWS, columns + 2 * WIDTH)
    whole = left_size(down, steps_of(inner)) + steps_of(inner) * across <= PACKED
    if whole and keep_left:
        row_block, column_block, step = rows, unit_of(columns, 2 * WIDTH, WIDTH), inner
    elif whole:
        row_block, column_block, step = unit_of(rows, 4 * TILE_ROWS, TILE_ROWS), columns, inner
    down, across = -(-rows // row_block), -(-columns // column_block)
    reset(counter)
    for worker in prange(workers):
        edge = space[worker * EDGE : (worker + 1) * EDGE]
        panels = pairs[worker * PACKED : (worker + 1) * PACKED]
        left = panels[steps_of(step) * block_length(column_block, column_block, WIDTH) :]
        packed = False
        begin_tiles()
        task = next_task(counter, worker, workers, down * across)
        while task < down * across:
            i0 = strip_start(task // across, down, rows)
            i1 = strip_start(task // across + 1, down, rows)
            j0 = task % across * column_block
            breadth = min(column_block, columns - j0)
            for k0 in range(0, inner, step):
                depth = min(step, inner - k0)
                steps = steps_of(depth)
                if not packed or keep_left:
                    at = k0 * columns + j0
                    if b16.size > 0:
                        pack_pairs(b16, at, columns, depth, breadth, panels)
                    else:
                        pack_pairs(b, at, columns, depth, breadth, panels)
                if not packed or not keep_left:
                    at = k0 * rows + i0
                    if a16.size > 0:
                        pack_left_pairs(a16, at, rows, depth, i1 - i0, left)
                    else:
                        pack_left_pairs(a, at, rows, depth, i1 - i0, left)
                packed = whole
                strips = strips_of(i1 - i0)
                for s in range(strips):
                    i = strip_start(s, strips, i1 - i0)
                    height = strip_start(s + 1, strips, i1 - i0) - i
                    panel = left_panel(left, s, steps)
                    target = Matrix(out, (i0 + i) * columns + j0, columns)
                    # Of the next stretch as many rows as follow from the number of strips.
                    k1 = k0 + step + min(step, inner - k0 - step) * s // strips
                    k2 = k0 + step + min(step, inner - k0 - step) * (s + 1) // strips
                    more = k2 - k1 if k0 + step < inner else 0
                    if a16.size > 0:
                        next_left = ahead(a16, k1 * rows + i0, rows, more, i1 - i0)
                    else:
                        next_left = ahead(a, k1 * rows + i0, rows, more, i1 - i0)
                    if b16.size > 0:
                        next_right = ahead(b16, k1 * columns + j0, columns, more, breadth)
                    else:
                        next_right = ahead(b, k1 * columns + j0, columns, more, breadth)
                    strip_of_columns(
                        panel, height, panels, steps, target, breadth, add != 0 or k0 > 0, edge,
                        next_left, next_right,
                    )  # fmt: skip
            task = next_task(counter, worker, workers, down * across)
        end_tiles()


def multiply(
    x: Array,
    weight: Array,
    out: Array,
    *,
    transposed: bool = False,
    bias: Array | None = None,
    epilogue: Epilogue = NO_EPILOGUE,
) -> None:
    """Write x @ weight + bias to `out`, or with `transposed` x @ weight.T; then the epilogue.

    x (..., I); weight (I, O), transposed (O, I); bias (O,); out (..., O). x, weight and `out` are
    float32, or uint16 with bfloat16 numbers, each as it likes; the others are float32.
    """
    inner, columns = x.shape[-1], out.shape[-1]
    finish, kind, other, second, third, dropout = epilogue
    workers = threads()
    product(
        *by_width(x), *by_width(weight), int(transposed), flat(bias, NO_SINGLE), *by_width(out),
        x.size // inner, inner, columns, finish, kind,
        *(flat(array, NO_SINGLE) for array in (other, second, third)), *mask_arguments(dropout),
        workers, tasks(),
        workspace("product in bfloat16", workers * (EDGE + FINISHED), np.float32),
        workspace("product in bfloat16", workers * (STRIP + PACKED), np.uint32),
    )  # fmt: skip


def multiply_columns(x: Array, dout: Array, out: Array, *, add: bool = False) -> None:
    """Write x.T @ dout to `out`, or add it: x (..., I), dout (..., O), out (I, O).

    x and dout are float32, or uint16 with bfloat16 numbers; `out` is float32.
    """
    rows, columns = out.shape
    workers = threads()
    product_of_columns(
        *by_width(x), *by_width(dout), flat(out), rows, x.size // rows, columns, int(add),
        workers, tasks(),
        workspace("product in bfloat16", workers * EDGE, np.float32),
        workspace("product in bfloat16", workers * PACKED, np.uint32),
    )  # fmt: skip
