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


def pointer_to(context: Any, builder: Any, array_type: Any, array: Any, at: Any) -> Any:
    """The address of element `at`."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [at])


def vector_of(context: Any, array_type: Any) -> tuple[ir.VectorType, int]:
    """The LLVM type of a vector of an array's elements, and the alignment of one of them."""
    element = context.get_value_type(array_type.dtype)
    return ir.VectorType(element, lanes_of(array_type)), array_type.dtype.bitwidth // 8


def load(builder: Any, pointer: Any, offset: Any, vector: ir.VectorType, align: int) -> Any:
    """A vector from memory."""
    address = builder.gep(pointer, [offset])
    return builder.load(builder.bitcast(address, vector.as_pointer()), align=align)


def store(builder: Any, value: Any, pointer: Any, offset: Any, align: int) -> None:
    """A vector to memory."""
    address = builder.gep(pointer, [offset])
    builder.store(value, builder.bitcast(address, value.type.as_pointer()), align=align)


def constant(value: int) -> ir.Constant:
    """An offset or a count."""
    return ir.Constant(ir.IntType(64), value)


@intrinsic
def panel_width(typing: Any, array: Any) -> Any:
    """The number of columns of a register tile for this array's type: a constant."""
    width = TILE_VECTORS * lanes_of(array)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return constant(width)

    return types.int64(array), generate


@intrinsic
def vector_lanes(typing: Any, array: Any) -> Any:
    """The number of elements of this array's type in a vector: a constant."""
    lanes = lanes_of(array)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return constant(lanes)

    return types.int64(array), generate


class MultiplyAdd:
    """What a step does: the sum of a vector of the panel times an element of the left operand.

    A tile of other operands has another one of these (tile_bf16.py): vectors of the type `read` are
    loaded from the panel.
    """

    def __init__(self, builder: Any, vector: ir.VectorType) -> None:
        self.builder, self.vector, self.read = builder, vector, vector
        self.align = {"f32": 4, "f64": 8}[vector.element.intrinsic_name]

    def begin(self) -> None:
        """Before the first step."""
        name = f"llvm.fmuladd.v{self.vector.count}{self.vector.element.intrinsic_name}"
        self.function = cgutils.get_or_insert_function(
            self.builder.module, ir.FunctionType(self.vector, [self.vector] * 3), name
        )

    def panel(self, vector: Any) -> Any:
        """A vector of the panel, ready for `add`."""
        return vector

    def spread(self, element: Any) -> Any:
        """An element of the left operand, ready for `add`: in every lane."""
        return broadcast(self.builder, element, self.read)

    def add(self, spread: Any, panel: Any, total: Any) -> Any:
        """The sum after this step."""
        return self.builder.call(self.function, [spread, panel, total])

    def end(self) -> None:
        """After the last step, and after the sums are stored."""


def tile_of(arithmetic: Any, by_columns: bool) -> Any:
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
                choice.add_case(constant(height), block)
            builder.position_at_end(block)
            _tile_of(height, by_columns, arithmetic, context, builder, signature, arguments)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return generate


def _tile_of(
    height: int, by_columns: bool, arithmetic: Any,
    context: Any, builder: Any, signature: Any, arguments: Any,
) -> None:  # fmt: skip
    """A tile of `height` rows; of the highest tile, rows beyond the last one repeat it."""
    a, rows, b, b_at, c, inner, add = arguments
    (a_type, *_), b_type, (c_type, *_) = signature.args[0], signature.args[2], signature.args[4]
    a, a_at, a_stride = (builder.extract_value(a, k) for k in range(3))
    c, c_at, c_stride = (builder.extract_value(c, k) for k in range(3))
    vector, align = vector_of(context, c_type)
    lanes = vector.count
    a_pointer = pointer_to(context, builder, a_type, a, a_at)
    b_pointer = pointer_to(context, builder, b_type, b, b_at)
    c_pointer = pointer_to(context, builder, c_type, c, c_at)
    last = builder.sub(rows, constant(1))

    def row_of(row: int) -> Any:
        if height < TILE_ROWS:
            return constant(row)
        outside = builder.icmp_signed(">", constant(row), last)
        return builder.select(
            outside, last, constant(row)
        )  # so that nothing outside of `a` is read

    if by_columns:
        starts = [builder.gep(a_pointer, [row_of(r)]) for r in range(height)]
    else:
        starts = [builder.gep(a_pointer, [builder.mul(row_of(r), a_stride)]) for r in range(height)]
    places = [(r, v) for r in range(height) for v in range(TILE_VECTORS)]
    sums = {p: cgutils.alloca_once(builder, vector) for p in places}
    offsets = {
        (r, v): builder.add(builder.mul(c_stride, constant(r)), constant(v * lanes))
        for r, v in places
    }
    with builder.if_else(builder.trunc(add, ir.IntType(1))) as (then, otherwise):
        with then:
            for p in places:
                builder.store(load(builder, c_pointer, offsets[p], vector, align), sums[p])
        with otherwise:
            for p in places:
                builder.store(ir.Constant(vector, None), sums[p])
    step_of = arithmetic(builder, vector)
    read, align_read = step_of.read, step_of.align
    step_of.begin()
    with cgutils.for_range(builder, inner) as loop:
        step = loop.index
        row = builder.mul(step, constant(TILE_VECTORS * lanes))
        panel = [
            step_of.panel(
                load(builder, b_pointer, builder.add(row, constant(v * lanes)), read, align_read)
            )
            for v in range(TILE_VECTORS)
        ]
        where = builder.mul(step, a_stride) if by_columns else step
        for r in range(height):
            element = builder.load(builder.gep(starts[r], [where]), align=align_read)
            spread = step_of.spread(element)
            for v in range(TILE_VECTORS):
                total = builder.load(sums[r, v])
                total = step_of.add(spread, panel[v], total)
                builder.store(total, sums[r, v])
    for p in places:
        store(builder, builder.load(sums[p]), c_pointer, offsets[p], align)
    step_of.end()


def broadcast(builder: Any, element: Any, vector: ir.VectorType) -> Any:
    """A vector with one element in every lane."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, element, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None)
    return builder.shuffle_vector(first, undefined, zeros)


def tile_signature(a: Any, b: Any, c: Any) -> Any:
    """The types of what a tile is called with."""
    i = types.int64
    return types.void(a, i, b, i, c, i, types.boolean)


@intrinsic
def tile_by_rows(
    typing: Any, a: Any, rows: Any, b: Any, b_at: Any, c: Any, inner: Any, add: Any
) -> Any:
    """A tile of c (+)= a @ panel, with `a` and `c` matrices, and the panel at `b_at` in `b`."""
    return tile_signature(a, b, c), tile_of(MultiplyAdd, by_columns=False)


@intrinsic
def tile_by_columns(
    typing: Any, a: Any, rows: Any, b: Any, b_at: Any, c: Any, inner: Any, add: Any
) -> Any:
    """A tile of c (+)= a.T @ panel, with `a` and `c` matrices, and the panel at `b_at` in `b`."""
    return tile_signature(a, b, c), tile_of(MultiplyAdd, by_columns=True)


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
    vector, align = vector_of(context, signature.args[2])
    start = pointer_to(context, builder, signature.args[0], source, source_at)
    goal = pointer_to(context, builder, signature.args[2], target, target_at)
    for v in range(vectors):
        offset = constant(v * vector.count)
        store(builder, load(builder, start, offset, vector, align), goal, offset, align)


@intrinsic
def transpose_block(
    typing: Any, source: Any, source_at: Any, source_stride: Any,
    target: Any, target_at: Any, target_stride: Any,
) -> Any:  # fmt: skip
    """Transpose a square as wide as a vector: quarters are swapped, log2 times."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, source_at, source_stride, target, target_at, target_stride = arguments
        vector, align = vector_of(context, signature.args[3])
        lanes = vector.count
        start = pointer_to(context, builder, signature.args[0], source, source_at)
        goal = pointer_to(context, builder, signature.args[3], target, target_at)
        rows = [
            load(builder, start, builder.mul(source_stride, constant(r)), vector, align)
            for r in range(lanes)
        ]
        rows = transposed(builder, rows)
        for r in range(lanes):
            store(builder, rows[r], goal, builder.mul(target_stride, constant(r)), align)
        return context.get_dummy_value()

    i = types.int64
    return types.void(source, i, i, target, i, i), generate


def indices_of(indices: list[int]) -> ir.Constant:
    """The order in which a shuffle takes lanes."""
    return ir.Constant(ir.VectorType(ir.IntType(32), len(indices)), indices)


def transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """The columns of a square of vectors."""
    rows, lanes = list(rows), len(rows)
    distance = lanes // 2
    while distance:
        for r in range(lanes):
            if r & distance == 0:
                upper, lower = rows[r], rows[r + distance]
                keep = [i if not i & distance else lanes + i - distance for i in range(lanes)]
                swap = [i + distance if not i & distance else lanes + i for i in range(lanes)]
                rows[r] = builder.shuffle_vector(upper, lower, indices_of(keep))
                rows[r + distance] = builder.shuffle_vector(upper, lower, indices_of(swap))
        distance //= 2
    return rows
