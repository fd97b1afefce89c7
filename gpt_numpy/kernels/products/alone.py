"""Products that one worker computes alone, and transposition: for many small matrices at a time.

The products of matmul.py are shared out over the workers. Where there are many matrices, as in
kernels/muon.py, each worker does all of a matrix instead, in the cache of its core, and no worker
waits for another. The tile, the packing and the order of the sums are the same.
"""

from gpt_numpy.kernels.engine.jit import routine
from gpt_numpy.kernels.products.matmul import COLUMNS, INNER, strip_by_rows
from gpt_numpy.kernels.products.packing import pack, pack_transposed
from gpt_numpy.kernels.products.tile import (
    LEAST_ROWS,
    TILE_ROWS,
    Matrix,
    panel_width,
    transpose_block,
    vector_lanes,
)


@routine
def low_strips(rows):
    """How many strips of LEAST_ROWS to begin with, so that those of TILE_ROWS make up the rest."""
    for low in range(TILE_ROWS):
        left = rows - low * LEAST_ROWS
        if left >= 0 and left % TILE_ROWS == 0:
            return low
    return 0


@routine
def strips(left, rows, panels, depth, out, breadth, lower, column, add, edge):
    """Write or add to `out` left @ panels; `lower`: what is right of the diagonal may be left out.

    column : that of the whole product at which the panels begin.
    """
    width = panel_width(out.array)
    low, i = low_strips(rows), 0
    while i < rows:
        height = LEAST_ROWS if low > 0 else min(TILE_ROWS, rows - i)
        needed = breadth
        if lower:
            needed = min(breadth, -(-(i + height - column) // width) * width)
        if needed > 0:
            a = Matrix(left.array, left.at + i * left.stride, left.stride)
            target = Matrix(out.array, out.at + i * out.stride, out.stride)
            strip_by_rows(a, height, panels, depth, depth, target, needed, add, edge)
        i, low = i + height, low - 1


@routine
def transpose(source, rows, columns, target):
    """Write source (rows, columns) transposed to target (columns, rows): squares, then the rest."""
    lanes = vector_lanes(target.array)
    down, across = rows // lanes * lanes, columns // lanes * lanes
    for r in range(0, down, lanes):
        for c in range(0, across, lanes):
            transpose_block(
                source.array, source.at + r * source.stride + c, source.stride,
                target.array, target.at + c * target.stride + r, target.stride,
            )  # fmt: skip
    for r in range(rows):
        for c in range(across if r < down else 0, columns):
            value = source.array[source.at + r * source.stride + c]
            target.array[target.at + c * target.stride + r] = value


@routine
def mirror(x, rows):
    """Copy what is below the diagonal of a square matrix to where it is missing."""
    lanes = vector_lanes(x.array)
    for r0 in range(0, rows, lanes):
        height = min(lanes, rows - r0)
        below = Matrix(x.array, x.at + r0 * x.stride, x.stride)
        transpose(below, height, r0, Matrix(x.array, x.at + r0, x.stride))
        for r in range(r0, r0 + height):
            for c in range(r0, r):
                x.array[x.at + c * x.stride + r] = x.array[x.at + r * x.stride + c]


@routine
def gram(x, rows, inner, out, panels, edge):
    """Write x @ x.T to out: its lower half, which is mirrored."""
    for j0 in range(0, rows, COLUMNS):
        breadth = min(COLUMNS, rows - j0)
        for k0 in range(0, inner, INNER):
            depth = min(INNER, inner - k0)
            pack_transposed(x.array, x.at + j0 * x.stride + k0, x.stride, depth, breadth, panels)
            left = Matrix(x.array, x.at + k0, x.stride)
            target = Matrix(out.array, out.at + j0, out.stride)
            strips(left, rows, panels, depth, target, breadth, True, j0, k0 > 0, edge)
    mirror(out, rows)


@routine
def multiply_alone(a, x, rows, columns, lower, out, panels, edge):
    """Write a @ x to out, with a (rows, rows); `lower`: the half of a symmetric product.

    `out` may be x, whose columns are packed before they are overwritten.
    """
    for j0 in range(0, columns, COLUMNS):
        breadth = min(COLUMNS, columns - j0)
        pack(x.array, x.at + j0, x.stride, rows, breadth, panels)
        target = Matrix(out.array, out.at + j0, out.stride)
        strips(a, rows, panels, rows, target, breadth, lower, j0, False, edge)


@routine
def symmetric(a, x, rows, out, panels, edge):
    """Write a @ x to out, where a and x are symmetric and commute: then so is their product."""
    multiply_alone(a, x, rows, rows, True, out, panels, edge)
    mirror(out, rows)
