"""The tile of bfloat16 products on this machine, and what the loops around it must know.

TILE_ROWS, WIDTH                  its height and its width
BLOCKS                            INNER, ROWS, COLUMNS, FEW, BOTH_INNER, BOTH_ROWS, BOTH_COLUMNS
PACKED                            pairs that a worker packs at most
STEP                              pairs that one step takes; the inner dimension is filled up
UNIT                              strips of x.T @ dout begin at multiples of so many rows
LEFT_BY_ROWS                      whether it reads the left operand of x.T @ dout by its rows
fits_rows(rows), fits_columns     whether a tile may write so many rows straight to the result
pairs_by_rows, pairs_by_columns   the tile of x @ panel, and that of x.T @ panel
begin_tiles(), end_tiles()        what a thread does before its first tile and after its last
"""

from gpt_numpy.kernels.engine.machine_code import AMX, bfloat16_tile

if bfloat16_tile() == AMX:
    from gpt_numpy.kernels.products.tile_amx import (
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

    UNIT, LEFT_BY_ROWS = TILE_ROWS, True
else:
    from gpt_numpy.kernels.products.tile import TILE_ROWS
    from gpt_numpy.kernels.products.tile_bf16 import (
        BLOCKS,
        BOTH_BLOCKS,
        PACKED,
        STEP,
        WIDTH,
        begin_tiles,
        end_tiles,
        fits_columns,
        fits_rows,
        pairs_by_columns,
        pairs_by_rows,
    )

    UNIT, LEFT_BY_ROWS = 1, False

__all__ = [
    "BLOCKS", "BOTH_BLOCKS", "LEFT_BY_ROWS", "PACKED", "STEP", "TILE_ROWS", "UNIT", "WIDTH",
    "begin_tiles", "end_tiles", "fits_columns", "fits_rows", "pairs_by_columns", "pairs_by_rows",
]  # fmt: skip
