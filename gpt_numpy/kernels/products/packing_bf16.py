"""Packing for bfloat16 products: operands rounded, in pairs, in the order that a tile reads.

A pair is two neighbours along the inner dimension. What a step takes beyond the end of that
dimension is 0, in both operands: the second element of the last pair, and pairs after it. A panel
holds a pair, not an element, for each column of a tile or row of a strip. Sources are float32, or
uint16 with bfloat16 numbers.
"""

from gpt_numpy.kernels.engine.jit import routine
from gpt_numpy.kernels.products.packing import GROUP
from gpt_numpy.kernels.products.rounding_bf16 import (
    HALF,
    LANES,
    bits_at,
    pair_panel_rows,
    pair_tile_columns,
    round_row,
    round_vector,
    transpose_paired_rows,
    transpose_pairs,
)
from gpt_numpy.kernels.products.tile import Matrix
from gpt_numpy.kernels.products.tile_choice import LEFT_BY_ROWS, STEP, TILE_ROWS, UNIT, WIDTH

ABREAST = 4  # strips packed at a time
WIDE = -(-TILE_ROWS // LANES) * LANES  # pairs of a step of a strip by columns: whole vectors
APART = 16  # pairs between rows of a strip: never a multiple of 4,096 bytes from row to row


@routine
def steps_of(inner):
    """How many pairs an inner dimension has after it is filled up."""
    return -(-inner // (2 * STEP)) * STEP


@routine
def strips_of(rows):
    """The number of strips, each at most as high as a tile, that `rows` are cut into."""
    return -(-rows // TILE_ROWS)


@routine
def strip_start(strip, strips, rows):
    """The first row of one of several parts of nearly equal height; the last ends at `rows`."""
    return min(strip * -(-rows // UNIT) // strips * UNIT, rows)


@routine
def pair_at(source, at, distance, left):
    """The pair of the element at `at` and the one `distance` further on, if so many are left."""
    if left > 1:
        return bits_at(source, at) | (bits_at(source, at + distance) << HALF)
    return bits_at(source, at) if left == 1 else 0


@routine
def pack_pairs(b, b_at, b_stride, inner, columns, panels):
    """Lay pairs of rows of `b` (inner, columns) in panels, the last filled up with zeros."""
    steps = steps_of(inner)
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
                value = pair_at(b, at, b_stride, inner - 2 * k) if inside else 0
                panels[j * steps + k * WIDTH + c] = value


@routine
def pack_pairs_transposed(b, b_at, b_stride, inner, columns, panels):
    """The same for `b` (columns, inner), where the elements of a pair are neighbours."""
    steps = steps_of(inner)
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
                value = pair_at(b, place, 1, inner - 2 * k) if inside else 0
                panels[at + k * WIDTH + c] = value


@routine
def round_rows(a, a_at, a_stride, rows, inner, pairs, pairs_stride):
    """Write the rows of a strip of `a` as pairs of neighbours."""
    steps = steps_of(inner)
    whole = inner // (2 * LANES) * LANES
    for r in range(rows):
        for k in range(0, whole, LANES):
            round_row(a, a_at + r * a_stride + 2 * k, pairs, r * pairs_stride + k)
        for k in range(whole, steps):
            at = a_at + r * a_stride + 2 * k
            pairs[r * pairs_stride + k] = pair_at(a, at, 1, inner - 2 * k)


@routine
def pack_left_columns(a, a_at, a_stride, inner, rows, panels):
    """Lay pairs of rows of `a` (inner, rows) in panels for the strips of a product.

    A step of a panel has whole vectors, so that each begins at a cache line; what lies in them
    beyond the rows of the strip is not read.
    """
    steps = steps_of(inner)
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
                value = pair_at(a, at, a_stride, inner - 2 * k)
                panels[(s * steps + k) * WIDE + r] = value


@routine
def columns_panel(panels, strip, steps):
    """The panel of a strip that the above has packed."""
    return Matrix(panels, strip * steps * WIDE, WIDE)


@routine
def columns_size(rows, steps):
    """How many pairs the above writes at most."""
    return strips_of(rows) * steps * WIDE


@routine
def pack_left_rows(a, a_at, a_stride, inner, rows, panels):
    """Lay pairs of rows of `a` (inner, rows) so that a strip has a row of them for each column."""
    steps = steps_of(inner)
    stride = steps + APART
    whole = inner // (2 * LANES) * LANES
    square = rows // LANES * LANES
    for k in range(0, whole, LANES):
        for i in range(0, square, LANES):
            at = a_at + 2 * k * a_stride + i
            transpose_paired_rows(a, at, a_stride, panels, i * stride + k, stride)
    for i in range(rows):
        for k in range(whole if i < square else 0, steps):
            at = a_at + 2 * k * a_stride + i
            panels[i * stride + k] = pair_at(a, at, a_stride, inner - 2 * k)


@routine
def rows_panel(panels, strip, steps):
    """The rows of a strip that the above has packed."""
    return Matrix(panels, strip * TILE_ROWS * (steps + APART), steps + APART)


@routine
def rows_size(rows, steps):
    """How many pairs a tile may read of what the above has packed."""
    return strips_of(rows) * TILE_ROWS * (steps + APART)


if LEFT_BY_ROWS:
    pack_left_pairs, left_panel, left_size = pack_left_rows, rows_panel, rows_size
else:
    pack_left_pairs, left_panel, left_size = pack_left_columns, columns_panel, columns_size


@routine
def store_row(row, out, at):
    """Write a row of float32 numbers, rounded, to `out` from `at` on."""
    whole = row.size // LANES * LANES
    for k in range(0, whole, LANES):
        round_vector(row, k, out, at + k)
    for k in range(whole, row.size):
        out[at + k] = bits_at(row, k)
