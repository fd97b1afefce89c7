"""Float32 to bfloat16, vector by vector: the building blocks of packing, written as LLVM code.

To the nearest, of two equally near ones to the even one; denormal numbers become 0 and a NaN stays
one (`reference/bfloat16.py`). Where the processor multiplies bfloat16 numbers it rounds to them as
well; elsewhere integers do it. A source may be an array of uint16 as well: then its elements are
bfloat16 already. Every function takes flat arrays and offsets, in elements, and checks none.
"""

from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from gpt_numpy.kernels.engine.machine_code import EMULATED, bfloat16_tile
from gpt_numpy.kernels.products.tile import (
    TILE_ROWS,
    TILE_VECTORS,
    VECTOR_BITS,
    constant,
    indices_of,
    load,
    pointer_to,
    store,
    transposed,
)
from gpt_numpy.kernels.products.tile_bf16 import HALF, BFloat, integers

WORD = ir.IntType(2 * HALF)
LANES = VECTOR_BITS // (2 * HALF)  # float32 numbers, or pairs, in a vector
SINGLES = ir.VectorType(ir.FloatType(), LANES)
PAIRS = integers(2 * HALF, LANES)

# Whether the processor rounds; where products are emulated, rounding is, too.
CONVERTS = (
    bool(llvmlite.binding.get_host_cpu_features().get("avx512bf16"))
    and VECTOR_BITS == 512
    and bfloat16_tile() != EMULATED
)

MAGNITUDE, INFINITE, LEAST = 0x7FFFFFFF, 0x7F800000, 0x00800000  # bits of float32 numbers
HALF_UNIT, QUIET = 0x7FFF, 0x40  # just below half of what is cut off; the mark of a NaN


def _rounded_by_integers(builder: Any, value: Any) -> Any:
    """The 16 bits of float32 numbers, a vector or one, rounded, as integers of 32 bits."""
    kind = PAIRS if isinstance(value.type, ir.VectorType) else WORD
    count = LANES if isinstance(value.type, ir.VectorType) else 0

    def number(n: int) -> ir.Constant:
        return ir.Constant(kind, [n] * count if count else n)

    bits = builder.bitcast(value, kind)
    upper = builder.lshr(bits, number(HALF))
    increment = builder.add(builder.and_(upper, number(1)), number(HALF_UNIT))
    result = builder.lshr(builder.add(bits, increment), number(HALF))
    size = builder.and_(bits, number(MAGNITUDE))
    zero = builder.and_(upper, number(1 << (HALF - 1)))
    result = builder.select(builder.icmp_unsigned("<", size, number(LEAST)), zero, result)
    not_a_number = builder.icmp_unsigned(">", size, number(INFINITE))
    return builder.select(not_a_number, builder.or_(upper, number(QUIET)), result)


def _halves(builder: Any, pointer: Any, offset: Any) -> Any:
    """A vector's worth of bfloat16 numbers, as integers of 16 bits, from either type of array."""
    halves = integers(HALF, LANES)
    if pointer.type.pointee == ir.IntType(HALF):
        return load(builder, pointer, offset, halves, HALF // 8)
    return _rounded(builder, load(builder, pointer, offset, SINGLES, HALF // 4))


def _rounded(builder: Any, vector: Any) -> Any:
    """A vector of float32 numbers as bfloat16 numbers, in integers of 16 bits."""
    halves = integers(HALF, LANES)
    if CONVERTS:
        return builder.bitcast(builder.fptrunc(vector, ir.VectorType(BFloat(), LANES)), halves)
    return builder.trunc(_rounded_by_integers(builder, vector), halves)


def _both(builder: Any, pointer: Any, first: Any, second: Any) -> Any:
    """Two vectors of bfloat16 numbers one after the other, from two offsets."""
    twice = integers(HALF, 2 * LANES)
    if CONVERTS and pointer.type.pointee != ir.IntType(HALF):
        result = ir.VectorType(BFloat(), 2 * LANES)
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(result, [SINGLES, SINGLES]),
            f"llvm.x86.avx512bf16.cvtne2ps2bf16.{VECTOR_BITS}",
        )
        low, high = (load(builder, pointer, at, SINGLES, HALF // 4) for at in (first, second))
        return builder.bitcast(builder.call(function, [high, low]), twice)
    low, high = (_halves(builder, pointer, at) for at in (first, second))
    return builder.shuffle_vector(low, high, indices_of(list(range(2 * LANES))))


def _pointers(context: Any, builder: Any, signature: Any, source: Any, target: Any) -> Any:
    """Where the arrays begin that are the first argument and, if there is one, a later one."""
    kinds = [kind for kind in signature.args if isinstance(kind, types.Array)]
    return (
        pointer_to(context, builder, kind, array, constant(0))
        for kind, array in zip(kinds, (source, target), strict=False)
    )


@intrinsic
def bits_at(typing: Any, source: Any, at: Any) -> Any:
    """One element as bfloat16: its bits, in the lower half of a pair."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (start,) = _pointers(context, builder, signature, arguments[0], None)
        element = builder.load(builder.gep(start, [arguments[1]]))
        if element.type == ir.IntType(HALF):
            return builder.zext(element, WORD)
        return _rounded_by_integers(builder, element)

    return types.uint32(source, types.int64), generate


@intrinsic
def rounded(typing: Any, x: Any) -> Any:
    """A float32 number rounded to bfloat16, as float32; a float64 number as it is."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if x == types.float64:
            return arguments[0]
        bits = builder.shl(_rounded_by_integers(builder, arguments[0]), ir.Constant(WORD, HALF))
        return builder.bitcast(bits, ir.FloatType())

    return x(x), generate


@intrinsic
def round_row(typing: Any, source: Any, source_at: Any, target: Any, target_at: Any) -> Any:
    """A vector of pairs from twice as many neighbours."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, source_at, target, target_at = arguments
        start, goal = _pointers(context, builder, signature, source, target)
        second = builder.add(source_at, constant(LANES))
        pairs = builder.bitcast(_both(builder, start, source_at, second), PAIRS)
        store(builder, pairs, goal, target_at, HALF // 4)
        return context.get_dummy_value()

    return types.void(source, types.int64, target, types.int64), generate


def _pairs_of_rows(builder: Any, pointer: Any, first: Any, second: Any) -> Any:
    """A vector of pairs, each of one element from either of two offsets on."""
    order = indices_of([i // 2 + i % 2 * LANES for i in range(2 * LANES)])
    both = _both(builder, pointer, first, second)
    return builder.bitcast(builder.shuffle_vector(both, both, order), PAIRS)


def _pair_rows(vectors: int) -> Any:
    """The generator of the next two functions: a pair is one element of each of two rows."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, first, second, target, target_at = arguments
        start, goal = _pointers(context, builder, signature, source, target)
        for v in range(vectors):
            offset = constant(v * LANES)
            pairs = _pairs_of_rows(
                builder, start, builder.add(first, offset), builder.add(second, offset)
            )
            store(builder, pairs, goal, builder.add(target_at, offset), HALF // 4)
        return context.get_dummy_value()

    return generate


@intrinsic
def pair_panel_rows(
    typing: Any, source: Any, first: Any, second: Any, target: Any, target_at: Any
) -> Any:
    """Pairs of two rows' elements, as many as a panel is wide."""
    i = types.int64
    return types.void(source, i, i, target, i), _pair_rows(TILE_VECTORS)


@intrinsic
def pair_tile_columns(
    typing: Any, source: Any, first: Any, second: Any, target: Any, target_at: Any
) -> Any:
    """Pairs of two rows' elements, at least as many as a tile has rows, in whole vectors."""
    i = types.int64
    return types.void(source, i, i, target, i), _pair_rows(-(-TILE_ROWS // LANES))


def _transpose(of_rows: bool) -> Any:
    """The generator of the next two functions; `of_rows`: a pair is one element of each of two."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, source_at, source_stride, target, target_at, target_stride = arguments
        start, goal = _pointers(context, builder, signature, source, target)
        rows = []
        for r in range(LANES):
            row = constant(2 * r if of_rows else r)
            at = builder.add(source_at, builder.mul(source_stride, row))
            if of_rows:
                pairs = _pairs_of_rows(builder, start, at, builder.add(at, source_stride))
            else:
                both = _both(builder, start, at, builder.add(at, constant(LANES)))
                pairs = builder.bitcast(both, PAIRS)
            rows.append(pairs)
        for r, column in enumerate(transposed(builder, rows)):
            at = builder.add(target_at, builder.mul(target_stride, constant(r)))
            store(builder, column, goal, at, HALF // 4)
        return context.get_dummy_value()

    return generate


@intrinsic
def transpose_pairs(
    typing: Any, source: Any, source_at: Any, source_stride: Any,
    target: Any, target_at: Any, target_stride: Any,
) -> Any:  # fmt: skip
    """Transpose a square of pairs of neighbours, as wide as a vector of pairs."""
    i = types.int64
    return types.void(source, i, i, target, i, i), _transpose(of_rows=False)


@intrinsic
def transpose_paired_rows(
    typing: Any, source: Any, source_at: Any, source_stride: Any,
    target: Any, target_at: Any, target_stride: Any,
) -> Any:  # fmt: skip
    """Transpose such a square of pairs of one element of each of two rows."""
    i = types.int64
    return types.void(source, i, i, target, i, i), _transpose(of_rows=True)


@intrinsic
def round_vector(typing: Any, source: Any, source_at: Any, target: Any, target_at: Any) -> Any:
    """A vector of float32 numbers to an array of bfloat16 numbers."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, source_at, target, target_at = arguments
        start, goal = _pointers(context, builder, signature, source, target)
        store(builder, _halves(builder, start, source_at), goal, target_at, HALF // 8)
        return context.get_dummy_value()

    return types.void(source, types.int64, target, types.int64), generate
