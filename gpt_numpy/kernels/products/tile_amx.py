"""The tile of bfloat16 products in AMX's registers: two by two of them hold the sums.

A step multiplies 16 rows of 16 pairs of the left operand by 16 pairs of 16 columns of the panel,
for each of the four. Pairs are those of tile_bf16.py. The order of the sums is derived in
`reference/bfloat16.py`: it is the same whenever the inner dimension is cut at multiples of 32
elements, and an operand that ends before one is filled up with zeros.

A thread calls `begin_tiles` before its first tile and `end_tiles` after its last one.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from gpt_numpy.kernels.engine.amx import CONFIGURATION, SIDE
from gpt_numpy.kernels.engine.jit import routine
from gpt_numpy.kernels.products.tile import constant, pointer_to, tile_signature

TILE_ROWS, LEAST_ROWS, WIDTH = 2 * SIDE, SIDE, 2 * SIDE
STEP = SIDE  # pairs of a step
# Blocks of matmul_bf16.py (see tile_choice.py) for a second-level cache of 2 MB.
BLOCKS = 384, 512, 768, 384, 64
BOTH_BLOCKS = 384, 384, 768, 4
PACKED = 320 * 1024
LEFT, RIGHT = (4, 5), (6, 7)  # registers; those of the sums are 0 to 3
BYTES = 4  # of a pair, and of a sum


@routine
def fits_rows(rows):
    """Whether a tile may write so many rows straight to the result."""
    return rows >= TILE_ROWS or rows == LEAST_ROWS


fits_columns = fits_rows


def _call(builder: Any, name: str, *arguments: Any) -> None:
    """An instruction; Python's integers are numbers of registers."""
    byte = ir.IntType(8)
    arguments = tuple(ir.Constant(byte, x) if isinstance(x, int) else x for x in arguments)
    kind = ir.FunctionType(ir.VoidType(), [x.type for x in arguments])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.{name}")
    builder.call(function, arguments)


@intrinsic
def begin_tiles(typing: Any) -> Any:
    """Load the shape of this thread's tiles."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        shape = cgutils.global_constant(
            builder, "amx.configuration", cgutils.make_bytearray(CONFIGURATION)
        )
        _call(builder, "ldtilecfg", builder.bitcast(shape, ir.IntType(8).as_pointer()))
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def end_tiles(typing: Any) -> Any:
    """Give the tiles up, so that the system need not save them when another thread runs."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _call(builder, "tilerelease")
        return context.get_dummy_value()

    return types.void(), generate


class _Part:
    """A matrix in memory, of which a register holds a square of `SIDE` times 64 bytes."""

    def __init__(self, builder: Any, start: Any, stride: Any) -> None:
        byte = ir.IntType(8).as_pointer()
        self.builder, self.start = builder, builder.bitcast(start, byte)
        self.stride = builder.mul(stride, constant(BYTES))

    def move(self, name: str, register: int, down: int, offset: Any) -> None:
        """Load or store the square `down` squares further down, `offset` bytes on."""
        b = self.builder
        at = b.add(b.mul(self.stride, constant(down * SIDE)), offset)
        _call(b, name, register, b.gep(self.start, [at]), self.stride)


def _multiply(context: Any, builder: Any, signature: Any, arguments: Any, down: int) -> None:
    """A tile of `down` squares in height."""
    a, _, b, b_at, c, inner, add = arguments
    kinds = signature.args[0][0], signature.args[2], signature.args[4][0]
    (a, a_at, a_stride), (c, c_at, c_stride) = (
        tuple(builder.extract_value(x, k) for k in range(3)) for x in (a, c)
    )
    starts = (
        pointer_to(context, builder, kind, array, at)
        for kind, array, at in zip(kinds, (a, b, c), (a_at, b_at, c_at), strict=True)
    )
    strides = a_stride, constant(WIDTH), c_stride
    left, panel, out = map(_Part, [builder] * 3, starts, strides)
    row = constant(SIDE * BYTES)  # bytes of a register's row
    sums = [(2 * i + j, i, constant(j * SIDE * BYTES)) for i in range(down) for j in range(2)]
    with builder.if_else(builder.trunc(add, ir.IntType(1))) as (then, otherwise):
        with then:
            for register, i, at in sums:
                out.move("tileloadd64", register, i, at)
        with otherwise:
            for register, _, _ in sums:
                _call(builder, "tilezero", register)
    steps = builder.sdiv(inner, constant(STEP))
    with cgutils.for_range(builder, steps) as loop:
        across = builder.mul(loop.index, row)
        below = builder.mul(loop.index, constant(STEP * WIDTH * BYTES))
        for j in range(2):
            panel.move("tileloadd64", RIGHT[j], 0, builder.add(below, constant(j * SIDE * BYTES)))
        for i in range(down):
            left.move("tileloadd64", LEFT[i], i, across)
            for j in range(2):
                _call(builder, "tdpbf16ps", 2 * i + j, LEFT[i], RIGHT[j])
    for register, i, at in sums:
        out.move("tilestored64", register, i, at)


@intrinsic
def pairs_by_rows(
    typing: Any, a: Any, rows: Any, b: Any, b_at: Any, c: Any, inner: Any, add: Any
) -> Any:
    """A tile of c (+)= a @ panel; `inner` counts pairs, and is a multiple of `STEP`.

    All rows of a tile are read and written, or for at most `LEAST_ROWS` of them, so many.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        low = builder.icmp_signed("<=", arguments[1], constant(LEAST_ROWS))
        with builder.if_else(low) as (then, otherwise):
            with then:
                _multiply(context, builder, signature, arguments, 1)
            with otherwise:
                _multiply(context, builder, signature, arguments, 2)
        return context.get_dummy_value()

    return tile_signature(a, b, c), generate


pairs_by_columns = pairs_by_rows  # packing brings the left operand of both into rows
