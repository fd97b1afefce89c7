"""The matrix product in bfloat16: operands rounded to 16 bits, sums in float32.

A bfloat16 is a float32 without its last 16 bits: the sign, all 8 bits of the exponent, and 8
significant bits instead of 24 (the first is not stored). A processor multiplies such numbers at
twice the rate of float32, and they take half the memory.

What is rounded, and where. The two operands of a product, each once, to the nearest bfloat16, of
two equally near ones to the one whose last bit is 0. That is all: products of two of them are exact
(8 + 8 bits), and their sums are float32. Numbers smaller than 2^-126 (denormal) count as 0, in the
operands as in every sum; infinities and NaN stay what they are, and what rounds to more than the
largest bfloat16 (3.39e38) becomes infinite.

The order of the sums is the processor's, and there are two. vdpbf16ps of AVX512_BF16 takes the
inner dimension in pairs, and adds the odd element of a pair first,

    c <- float32(c + a1 b1)
    c <- float32(c + a0 b0)                 for every pair, in order; c = 0 before the first

tdpbf16ps of AMX takes 16 pairs at a time, sums their even and their odd elements apart, and adds
both sums to c,

    e <- float32(e + a0 b0)
    o <- float32(o + a1 b1)                 for 16 pairs, in order; e = o = 0 before the first
    c <- float32(c + float32(e + o))        for every 16 pairs, in order

Each line rounds once, and so does the inner sum of the last; to nearest, of two equally near ones
to the even one. Where the inner dimension ends within a pair or within 16 of them, the others are
0. There is one c for each element of the result from the first pair to the last, however the
product is cut into blocks (for AMX at multiples of 32 elements), so it is the same bits everywhere.

Both are what processors do. The first was measured on 3.2 million sums, the second on 15.4 million
(Emerald Rapids; 1, 2, 7 and 16 pairs; elements of like size, of a range of 2^24, of all bit
patterns, and such that sums cancel, are denormal or overflow): none differed. Intel's manual
describes the second, the denormal numbers and the rounding as well.

Why float64 in the code below. In float32, a1 b1 can overflow or be denormal where c + a1 b1 is not;
the processor rounds neither. In float64 a product is exact, and rounding a sum to float64 before
float32 is the same as rounding it once: to be rounded wrongly, c and a1 b1 together would have to
span more than 53 bits and the sum lie at the middle of two float32 numbers, whose last bit is then
the last bit of one of the two and within 16 + 24 bits of the first. A sum is denormal if it is so
after rounding to 24 bits: less than 2^-126 (1 - 2^-25).

Why the loss does not mind. With u = 2^-8 the rounding of an operand is x (1 + e), |e| <= u, so of a
product of K terms

    |computed - exact| <= (2 u + u^2 + K 2^-24) sum_k |a_k b_k|                to first order

which is 0.8 % of the sum of the absolute products. The errors e are as often up as down, so that of
a sum of K terms of like size about sqrt(K) of them are left, not K. They change the operands like a
noise 256 times smaller than these; the gradient has its own from the choice of the batch, which is
of the gradient's own size. What would not forgive is adding many small numbers to a large one in 16
bits: sums, weights, moments, statistics and the loss therefore stay float32.

Shapes: a (..., K); b (K, N); out (..., N).
"""

import numpy as np

from gpt_numpy.base.arrays import Array

SIGN, HALF_UNIT, QUIET = 0x8000, 0x7FFF, 0x0040  # of the upper 16 bits, of the lower, of a NaN
VDPBF16PS, TDPBF16PS = "vdpbf16ps", "tdpbf16ps"  # instructions, for the order of their sums
TILE = 32  # elements of the inner dimension that tdpbf16ps takes
LEAST = 2.0**-126  # the smallest number that is not denormal
DENORMAL = LEAST * (1 - 2.0**-25)  # what is less does not round to LEAST


def stored(x: Array) -> Array:
    """The bits of float32 numbers rounded to bfloat16, as uint16."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    upper = bits >> 16
    result = (bits + HALF_UNIT + (upper & 1)) >> 16  # overflows for a NaN alone
    result = np.where(np.abs(x) < LEAST, upper & SIGN, result)
    return np.where(np.isnan(x), upper | QUIET, result).astype(np.uint16)


def loaded(bits: Array) -> Array:
    """The float32 numbers whose bfloat16 bits are stored as uint16."""
    return (np.asarray(bits).astype(np.uint32) << 16).view(np.float32)


def rounded(x: Array) -> Array:
    """Float32 numbers rounded to bfloat16, as float32 numbers."""
    return loaded(stored(x))


def product(
    a: Array, b: Array, out: Array | None = None, *, add: bool = False, order: str = VDPBF16PS
) -> Array:
    """Write a @ b to `out`, or with `add` continue the sums that stand there; returns `out`.

    The operands are float32, which are rounded, or uint16 with the bits of bfloat16 numbers.
    `order` is that of the sums: VDPBF16PS or TDPBF16PS.
    """
    a, b = _operand(a), _operand(b)
    if out is None:
        out = np.zeros((*a.shape[:-1], b.shape[-1]), np.float32)
    c = _without_denormals(out, LEAST) if add else np.zeros(out.shape, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        out[...] = (_by_tiles if order == TDPBF16PS else _by_pairs)(a, b, c)
    return out


def _by_pairs(a: Array, b: Array, c: Array) -> Array:
    """The sums c + a @ b as vdpbf16ps computes them."""
    for k in range(0, len(b), 2):
        c = _sum(c, _term(a, b, k + 1))
        c = _sum(c, _term(a, b, k))
    return c


def _by_tiles(a: Array, b: Array, c: Array) -> Array:
    """The sums c + a @ b as tdpbf16ps computes them."""
    for start in range(0, len(b), TILE):
        even = odd = np.zeros(c.shape, np.float32)
        for k in range(start, start + TILE, 2):
            even = _sum(even, _term(a, b, k))
            odd = _sum(odd, _term(a, b, k + 1))
        c = _sum(c, _sum(even, odd))
    return c


def _term(a: Array, b: Array, k: int) -> Array | float:
    """The products of one element of the inner dimension, 0 beyond its end."""
    return a[..., k, None] * b[k] if k < len(b) else 0.0


def _operand(x: Array) -> Array:
    """An operand rounded to bfloat16, as float64 without denormals."""
    x = loaded(x) if x.dtype == np.uint16 else rounded(x)
    return _without_denormals(x, LEAST).astype(np.float64)


def _sum(c: Array, exact_product: Array | float) -> Array:
    """Their sum, rounded once to float32, without denormals."""
    return _without_denormals(c.astype(np.float64) + exact_product, DENORMAL).astype(np.float32)


def _without_denormals(x: Array, least: float) -> Array:
    """What is closer to 0 than `least` becomes 0 of the same sign."""
    return np.where(np.abs(x) < least, np.copysign(x.dtype.type(0), x), x)
