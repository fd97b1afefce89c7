"""Loops over the channels of one query or key, as vector code: whole vectors, then single elements.

A head has 32 to 128 channels. Of a loop in Python LLVM makes one of several vectors a step, with
tests whether arrays overlap before it, and computes what is left element by element: of so few
channels that is all. Every function takes flat arrays and offsets, in elements, and checks none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from gpt_numpy.kernels.products.tile import (
    broadcast,
    constant,
    load,
    pointer_to,
    store,
    vector_of,
)

FLAGS = ("contract",)  # a multiplication and an addition may become one operation
ORDER_FREE = ("reassoc",)  # of the sum over the lanes
UNROLLED = (1, 2, 4, 8)  # vectors: heads of 32, 64 and 128 channels, and their halves


@dataclass
class Channels:
    """Some neighbouring channels, a vector of them or one, of each array of a loop."""

    builder: Any
    kind: Any
    align: int
    pointers: list[Any]
    offset: Any
    numbers: list[Any]

    def read(self, *numbers: int) -> list[Any]:
        """The channels of the arrays with these numbers."""
        pointers = (self.pointers[k] for k in numbers)
        return [load(self.builder, p, self.offset, self.kind, self.align) for p in pointers]

    def write(self, number: int, value: Any) -> None:
        """Store the channels of an array."""
        store(self.builder, value, self.pointers[number], self.offset, self.align)

    def times(self, *factors: Any) -> Any:
        """The product, multiplied from the left to the right."""
        result, *others = factors
        for factor in others:
            result = self.builder.fmul(result, factor, flags=FLAGS)
        return result

    def plus(self, a: Any, b: Any) -> Any:
        """The sum."""
        return self.builder.fadd(a, b, flags=FLAGS)

    def minus(self, a: Any, b: Any) -> Any:
        """The difference."""
        return self.builder.fsub(a, b, flags=FLAGS)

    def wide(self, value: Any) -> Any:
        """In float64."""
        double = _wide(self.kind)
        return value if value.type == double else self.builder.fpext(value, double)


def _wide(kind: Any) -> Any:
    double = ir.DoubleType()
    return ir.VectorType(double, kind.count) if isinstance(kind, ir.VectorType) else double


def _loop(body: Callable[[Channels], Any]) -> Any:
    """The generator of a loop: `body` emits a step; what it returns is summed, in float64.

    The arguments are arrays, each with the offsets at which it is read (none: at 0), then numbers,
    last the number of channels.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds, size = signature.args[:-1], arguments[-1]
        pointers, numbers = _places(context, builder, kinds, arguments)
        vector, align = vector_of(context, kinds[0])
        spread = [broadcast(builder, number, vector) for number in numbers]
        totals = {
            kind: cgutils.alloca_once_value(builder, ir.Constant(_wide(kind), None))
            for kind in (vector, vector.element)
        }

        def step(kind: Any, offset: Any) -> None:
            given = spread if kind is vector else numbers
            term = body(Channels(builder, kind, align, pointers, offset, given))
            if term is not None:
                total = builder.fadd(builder.load(totals[kind]), term, flags=FLAGS)
                builder.store(total, totals[kind])

        _steps(builder, size, vector, step)
        if signature.return_type == types.void:
            return context.get_dummy_value()
        lanes, single = (builder.load(total) for total in totals.values())
        add = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.DoubleType(), [ir.DoubleType(), lanes.type]),
            f"llvm.vector.reduce.fadd.v{vector.count}f64",
        )
        return builder.call(add, [single, lanes], fastmath=ORDER_FREE)

    return generate


def _places(context: Any, builder: Any, kinds: Any, arguments: Any) -> tuple[list[Any], list[Any]]:
    """Where the arrays are read, and the numbers."""
    places: list[tuple[Any, Any, list[Any]]] = []  # type of an array, the array, its offsets
    numbers = []
    for kind, value in zip(kinds, arguments, strict=False):
        if isinstance(kind, types.Array):
            places.append((kind, value, []))
        elif kind == types.int64:
            places[-1][2].append(value)
        else:
            numbers.append(value)
    pointers = [
        pointer_to(context, builder, kind, array, offset)
        for kind, array, offsets in places
        for offset in offsets or [constant(0)]
    ]
    return pointers, numbers


def _steps(builder: Any, size: Any, vector: Any, step: Callable[[Any, Any], None]) -> None:
    """Emit the steps: one after the other for usual sizes, two loops for all others."""
    others, done = builder.append_basic_block("others"), builder.append_basic_block("done")
    choice = builder.switch(size, others)
    for vectors in UNROLLED:
        block = builder.append_basic_block("unrolled")
        choice.add_case(constant(vectors * vector.count), block)
        builder.position_at_end(block)
        for v in range(vectors):
            step(vector, constant(v * vector.count))
        builder.branch(done)
    builder.position_at_end(others)
    whole = builder.and_(size, constant(-vector.count))
    for kind, start, stop, stride in (
        (vector, constant(0), whole, vector.count),
        (vector.element, whole, size, 1),
    ):
        loop = cgutils.for_range_slice(builder, start, stop, constant(stride), size.type)
        with loop as (offset, _):
            step(kind, offset)
    builder.branch(done)
    builder.position_at_end(done)


_i = types.int64


@intrinsic
def sum_of_squares(typing: Any, x: Any, at: Any, size: Any) -> Any:
    """In float64."""

    def step(c: Channels) -> Any:
        (value,) = map(c.wide, c.read(0))
        return c.times(value, value)

    return types.float64(x, _i, _i), _loop(step)


@intrinsic
def copy_channels(typing: Any, x: Any, at: Any, out: Any, out_at: Any, size: Any) -> Any:
    """Write x to `out`."""

    def step(c: Channels) -> None:
        c.write(1, *c.read(0))

    return types.void(x, _i, out, _i, _i), _loop(step)


@intrinsic
def divide(
    typing: Any, x: Any, at: Any, weight: Any, out: Any, out_at: Any, rstd: Any, size: Any
) -> Any:
    """Write x rstd weight to `out`."""

    def step(c: Channels) -> None:
        value, weight = c.read(0, 1)
        c.write(2, c.times(value, c.numbers[0], weight))

    return types.void(x, _i, weight, out, _i, rstd, _i), _loop(step)


@intrinsic
def divide_sums(
    typing: Any, dout: Any, dout_at: Any, x: Any, at: Any, weight: Any,
    dweight: Any, dweight_at: Any, rstd: Any, size: Any,
) -> Any:  # fmt: skip
    """Add to the sums of `dweight`; return the sum of dout weight x rstd, in float64."""

    def step(c: Channels) -> Any:
        d, value, weight, dweight = c.read(0, 1, 2, 3)
        xhat = c.times(value, c.numbers[0])
        c.write(3, c.plus(dweight, c.times(d, xhat)))
        return c.wide(c.times(d, weight, xhat))

    signature = types.float64(dout, _i, x, _i, weight, dweight, _i, rstd, _i)
    return signature, _loop(step)


@intrinsic
def divide_backward(
    typing: Any, dx: Any, dx_at: Any, x: Any, at: Any, weight: Any,
    rstd: Any, slope: Any, size: Any,
) -> Any:  # fmt: skip
    """Replace dout, in `dx`, by (dout weight - x rstd slope) rstd."""

    def step(c: Channels) -> None:
        (d, value, weight), (rstd, slope) = c.read(0, 1, 2), c.numbers
        along = c.times(value, rstd, slope)
        c.write(0, c.times(c.minus(c.times(d, weight), along), rstd))

    return types.void(dx, _i, x, _i, weight, rstd, slope, _i), _loop(step)


@intrinsic
def turn_pairs(
    typing: Any, x: Any, first: Any, second: Any, rotations: Any, cos: Any, sin: Any,
    sign: Any, size: Any,
) -> Any:  # fmt: skip
    """Turn pairs of channels in place by their angles, times `sign`."""

    def step(c: Channels) -> None:
        first, second, cos, sin = c.read(0, 1, 2, 3)
        sin = c.times(sin, c.numbers[0])
        c.write(0, c.minus(c.times(first, cos), c.times(second, sin)))
        c.write(1, c.plus(c.times(second, cos), c.times(first, sin)))

    return types.void(x, _i, _i, rotations, _i, _i, sign, _i), _loop(step)
