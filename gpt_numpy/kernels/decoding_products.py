"""The products of a decoding step: a few rows times a weight that is read once.

A weight is float32, float64, or pairs of bfloat16 numbers (decoding_weights.py). A number of a pair
becomes float32 by a shift or a mask. Sums have an order of their own, which depends neither on the
threads nor on how many rows there are. Products of bfloat16 numbers are exact in float32.
"""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from gpt_numpy.kernels.elementary import like
from gpt_numpy.kernels.engine.jit import exact, routine
from gpt_numpy.kernels.products.rounding_bf16 import HALF, rounded
from gpt_numpy.kernels.rows import fill

EIGHT = 8  # rows of a weight that are added at once: as many streams from memory
BREADTH = 512  # columns at a time, with several sequences: eight rows then stay in the first cache
UPPER = 0xFFFF0000  # the bits of a pair that are its second number


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


@exact
def add_pair_products(x, pairs, stride, out):
    """Add x @ weight to `out`; the pairs of rows 2 k and 2 k + 1 of the weight start at k stride.

    Sums are in order, whatever else is computed.
    """
    n = out.size
    whole = x.size // (2 * EIGHT) * EIGHT
    for k in range(0, whole, EIGHT):
        at = k * stride
        p0, p1 = pairs[at : at + n], pairs[at + stride : at + stride + n]
        p2 = pairs[at + 2 * stride : at + 2 * stride + n]
        p3 = pairs[at + 3 * stride : at + 3 * stride + n]
        p4 = pairs[at + 4 * stride : at + 4 * stride + n]
        p5 = pairs[at + 5 * stride : at + 5 * stride + n]
        p6 = pairs[at + 6 * stride : at + 6 * stride + n]
        p7 = pairs[at + 7 * stride : at + 7 * stride + n]
        y = x[2 * k : 2 * k + 2 * EIGHT]
        x0, x1, x2, x3, x4, x5, x6, x7 = y[0], y[1], y[2], y[3], y[4], y[5], y[6], y[7]
        y0, y1, y2, y3, y4, y5, y6, y7 = y[8], y[9], y[10], y[11], y[12], y[13], y[14], y[15]
        for j in range(n):
            total = out[j] + x0 * lower(p0[j]) + x1 * upper(p0[j])
            total = total + x2 * lower(p1[j]) + x3 * upper(p1[j])
            total = total + x4 * lower(p2[j]) + x5 * upper(p2[j])
            total = total + x6 * lower(p3[j]) + x7 * upper(p3[j])
            total = total + y0 * lower(p4[j]) + y1 * upper(p4[j])
            total = total + y2 * lower(p5[j]) + y3 * upper(p5[j])
            total = total + y4 * lower(p6[j]) + y5 * upper(p6[j])
            out[j] = total + y6 * lower(p7[j]) + y7 * upper(p7[j])
    for k in range(whole, x.size // 2):
        row, even, odd = pairs[k * stride : k * stride + n], x[2 * k], x[2 * k + 1]
        for j in range(n):
            out[j] = out[j] + even * lower(row[j]) + odd * upper(row[j])
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
