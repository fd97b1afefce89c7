"""The register tile of bfloat16 products: float32 sums of pairs of products.

A step takes two elements of the inner dimension, which lie side by side as the halves of 32 bits, a
pair, the first one in the lower half. A lane of a panel is a pair, and so is an element of the left
operand. The tile is that of tile.py with another arithmetic: the processor's instruction, or
float32 vectors that compute the same bits. What these are is derived in `reference/bfloat16.py`: of
a pair the odd element is added first, each sum is rounded once, and denormal numbers are 0.
"""

from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from gpt_numpy.kernels.engine.jit import routine
from gpt_numpy.kernels.engine.machine_code import INSTRUCTION, bfloat16_tile
from gpt_numpy.kernels.products.tile import (
    LEAST_ROWS,
    TILE_ROWS,
    TILE_VECTORS,
    VECTOR_BITS,
    MultiplyAdd,
    broadcast,
    tile_of,
    tile_signature,
)

HALF = 16  # bits
WIDTH = TILE_VECTORS * VECTOR_BITS // (2 * HALF)  # columns of a tile
STEP = 1  # pairs of a step
_LANES = VECTOR_BITS // (2 * HALF)
# Blocks of matmul_bf16.py (see tile_choice.py) for a second-level cache of 1 MB.
BLOCKS = 768, 518 // TILE_ROWS * TILE_ROWS, 384, 8192, 48 // TILE_ROWS * TILE_ROWS
BOTH_BLOCKS = 384, 400 // TILE_ROWS * TILE_ROWS, 384, 8
PACKED = 384 // 2 * (400 // TILE_ROWS * (-(-TILE_ROWS // _LANES) * _LANES) + 384 + 4 * WIDTH)
UPPER = 0xFFFF0000  # of a pair: its odd element as float32
# The control word MXCSR of x86: denormal operands are 0 (DAZ), denormal results are 0 (FTZ), round
# to nearest, no exceptions.
NO_DENORMALS = 0x9FC0
LEAST = 2.0**-126  # the smallest float32 that is not denormal
DENORMAL = LEAST * (1 - 2.0**-25)  # a sum below it does not round to LEAST

_features = llvmlite.binding.get_host_cpu_features()
HAS_INSTRUCTION = bfloat16_tile() == INSTRUCTION
# Whether a control word makes fused multiply-adds treat denormal numbers as the instruction does.
HAS_CONTROL_WORD = bool(_features.get("sse2") and _features.get("fma"))


class BFloat(ir.Type):  # type: ignore[misc]
    """LLVM's type of 16-bit numbers, which llvmlite does not have."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BFloat)

    def __hash__(self) -> int:
        return hash(BFloat)


def integers(bits: int, count: int) -> ir.VectorType:
    """A vector of integers."""
    return ir.VectorType(ir.IntType(bits), count)


def every(vector: ir.VectorType, value: Any) -> ir.Constant:
    """A vector with the same value in every lane."""
    return ir.Constant(vector, [value] * vector.count)


class _OfPairs(MultiplyAdd):
    """What the arithmetics have in common: pairs are loaded as integers of 32 bits."""

    def __init__(self, builder: Any, vector: ir.VectorType) -> None:
        super().__init__(builder, vector)
        self.read = integers(2 * HALF, vector.count)


class DotProduct(_OfPairs):
    """The instruction: two products and two sums in each of 16 lanes."""

    def begin(self) -> None:
        """Declare the instruction."""
        self.pairs = ir.VectorType(BFloat(), 2 * self.vector.count)
        self.function = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(self.vector, [self.vector, self.pairs, self.pairs]),
            f"llvm.x86.avx512bf16.dpbf16ps.{VECTOR_BITS}",
        )

    def add(self, spread: Any, panel: Any, total: Any) -> Any:
        """The sum after this step."""
        spread, panel = (self.builder.bitcast(x, self.pairs) for x in (spread, panel))
        return self.builder.call(self.function, [total, spread, panel])


class FusedPair(_OfPairs):
    """Two fused multiply-adds in float32, while the control word lets no denormal number pass."""

    def begin(self) -> None:
        """Set the control word."""
        b, i32 = self.builder, ir.IntType(2 * HALF)
        self.function = cgutils.get_or_insert_function(
            b.module,
            ir.FunctionType(self.vector, [self.vector] * 3),
            f"llvm.fma.v{self.vector.count}f32",
        )
        self.before, wanted = cgutils.alloca_once(b, i32), cgutils.alloca_once(b, i32)
        b.store(ir.Constant(i32, NO_DENORMALS), wanted)
        self._control("st", self.before)
        self._control("ld", wanted)

    def end(self) -> None:
        """Put the control word back."""
        self._control("ld", self.before)

    def _control(self, action: str, place: Any) -> None:
        byte = ir.IntType(8).as_pointer()
        function = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(ir.VoidType(), [byte]),
            f"llvm.x86.sse.{action}mxcsr",
        )
        self.builder.call(function, [self.builder.bitcast(place, byte)])

    def panel(self, vector: Any) -> Any:
        """The odd and the even elements of a vector of pairs, as float32."""
        b = self.builder
        odd = b.and_(vector, every(self.read, UPPER))
        even = b.shl(vector, every(self.read, HALF))
        return tuple(b.bitcast(x, self.vector) for x in (odd, even))

    def spread(self, element: Any) -> Any:
        """The odd and the even element of a pair, as float32, each in every lane."""
        return self.panel(broadcast(self.builder, element, self.read))

    def add(self, spread: Any, panel: Any, total: Any) -> Any:
        """The sum after this step."""
        for x, y in zip(spread, panel, strict=True):
            total = self.fused(x, y, total)
        return total

    def fused(self, x: Any, y: Any, total: Any) -> Any:
        """Total + x y, rounded once, without denormals."""
        return self.builder.call(self.function, [x, y, total])


class WidePair(FusedPair):
    """The same where there is no such control word, as the reference does it: in float64."""

    def begin(self) -> None:
        """The types of the two widths."""
        self.wide = ir.VectorType(ir.DoubleType(), self.vector.count)
        self.absolute = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(self.wide, [self.wide]),
            f"llvm.fabs.v{self.vector.count}f64",
        )
        self.with_sign = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(self.wide, [self.wide] * 2),
            f"llvm.copysign.v{self.vector.count}f64",
        )

    def end(self) -> None:
        """There is nothing to put back."""

    def fused(self, x: Any, y: Any, total: Any) -> Any:
        """Total + x y, rounded once, without denormals."""
        b = self.builder
        x, y, total = (self._flushed(b.fpext(z, self.wide), LEAST) for z in (x, y, total))
        return b.fptrunc(self._flushed(b.fadd(total, b.fmul(x, y)), DENORMAL), self.vector)

    def _flushed(self, x: Any, least: float) -> Any:
        b = self.builder
        small = b.fcmp_ordered("<", b.call(self.absolute, [x]), every(self.wide, least))
        return b.select(small, b.call(self.with_sign, [every(self.wide, 0.0), x]), x)


ARITHMETIC = DotProduct if HAS_INSTRUCTION else FusedPair if HAS_CONTROL_WORD else WidePair


@intrinsic
def pairs_by_rows(
    typing: Any, a: Any, rows: Any, b: Any, b_at: Any, c: Any, inner: Any, add: Any
) -> Any:
    """A tile of c (+)= a @ panel, as `tile_by_rows`; `inner` counts pairs."""
    return tile_signature(a, b, c), tile_of(ARITHMETIC, by_columns=False)


@intrinsic
def pairs_by_columns(
    typing: Any, a: Any, rows: Any, b: Any, b_at: Any, c: Any, inner: Any, add: Any
) -> Any:
    """A tile of c (+)= a.T @ panel, as `tile_by_columns`; `inner` counts pairs."""
    return tile_signature(a, b, c), tile_of(ARITHMETIC, by_columns=True)


@routine
def fits_rows(rows):
    """Whether a tile may write so many rows straight to the result."""
    return rows >= TILE_ROWS or rows == LEAST_ROWS


@routine
def fits_columns(rows):
    """The same for a tile by columns."""
    return rows >= LEAST_ROWS


@routine
def begin_tiles():
    """Vectors need no preparation."""


@routine
def end_tiles():
    """Nor anything afterwards."""
