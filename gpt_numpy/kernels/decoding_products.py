"""The products of a decoding step: a few rows times a weight that is read once.

A weight is float32, float64, or pairs of bfloat16 numbers (decoding_weights.py). A number of a pair
becomes float32 by a shift or a mask. Sums have an order of their own, which depends neither on the
threads nor on how many rows there are. Products of bfloat16 numbers are exact in float32, and the
processor's instruction for two of them is used where it is fast.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from gpt_numpy.kernels.elementary import like
from gpt_numpy.kernels.engine.jit import exact, routine
from gpt_numpy.kernels.products.rounding_bf16 import LANES, rounded
from gpt_numpy.kernels.products.tile import constant, load, pointer_to, store
from gpt_numpy.kernels.products.tile_bf16 import ARITHMETIC, HALF, UPPER
from gpt_numpy.kernels.rows import fill

EIGHT = 8  # rows of a weight that are added at once: as many streams from memory
BREADTH = 512  # columns at a time, with several sequences: eight rows then stay in the first cache


def _halves(typing: Any, pair: Any, operation: str, number: int) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = getattr(builder, operation)(arguments[0], ir.Constant(ir.IntType(32), number))
        return builder.bitcast(bits, ir.FloatType())

    return types.float32(types.uint32), generate


@intrinsic
def lower(typing: Any, pair: Any) -> Any:
    """The first number of a pair, in float32."""
    return _halves(typing, pair, "shl", HALF)


@intrinsic
def upper(typing: Any, pair: Any) -> Any:
    """The second number of a pair, in float32."""
    return _halves(typing, pair, "and_", UPPER)


@exact
def round_row(row):
    """Round each element to bfloat16."""
    for i in range(row.size):
        row[i] = rounded(row[i])


@exact
def add_products(x, weight, stride, out):
    """Add x @ weight to `out`; row k of the weight starts at k stride, and sums are in order."""
    n = out.size
    whole = x.size // EIGHT * EIGHT
    for k in range(0, whole, EIGHT):
        at = k * stride
        w0, w1 = weight[at : at + n], weight[at + stride : at + stride + n]
        w2 = weight[at + 2 * stride : at + 2 * stride + n]
        w3 = weight[at + 3 * stride : at + 3 * stride + n]
        w4 = weight[at + 4 * stride : at + 4 * stride + n]
        w5 = weight[at + 5 * stride : at + 5 * stride + n]
        w6 = weight[at + 6 * stride : at + 6 * stride + n]
        w7 = weight[at + 7 * stride : at + 7 * stride + n]
        x0, x1, x2, x3 = x[k], x[k + 1], x[k + 2], x[k + 3]
        x4, x5, x6, x7 = x[k + 4], x[k + 5], x[k + 6], x[k + 7]
        for j in range(n):
            total = out[j] + x0 * w0[j] + x1 * w1[j] + x2 * w2[j] + x3 * w3[j]
            out[j] = total + x4 * w4[j] + x5 * w5[j] + x6 * w6[j] + x7 * w7[j]
    for k in range(whole, x.size):
        row, factor = weight[k * stride : k * stride + n], x[k]
        for j in range(n):
            out[j] = out[j] + factor * row[j]


@routine
def multiply_part(x, x_stride, first, rows, weight, breadth, count, shares):
    """The share of `rows` rows of a weight, from `first` on, in the products of `count` rows x."""
    fill(shares, 0.0)
    wide = breadth if count == 1 else BREADTH
    for j in range(0, breadth, wide):
        size = min(wide, breadth - j)
        for k in range(0, rows, EIGHT):
            deep = min(EIGHT, rows - k)
            start = (first + k) * breadth + j
            for b in range(count):
                x_at, at = b * x_stride + first + k, b * breadth + j
                add_products(x[x_at : x_at + deep], weight[start:], breadth, shares[at : at + size])


@intrinsic
def add_eight_pairs(
    typing: Any, x: Any, x_at: Any, pairs: Any, at: Any, stride: Any, out: Any, size: Any
) -> Any:
    """Add sixteen numbers of x times as many rows, eight of pairs, to the whole vectors of `out`.

    The arithmetic is that of the tile of bfloat16 products, and so is the order of the sums.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, x_at, pairs, at, stride, out, size = arguments
        if signature.args[0].dtype == types.float64:  # never called: only float32 is rounded
            return context.get_dummy_value()
        word, vector = ir.IntType(2 * HALF), ir.VectorType(ir.FloatType(), LANES)
        numbers = builder.bitcast(
            pointer_to(context, builder, signature.args[0], x, x_at), word.as_pointer()
        )
        start = pointer_to(context, builder, signature.args[2], pairs, at)
        sums = pointer_to(context, builder, signature.args[5], out, constant(0))
        arithmetic = ARITHMETIC(builder, vector)
        arithmetic.begin()
        spread = []
        for i in range(EIGHT):
            even, odd = (builder.load(builder.gep(numbers, [constant(2 * i + n)])) for n in (0, 1))
            even = builder.lshr(even, ir.Constant(word, HALF))
            pair = builder.or_(even, builder.and_(odd, ir.Constant(word, UPPER)))
            spread.append(arithmetic.spread(pair))
        rows = [builder.gep(start, [builder.mul(stride, constant(i))]) for i in range(EIGHT)]
        with cgutils.for_range(builder, builder.udiv(size, constant(LANES))) as loop:
            offset = builder.mul(loop.index, constant(LANES))
            total = load(builder, sums, offset, vector, 4)
            for row, element in zip(rows, spread, strict=True):
                panel = arithmetic.panel(load(builder, row, offset, arithmetic.read, 4))
                total = arithmetic.add(element, panel, total)
            store(builder, total, sums, offset, 4)
        arithmetic.end()
        return context.get_dummy_value()

    i = types.int64
    return types.void(x, i, pairs, i, i, out, i), generate


@exact
def pair_added(total, even, odd, pair):
    """The sum after a pair of products, in the order of the tile: the odd one first."""
    return total + odd * upper(pair) + even * lower(pair)


@exact
def add_pair_products(x, pairs, stride, out):
    """Add x @ weight to `out`; the pairs of rows 2 k and 2 k + 1 of the weight start at k stride.

    Sums are in order, whatever else is computed: the odd number of a pair first, as in the tile.
    """
    n = out.size
    whole = x.size // (2 * EIGHT) * EIGHT
    for k in range(0, whole, EIGHT):
        at = k * stride
        add_eight_pairs(x, 2 * k, pairs, at, stride, out, n)
        for j in range(n // LANES * LANES, n):
            for i in range(EIGHT):
                out[j] = pair_added(
                    out[j], x[2 * k + 2 * i], x[2 * k + 2 * i + 1], pairs[at + i * stride + j]
                )
    for k in range(whole, x.size // 2):
        row, even, odd = pairs[k * stride : k * stride + n], x[2 * k], x[2 * k + 1]
        for j in range(n):
            out[j] = pair_added(out[j], even, odd, row[j])
    if x.size % 2 == 1:
        k = x.size // 2
        row, last = pairs[k * stride : k * stride + n], x[2 * k]
        for j in range(n):
            out[j] = out[j] + last * lower(row[j])


@routine
def multiply_pairs(x, x_stride, first, rows, pairs, breadth, count, shares):
    """The same of rows in pairs; `first` is even."""
    fill(shares, 0.0)
    wide = breadth if count == 1 else BREADTH
    for j in range(0, breadth, wide):
        size = min(wide, breadth - j)
        for k in range(0, rows, 2 * EIGHT):
            deep = min(2 * EIGHT, rows - k)
            start = (first + k) // 2 * breadth + j
            for b in range(count):
                x_at, at = b * x_stride + first + k, b * breadth + j
                add_pair_products(
                    x[x_at : x_at + deep], pairs[start:], breadth, shares[at : at + size]
                )


@routine
def dot(a, b):
    """The sum of the products of two rows, in their own type."""
    total = like(0.0, a)
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@routine
def dot_pairs(pairs, x):
    """The product of a row of the head with x."""
    half = pairs.size
    first, second = x[:half], x[half:]  # an index that begins at 0 lets the loop become vectors
    total = like(0.0, x)
    for i in range(second.size):
        total += lower(pairs[i]) * first[i] + upper(pairs[i]) * second[i]
    if first.size > second.size:
        total += lower(pairs[half - 1]) * first[half - 1]
    return total
