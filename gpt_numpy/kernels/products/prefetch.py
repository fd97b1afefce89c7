"""Asking for memory before it is needed: it arrives in the cache while something is computed."""

from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from gpt_numpy.kernels.engine.jit import routine
from gpt_numpy.kernels.products.tile import pointer_to

LINE = 64  # bytes of a cache line
TO_READ, SECOND_LEVEL, DATA = 0, 2, 1  # what llvm.prefetch is asked


@intrinsic
def address_of(typing: Any, array: Any, at: Any) -> Any:
    """Where element `at` lies; it need not exist, for what is asked for is not read."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = pointer_to(context, builder, signature.args[0], *arguments)
        return builder.ptrtoint(pointer, ir.IntType(64))

    return types.int64(array, types.int64), generate


@intrinsic
def prefetch(typing: Any, address: Any) -> Any:
    """Ask for the cache line at this address; one that is nobody's does no harm."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        i32, byte = ir.IntType(32), ir.IntType(8).as_pointer()
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [byte, i32, i32, i32]),
            "llvm.prefetch.p0",
        )
        how = [ir.Constant(i32, k) for k in (TO_READ, SECOND_LEVEL, DATA)]
        builder.call(function, [builder.inttoptr(arguments[0], byte), *how])
        return context.get_dummy_value()

    return types.void(types.int64), generate


class Ahead(NamedTuple):
    """A part of an operand that is packed next: `size` bytes of each of its rows."""

    address: int
    stride: int
    rows: int
    size: int


@routine
def ahead(array, at, stride, rows, columns):
    """What to ask for, from element `at` on."""
    return Ahead(address_of(array, at), stride * array.itemsize, rows, columns * array.itemsize)


@routine
def ask_for(next_part, share, shares):
    """Ask for one of several shares, so that it comes from memory while tiles are computed."""
    address, stride, rows, size = next_part
    first, last = size * share // shares, size * (share + 1) // shares
    for r in range(rows):
        for c in range(first, last, LINE):
            prefetch(address + r * stride + c)
