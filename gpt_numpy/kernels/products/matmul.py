"""The blocked matrix product that every layer uses; its result does not depend on threads.

Three products are needed, with x (rows, inner) and weight (inner, columns):

    out = x @ weight           dx = dout @ weight.T           dweight = x.T @ dout

Each is cut into tasks, a block of rows by a block of columns, by the shape alone; tasks.py assigns
them. A task packs its part of the right operand into panels as wide as a register
tile, a stretch of the inner dimension at a time; the panels then stay in the second-level cache and
the rows of the left operand, read as they lie, in the first. Every element is summed in the same
order whichever worker computes it.

From the ground up: `tile.py` has the register tile, `packing.py` brings operands into the order in
which the tile reads them, `epilogue.py` has what is done to a finished strip of rows while it is in
the cache, and here are the loops around them.
"""

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.dropout import mask_arguments, mask_base
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
from gpt_numpy.kernels.products.epilogue import NO_EPILOGUE, PLAIN, Epilogue, finish_row
from gpt_numpy.kernels.products.packing import (
    copy_rows,
    pack,
    pack_left,
    pack_transposed,
    strip_start,
    strips_of,
)
from gpt_numpy.kernels.products.tile import (
    LEAST_ROWS,
    TILE_ROWS,
    Matrix,
    panel_width,
    tile_by_columns,
    tile_by_rows,
)

MANY = 8  # tasks that a product is cut into at least, if it is large enough
SMALL = 4  # tiles that a block keeps at least in each direction

# Blocks of x @ weight and dout @ weight.T: INNER x COLUMNS is what a task packs at a time.
INNER, ROWS, COLUMNS = 384, 518 // TILE_ROWS * TILE_ROWS, 192
FEW = 48 // TILE_ROWS * TILE_ROWS  # rows of a task that finds the right operand packed
# Blocks of x.T @ dout, where both operands are packed.
BOTH_INNER, BOTH_ROWS, BOTH_COLUMNS = 256, 400 // TILE_ROWS * TILE_ROWS, 384

EDGE = 1024  # elements of a register tile, at most: where one goes that hangs over the edge
WIDEST = 64  # elements of a panel's row, at most
PACKED = BOTH_INNER * (BOTH_ROWS + BOTH_COLUMNS + 128)  # elements that a worker packs at most

# The first-level cache holds WAYS lines of one address modulo WAY bytes. Rows a multiple of that
# apart evict each other when a tile reads more of them at once; their strip is copied first.
WAYS, WAY = 8, 4096
APART = 16  # elements between the rows of the copy


@routine
def block_length(length, most, unit):
    """Cut `length` into nearly equal blocks of at most `most`, each a multiple of `unit`."""
    count = -(-length // most)
    return -(-length // (count * unit)) * unit


@routine
def cut(rows, columns, most_rows, most_columns, height, width):
    """How many rows and columns a task has: halved until there are many tasks."""
    row_block = block_length(rows, most_rows, height)
    column_block = block_length(columns, most_columns, width)
    while -(-rows // row_block) * -(-columns // column_block) < MANY:
        if row_block >= column_block and row_block >= 2 * SMALL * height:
            row_block = -(-row_block // (2 * height)) * height
        elif column_block >= 2 * SMALL * width:
            column_block = -(-column_block // (2 * width)) * width
        elif row_block >= 2 * SMALL * height:
            row_block = -(-row_block // (2 * height)) * height
        else:
            break
    return row_block, column_block


@routine
def unit_of(length, most, least):
    """How much of `length` a task has: `most`, halved until there are many tasks."""
    unit = most
    while -(-length // unit) < MANY and unit > least:
        unit //= 2
    return unit


@routine
def store_edge(edge, rows, columns, out, add):
    """Bring the part of a tile that lies inside of the matrix `out` there."""
    array, at, stride = out
    width = panel_width(array)
    for r in range(rows):
        for c in range(columns):
            if add:
                array[at + r * stride + c] += edge[r * width + c]
            else:
                array[at + r * stride + c] = edge[r * width + c]


@routine
def strip_by_rows(a, rows, panels, depth, inner, out, columns, add, edge):
    """Write or add to `out` a @ panels, each `depth` long, for as many rows as a tile has."""
    width = panel_width(out.array)
    for j in range(0, columns, width):
        tile = Matrix(out.array, out.at + j, out.stride)
        if (rows >= TILE_ROWS or rows == LEAST_ROWS) and j + width <= columns:
            tile_by_rows(a, rows, panels, j * depth, tile, inner, add)
        else:
            tile_by_rows(a, rows, panels, j * depth, Matrix(edge, 0, width), inner, False)
            store_edge(edge, min(rows, TILE_ROWS), min(width, columns - j), tile, add)


@routine
def strip_by_columns(a, rows, panels, start, depth, inner, out, columns, add, edge):
    """The same for a.T @ panels, from step `start` of the panels on."""
    width = panel_width(out.array)
    for j in range(0, columns, width):
        panel = j * depth + start * width
        tile = Matrix(out.array, out.at + j, out.stride)
        if rows >= LEAST_ROWS and j + width <= columns:
            tile_by_columns(a, rows, panels, panel, tile, inner, add)
        else:
            tile_by_columns(a, rows, panels, panel, Matrix(edge, 0, width), inner, False)
            store_edge(edge, min(rows, TILE_ROWS), min(width, columns - j), tile, add)


@kernel
def product(
    a: In, b: In, transposed: Int, bias: In, out: Out, rows: Int, columns: Int,
    finish: Int, kind: Int, other: In, second: Out, third: Out,
    key: Key, site: Int, threshold: Word, scale: Real,
    workers: Int, counter: Counter, space: Out,
):  # fmt: skip
    """Write a @ b, or with `transposed` a @ b.T, to `out`; then the epilogue, strip by strip."""
    inner = a.size // rows
    base = mask_base(key[0], site)
    width = panel_width(out)
    row_block, column_block = cut(rows, columns, ROWS, COLUMNS, TILE_ROWS, width)
    step = block_length(inner, INNER, 8)
    whole = inner * (columns + WIDEST) <= PACKED // 2 and rows >= MANY * FEW
    if whole:  # a worker packs all of `b` once, for all its tasks, which then are small
        row_block, column_block, step = FEW, columns, inner
    across = -(-columns // column_block)
    count = -(-rows // row_block) * across
    crowded = TILE_ROWS > WAYS and inner * a.itemsize % WAY == 0
    reset(counter)
    for worker in prange(workers):
        mine = space[worker * (EDGE + PACKED) : (worker + 1) * (EDGE + PACKED)]
        edge, panels, strip = mine[:EDGE], mine[EDGE:], mine[EDGE + PACKED // 2 :]
        packed = False
        task = next_task(counter, worker, workers, count)
        while task < count:
            i0, j0 = task // across * row_block, task % across * column_block
            i1, breadth = min(i0 + row_block, rows), min(column_block, columns - j0)
            for k0 in range(0, inner, step):
                depth = min(step, inner - k0)
                if not packed and transposed:
                    pack_transposed(b, j0 * inner + k0, inner, depth, breadth, panels)
                elif not packed:
                    pack(b, k0 * columns + j0, columns, depth, breadth, panels)
                packed = whole
                for i in range(i0, i1, TILE_ROWS):
                    left = Matrix(a, i * inner + k0, inner)
                    if crowded:
                        left = Matrix(strip, 0, depth + APART)
                        height = min(TILE_ROWS, i1 - i)
                        copy_rows(a, i * inner + k0, inner, height, depth, strip, left.stride)
                    target = Matrix(out, i * columns + j0, columns)
                    strip_by_rows(left, i1 - i, panels, depth, depth, target, breadth, k0 > 0, edge)
                    if k0 + step >= inner and (finish != PLAIN or bias.size > 0):
                        for r in range(i, min(i + TILE_ROWS, i1)):
                            at = r * columns + j0
                            finish_row(
                                finish, kind, out[at : at + breadth], at, bias, j0,
                                (other, second, third), (base, threshold, scale),
                            )  # fmt: skip
            task = next_task(counter, worker, workers, count)


@kernel
def product_of_columns(
    a: In, b: In, out: Out, rows: Int, inner: Int, columns: Int, add: Int,
    workers: Int, counter: Counter, space: Out,
):  # fmt: skip
    """Write or add a.T @ b to `out`, with a (inner, rows) and b (inner, columns): both are packed.

    If it fits, a worker packs all of the smaller operand once, for all its tasks.
    """
    width = panel_width(out)
    row_block, column_block = cut(rows, columns, BOTH_ROWS, BOTH_COLUMNS, TILE_ROWS, width)
    step = block_length(inner, BOTH_INNER, 8)
    keep_left = rows < columns
    whole = inner * (min(rows, columns) + 2 * WIDEST) <= PACKED
    if whole and keep_left:
        row_block, column_block, step = rows, unit_of(columns, 2 * width, width), inner
    elif whole:
        row_block, column_block, step = unit_of(rows, 4 * TILE_ROWS, TILE_ROWS), columns, inner
    down, across = -(-rows // row_block), -(-columns // column_block)
    reset(counter)
    for worker in prange(workers):
        mine = space[worker * (EDGE + PACKED) : (worker + 1) * (EDGE + PACKED)]
        edge, panels = mine[:EDGE], mine[EDGE:]
        left = panels[step * block_length(column_block, column_block, width) :]
        packed = False
        task = next_task(counter, worker, workers, down * across)
        while task < down * across:
            i0 = strip_start(task // across, down, rows)
            i1 = strip_start(task // across + 1, down, rows)
            j0 = task % across * column_block
            breadth = min(column_block, columns - j0)
            for k0 in range(0, inner, step):
                depth = min(step, inner - k0)
                if not packed or keep_left:
                    pack(b, k0 * columns + j0, columns, depth, breadth, panels)
                if not packed or not keep_left:
                    pack_left(a, k0 * rows + i0, rows, depth, i1 - i0, left)
                packed = whole
                strips = strips_of(i1 - i0)
                for s in range(strips):
                    i = strip_start(s, strips, i1 - i0)
                    height = strip_start(s + 1, strips, i1 - i0) - i
                    panel = Matrix(left, i * depth, height)
                    target = Matrix(out, (i0 + i) * columns + j0, columns)
                    strip_by_columns(
                        panel, height, panels, 0, depth, depth, target, breadth,
                        add != 0 or k0 > 0, edge,
                    )  # fmt: skip
            task = next_task(counter, worker, workers, down * across)


def _space(dtype: object) -> Array:
    return workspace("product", threads() * (EDGE + PACKED), dtype)


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

    x (..., I); weight (I, O), transposed (O, I); bias (O,); out (..., O).
    """
    columns = out.shape[-1]
    finish, kind, other, second, third, dropout = epilogue
    product(
        flat(x), flat(weight), int(transposed), flat(bias, x), flat(out),
        x.size // x.shape[-1], columns, finish, kind,
        flat(other, x), flat(second, x), flat(third, x), *mask_arguments(dropout),
        threads(), tasks(), _space(out.dtype),
    )  # fmt: skip


def multiply_columns(x: Array, dout: Array, out: Array, *, add: bool = False) -> None:
    """Write x.T @ dout to `out`, or add it: x (..., I), dout (..., O), out (I, O)."""
    rows, columns = out.shape
    product_of_columns(
        flat(x), flat(dout), flat(out), rows, x.size // rows, columns,
        int(add), threads(), tasks(), _space(out.dtype),
    )  # fmt: skip
