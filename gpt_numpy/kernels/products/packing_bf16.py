"""Packing for bfloat16 products: operands rounded, in pairs, in the order that a tile reads.

A pair is two neighbours along the inner dimension. Where that dimension is odd, the last pair ends
in 0, in both operands. A panel holds a pair, not an element, for each column of a tile or row of a
strip. Sources are float32, or uint16 with bfloat16 numbers.
"""

from gpt_numpy.kernels.engine.jit import routine
from gpt_numpy.kernels.products.packing import GROUP, strip_start, strips_of
from gpt_numpy.kernels.products.rounding_bf16 import (
    HALF,
    LANES,
    bits_at,
    pair_panel_rows,
    pair_tile_columns,
    round_row,
    round_vector,
    transpose_pairs,
)
from gpt_numpy.kernels.products.tile import TILE_ROWS, TILE_VECTORS

WIDTH = TILE_VECTORS * LANES  # columns of a panel
ABREAST = 4  # strips packed at a time
WIDE = -(-TILE_ROWS // LANES) * LANES  # pairs of a step of a strip: whole vectors


@routine
def pair_at(source, at, distance, both):
    """The pair of the element at `at` and the one `distance` further on, or 0."""
    if both:
        return bits_at(source, at) | (bits_at(source, at + distance) << HALF)
    return bits_at(source, at)


@routine
def pack_pairs(b, b_at, b_stride, inner, columns, panels):
    """Lay pairs of rows of `b` (inner, columns) in panels, the last filled up with zeros."""
    steps = (inner + 1) // 2
    whole = columns // WIDTH * WIDTH
    for j0 in range(0, whole, GROUP * WIDTH):
        for k in range(inner // 2):
            first = b_at + 2 * k * b_stride
            for j in range(j0, min(j0 + GROUP * WIDTH, whole), WIDTH):
                at = j * steps + k * WIDTH
                pair_panel_rows(b, first + j, first + b_stride + j, panels, at)
    for j in range(0, columns, WIDTH):
        full = inner // 2 if j + WIDTH <= columns else 0  # steps that are done
        for k in range(full, steps):
            for c in range(WIDTH):
                inside = j + c < columns
                at = b_at + 2 * k * b_stride + j + c
                value = pair_at(b, at, b_stride, 2 * k + 1 < inner) if inside else 0
                panels[j * steps + k * WIDTH + c] = value


@routine
def pack_pairs_transposed(b, b_at, b_stride, inner, columns, panels):
    """The same for `b` (columns, inner), where the elements of a pair are neighbours."""
    steps = (inner + 1) // 2
    for j in range(0, columns, WIDTH):
        at = j * steps
        filled = inner // (2 * LANES) * LANES if j + WIDTH <= columns else 0
        for c in range(0, WIDTH, LANES):
            row = b_at + (j + c) * b_stride
            for k in range(0, filled, LANES):
                transpose_pairs(b, row + 2 * k, b_stride, panels, at + k * WIDTH + c, WIDTH)
        for k in range(filled, steps):
            for c in range(WIDTH):
                inside = j + c < columns
                place = b_at + (j + c) * b_stride + 2 * k
                value = pair_at(b, place, 1, 2 * k + 1 < inner) if inside else 0
                panels[at + k * WIDTH + c] = value


@routine
def round_rows(a, a_at, a_stride, rows, inner, pairs, pairs_stride):
    """Write the rows of a strip of `a` as pairs of neighbours."""
    steps = (inner + 1) // 2
    whole = inner // (2 * LANES) * LANES
    for r in range(rows):
        for k in range(0, whole, LANES):
            round_row(a, a_at + r * a_stride + 2 * k, pairs, r * pairs_stride + k)
        for k in range(whole, steps):
            at = a_at + r * a_stride + 2 * k
            pairs[r * pairs_stride + k] = pair_at(a, at, 1, 2 * k + 1 < inner)


@routine
def pack_left_pairs(a, a_at, a_stride, inner, rows, panels):
    """Lay pairs of rows of `a` (inner, rows) in panels for the strips of a product.

    A step of a panel has whole vectors, so that each begins at a cache line; what lies in them
    beyond the rows of the strip is not read.
    """
    steps = (inner + 1) // 2
    strips = strips_of(rows)
    vectors = max(inner - -(-WIDE // a_stride), 0) // 2  # nothing is read beyond the end of `a`
    for first in range(0, strips, ABREAST):
        some = min(ABREAST, strips - first)
        starts = (  # divisions, which do not belong in the loop over rows
            strip_start(first, strips, rows),
            strip_start(first + 1, strips, rows),
            strip_start(first + 2, strips, rows),
            strip_start(first + 3, strips, rows),
        )
        for k in range(vectors):
            row = a_at + 2 * k * a_stride
            for s in range(some):
                at = ((first + s) * steps + k) * WIDE
                pair_tile_columns(a, row + starts[s], row + a_stride + starts[s], panels, at)
    for s in range(strips):
        i = strip_start(s, strips, rows)
        height = strip_start(s + 1, strips, rows) - i
        for k in range(vectors, steps):
            for r in range(height):
                at = a_at + 2 * k * a_stride + i + r
                value = pair_at(a, at, a_stride, 2 * k + 1 < inner)
                panels[(s * steps + k) * WIDE + r] = value


@routine
def store_row(row, out, at):
    """Write a row of float32 numbers, rounded, to `out` from `at` on."""
    whole = row.size // LANES * LANES
    for k in range(0, whole, LANES):
        round_vector(row, k, out, at + k)
    for k in range(whole, row.size):
        out[at + k] = bits_at(row, k)
