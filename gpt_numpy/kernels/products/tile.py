"""Vector building blocks, written as LLVM code: the register tile, copies and transposes.

A tile of a product `out = a @ b` is held in registers while the inner dimension runs: a step loads
one row of the panel of `b`, broadcasts one element of `a` for each row, and multiplies and adds.
How many rows and vectors a tile has follows from the number of registers: 32 with AVX-512 and NEON,
16 with AVX2. Every function takes flat arrays and offsets into them, in elements, and checks none.
"""

from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from gpt_numpy.kernels.engine.machine_code import vector_bits

VECTOR_BITS = vector_bits()
TILE_ROWS, TILE_VECTORS = {512: (14, 2), 256: (6, 2), 128: (8, 3)}[VECTOR_BITS]
# Lower tiles exist, too. Of tiles by columns all from this height on, so that any number of rows is
# cut into strips of nearly equal height; of tiles by rows only this one: LLVM has too few registers
# for the addresses of the others, and spills.
LEAST_ROWS = {512: 8, 256: 4, 128: 6}[VECTOR_BITS]


class Matrix(NamedTuple):
    """A matrix inside a flat array: row r starts at `at` + r `stride`."""

    array: Any
    at: int
    stride: int


def lanes_of(array_type: Any) -> int:
    """How many elements of this array type a vector holds."""
    return VECTOR_BITS // array_type.dtype.bitwidth


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, at: Any) -> Any:
    """The address of element `at`."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [at])


def _vector(context: Any, array_type: Any) -> tuple[ir.VectorType, int]:
    """The LLVM type of a vector of an array's elements, and the alignment of one of them."""
    element = context.get_value_type(array_type.dtype)
    return ir.VectorType(element, lanes_of(array_type)), array_type.dtype.bitwidth // 8


def _load(builder: Any, pointer: Any, offset: Any, vector: ir.VectorType, align: int) -> Any:
    address = builder.gep(pointer, [offset])
    return builder.load(builder.bitcast(address, vector.as_pointer()), align=align)


def _store(builder: Any, value: Any, pointer: Any, offset: Any, align: int) -> None:
    address = builder.gep(pointer, [offset])
    builder.store(value, builder.bitcast(address, value.type.as_pointer()), align=align)


def _int(value: int) -> ir.Constant:
    return ir.Constant(ir.IntType(64), value)


@intrinsic
def panel_width(typing: Any, array: Any) -> Any:
    """The number of columns of a register tile for this array's type: a constant."""
    width = TILE_VECTORS * lanes_of(array)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _int(width)

    return types.int64(array), generate


@intrinsic
def vector_lanes(typing: Any, array: Any) -> Any:
    """The number of elements of this array's type in a vector: a constant."""
    lanes = lanes_of(array)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _int(lanes)

    return types.int64(array), generate


def _tile(by_columns: bool) -> Any:
    """The generator of a register tile; `by_columns`: `a` is read down its columns."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows = arguments[1]
        done = builder.append_basic_block("done")
        whole = builder.append_basic_block("whole")
        choice = builder.switch(rows, whole)
        for height in range(LEAST_ROWS, TILE_ROWS + 1, 1 if by_columns else TILE_ROWS - LEAST_ROWS):
            block = whole
            if height < TILE_ROWS:
                block = builder.append_basic_block("lower")
                choice.add_case(_int(height), block)
            builder.position_at_end(block)
            _tile_of(height, by_columns, context, builder, signature, arguments)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return generate


def _tile_of(
    height: int, by_columns: bool, context: Any, builder: Any, signature: Any, arguments: Any
) -> None:
    """A tile of `height` rows; of the highest tile, rows beyond the last one repeat it."""
    a, rows, b, b_at, c, inner, add = arguments
    (a_type, *_), b_type, (c_type, *_) = signature.args[0], signature.args[2], signature.args[4]
    a, a_at, a_stride = (builder.extract_value(a, k) for k in range(3))
    c, c_at, c_stride = (builder.extract_value(c, k) for k in range(3))
    vector, align = _vector(context, c_type)
    lanes = vector.count
    a_pointer = _pointer(context, builder, a_type, a, a_at)
    b_pointer = _pointer(context, builder, b_type, b, b_at)
    c_pointer = _pointer(context, builder, c_type, c, c_at)
    last = builder.sub(rows, _int(1))

    def row_of(row: int) -> Any:
        if height < TILE_ROWS:
            return _int(row)
        outside = builder.icmp_signed(">", _int(row), last)
        return builder.select(outside, last, _int(row))  # so that nothing outside of `a` is read

    if by_columns:
        starts = [builder.gep(a_pointer, [row_of(r)]) for r in range(height)]
    else:
        starts = [builder.gep(a_pointer, [builder.mul(row_of(r), a_stride)]) for r in range(height)]
    places = [(r, v) for r in range(height) for v in range(TILE_VECTORS)]
    sums = {p: cgutils.alloca_once(builder, vector) for p in places}
    offsets = {
        (r, v): builder.add(builder.mul(c_stride, _int(r)), _int(v * lanes)) for r, v in places
    }
    with builder.if_else(builder.trunc(add, ir.IntType(1))) as (then, otherwise):
        with then:
            for p in places:
                builder.store(_load(builder, c_pointer, offsets[p], vector, align), sums[p])
        with otherwise:
            for p in places:
                builder.store(ir.Constant(vector, None), sums[p])
    name = f"llvm.fmuladd.v{lanes}{vector.element.intrinsic_name}"
    multiply_add = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vector, [vector] * 3), name
    )
    with cgutils.for_range(builder, inner) as loop:
        step = loop.index
        row = builder.mul(step, _int(TILE_VECTORS * lanes))
        panel = [
            _load(builder, b_pointer, builder.add(row, _int(v * lanes)), vector, align)
            for v in range(TILE_VECTORS)
        ]
        where = builder.mul(step, a_stride) if by_columns else step
        for r in range(height):
            element = builder.load(builder.gep(starts[r], [where]), align=align)
            spread = _broadcast(builder, element, vector)
            for v in range(TILE_VECTORS):
                total = builder.load(sums[r, v])
                total = builder.call(multiply_add, [spread, panel[v], total])
                builder.store(total, sums[r, v])
    for p in places:
        _store(builder, builder.load(sums[p]), c_pointer, offsets[p], align)


def _broadcast(builder: Any, element: Any, vector: ir.VectorType) -> Any:
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, element, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None)
    return builder.shuffle_vector(first, undefined, zeros)


def _tile_signature(a: Any, b: Any, c: Any) -> Any:
    i = types.int64
    return types.void(a, i, b, i, c, i, types.boolean)


@intrinsic
def tile_by_rows(
    typing: Any, a: Any, rows: Any, b: Any, b_at: Any, c: Any, inner: Any, add: Any
) -> Any:
    """A tile of c (+)= a @ panel, with `a` and `c` matrices, and the panel at `b_at` in `b`."""
    return _tile_signature(a, b, c), _tile(by_columns=False)


@intrinsic
def tile_by_columns(
    typing: Any, a: Any, rows: Any, b: Any, b_at: Any, c: Any, inner: Any, add: Any
) -> Any:
    """A tile of c (+)= a.T @ panel, with `a` and `c` matrices, and the panel at `b_at` in `b`."""
    return _tile_signature(a, b, c), _tile(by_columns=True)


@intrinsic
def copy_panel_row(typing: Any, source: Any, source_at: Any, target: Any, target_at: Any) -> Any:
    """Copy as many elements as a panel is wide."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _copy(context, builder, signature, arguments, TILE_VECTORS)
        return context.get_dummy_value()

    return types.void(source, types.int64, target, types.int64), generate


@intrinsic
def copy_tile_column(typing: Any, source: Any, source_at: Any, target: Any, target_at: Any) -> Any:
    """Copy at least as many elements as a tile has rows, in whole vectors."""
    vectors = -(-TILE_ROWS // lanes_of(target))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _copy(context, builder, signature, arguments, vectors)
        return context.get_dummy_value()

    return types.void(source, types.int64, target, types.int64), generate


def _copy(context: Any, builder: Any, signature: Any, arguments: Any, vectors: int) -> None:
    source, source_at, target, target_at = arguments
    vector, align = _vector(context, signature.args[2])
    start = _pointer(context, builder, signature.args[0], source, source_at)
    goal = _pointer(context, builder, signature.args[2], target, target_at)
    for v in range(vectors):
        offset = _int(v * vector.count)
        _store(builder, _load(builder, start, offset, vector, align), goal, offset, align)


@intrinsic
def transpose_block(
    typing: Any, source: Any, source_at: Any, source_stride: Any,
    target: Any, target_at: Any, target_stride: Any,
) -> Any:  # fmt: skip
    """Transpose a square as wide as a vector: quarters are swapped, log2 times."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, source_at, source_stride, target, target_at, target_stride = arguments
        vector, align = _vector(context, signature.args[3])
        lanes = vector.count
        start = _pointer(context, builder, signature.args[0], source, source_at)
        goal = _pointer(context, builder, signature.args[3], target, target_at)
        rows = [
            _load(builder, start, builder.mul(source_stride, _int(r)), vector, align)
            for r in range(lanes)
        ]
        distance = lanes // 2
        while distance:
            for r in range(lanes):
                if r & distance == 0:
                    upper, lower = rows[r], rows[r + distance]
                    keep = [i if not i & distance else lanes + i - distance for i in range(lanes)]
                    swap = [i + distance if not i & distance else lanes + i for i in range(lanes)]
                    rows[r] = builder.shuffle_vector(upper, lower, _mask(keep))
                    rows[r + distance] = builder.shuffle_vector(upper, lower, _mask(swap))
            distance //= 2
        for r in range(lanes):
            _store(builder, rows[r], goal, builder.mul(target_stride, _int(r)), align)
        return context.get_dummy_value()

    i = types.int64
    return types.void(source, i, i, target, i, i), generate


def _mask(indices: list[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(indices)), indices)
