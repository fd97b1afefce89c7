"""Packing: operands copied into the order in which a register tile reads them.

A panel holds, step by step of the inner dimension, as many elements of the right operand as a tile
is wide, or of the left operand as a tile is high; panels follow one another.
"""

from gpt_numpy.kernels.engine.jit import routine
from gpt_numpy.kernels.products.prefetch import address_of, prefetch
from gpt_numpy.kernels.products.tile import (
    TILE_ROWS,
    copy_panel_row,
    copy_tile_column,
    panel_width,
    transpose_block,
    vector_lanes,
)

GROUP = 4  # panels filled at a time, so that several cache lines of each row are read together
AHEAD = 16  # rows further on are asked for: the processor does not foresee a jump from row to row
ABREAST = 4  # strips packed at a time, for the same reason


@routine
def pack(b, b_at, b_stride, inner, columns, panels):
    """Lay rows of `b` (inner, columns) in panels, the last one filled up with zeros."""
    width = panel_width(panels)
    whole = columns // width * width
    grouped = whole // (GROUP * width) * (GROUP * width)
    for j in range(0, grouped, GROUP * width):
        for k in range(inner):
            source, target = b_at + k * b_stride + j, j * inner + k * width
            for g in range(GROUP):
                prefetch(address_of(b, source + AHEAD * b_stride + g * width))
                copy_panel_row(b, source + g * width, panels, target + g * width * inner)
    for j in range(grouped, whole, width):
        for k in range(inner):
            copy_panel_row(b, b_at + k * b_stride + j, panels, j * inner + k * width)
    if whole < columns:
        for k in range(inner):
            for c in range(width):
                inside = whole + c < columns
                value = b[b_at + k * b_stride + whole + c] if inside else 0
                panels[whole * inner + k * width + c] = value


@routine
def pack_transposed(b, b_at, b_stride, inner, columns, panels):
    """The same for `b` (columns, inner): squares are transposed in registers."""
    width, lanes = panel_width(panels), vector_lanes(panels)
    for j in range(0, columns, width):
        at = j * inner
        filled = 0
        if j + width <= columns:
            filled = inner // lanes * lanes
            for c in range(0, width, lanes):
                row = b_at + (j + c) * b_stride
                for k in range(0, filled, lanes):
                    transpose_block(b, row + k, b_stride, panels, at + k * width + c, width)
        for k in range(filled, inner):
            for c in range(width):
                inside = j + c < columns
                panels[at + k * width + c] = b[b_at + (j + c) * b_stride + k] if inside else 0


@routine
def copy_rows(a, a_at, a_stride, rows, inner, copy, copy_stride):
    """Copy a strip's rows of `a` to where they lie at another distance."""
    width = panel_width(copy)
    whole = inner // width * width
    for k in range(0, whole, width):
        for r in range(rows):
            copy_panel_row(a, a_at + r * a_stride + k, copy, r * copy_stride + k)
    for r in range(rows):
        for k in range(whole, inner):
            copy[r * copy_stride + k] = a[a_at + r * a_stride + k]


@routine
def strips_of(rows):
    """The number of strips, each at most as high as a tile, that `rows` are cut into."""
    return -(-rows // TILE_ROWS)


@routine
def strip_start(strip, strips, rows):
    """The first row of a strip; heights differ by 1 at most, and the last strip ends at `rows`."""
    return strip * rows // strips


@routine
def pack_left(a, a_at, a_stride, inner, rows, panels):
    """Lay columns of `a` (inner, rows) in panels as narrow as the strips of a product are high.

    Copies whole vectors, which may be wider than a strip; the next copy overwrites the excess.
    """
    lanes = vector_lanes(panels)
    wide = -(-TILE_ROWS // lanes) * lanes
    vectors = max(inner - 1 - wide // a_stride, 0)  # steps that are not read beyond the end of `a`
    strips = strips_of(rows)
    abreast = strips // ABREAST * ABREAST
    for s in range(0, abreast, ABREAST):  # divisions do not belong in the loop over steps
        i0, i1 = strip_start(s, strips, rows), strip_start(s + 1, strips, rows)
        i2, i3 = strip_start(s + 2, strips, rows), strip_start(s + 3, strips, rows)
        i4 = strip_start(s + 4, strips, rows)
        for k in range(vectors):
            row = a_at + k * a_stride
            prefetch(address_of(a, row + AHEAD * a_stride + i0))
            prefetch(address_of(a, row + AHEAD * a_stride + i4 - 1))
            copy_tile_column(a, row + i0, panels, i0 * inner + k * (i1 - i0))
            copy_tile_column(a, row + i1, panels, i1 * inner + k * (i2 - i1))
            copy_tile_column(a, row + i2, panels, i2 * inner + k * (i3 - i2))
            copy_tile_column(a, row + i3, panels, i3 * inner + k * (i4 - i3))
    for s in range(abreast, strips):
        i = strip_start(s, strips, rows)
        height = strip_start(s + 1, strips, rows) - i
        for k in range(vectors):
            copy_tile_column(a, a_at + k * a_stride + i, panels, i * inner + k * height)
    for s in range(strips):
        i = strip_start(s, strips, rows)
        height = strip_start(s + 1, strips, rows) - i
        for k in range(vectors, inner):
            for r in range(height):
                panels[i * inner + k * height + r] = a[a_at + k * a_stride + i + r]
