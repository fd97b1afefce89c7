"""exp, sigmoid, tanh and erf of one number, written so that a loop over them becomes vector code.

A call to the C library's exp costs 2 ns an element and its tanh 13; these cost a fraction of one,
because loops over straight-line arithmetic are vectorised. In float64, which is for checking, the C
library is used.

Sources: exp and tanh: S. Moshier, Cephes (expf.c, tanhf.c). erf: N. Juffa, a minimax approximation
of erf and of log(1 - erf) with a relative error below one unit in the last place, as he published
it on Stack Overflow (question 35148198).
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from gpt_numpy.kernels.engine.jit import by_type, exact

_f = np.float32

LOWEST, HIGHEST = (
    _f(-88),
    _f(88.37),
)  # exp(x) is 0 for x <= LOWEST, and exp(HIGHEST) for x > HIGHEST
LOG2_E = _f(1.44269504088896341)
LN2_HIGH, LN2_LOW = _f(0.693359375), _f(-2.12194440e-4)  # n * the high part is exact
# Added to a number, it pushes the fraction out: what stays in the lowest bits is n + 127.
ROUNDER = _f(1.5 * 2**23 + 127)
EXP = tuple(
    _f(c)
    for c in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1)
)
ERF = tuple(
    _f(c) for c in (-5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1)
)
ERFC = tuple(
    _f(c) for c in (3.83197126e-4, -3.88396438e-3, 2.42546219e-2, -1.06777877e-1, -6.34846687e-1)
)
TANH = tuple(
    _f(c) for c in (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1)
)
HALF, ONE = _f(0.5), _f(1)


@intrinsic
def like(typing: Any, value: Any, x: Any) -> Any:
    """`value` in the type of `x`: an array, whose elements count, or a number."""
    target = x.dtype if isinstance(x, types.Array) else x

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.cast(builder, arguments[0], signature.args[0], target)

    return target(value, x), generate


@intrinsic
def low_bits_as_exponent(typing: Any, x: Any) -> Any:
    """2**n in float32, where the lowest bits of `x` are n + 127; 0 for n = -127."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = ir.IntType(32)
        moved = builder.shl(builder.bitcast(arguments[0], bits), ir.Constant(bits, 23))
        return builder.bitcast(moved, ir.FloatType())

    return types.float32(types.float32), generate


@exact
def _exp_single(x):
    """exp(n ln 2 + r) = 2^n exp(r), with r at most ln 2 / 2 in size and a polynomial for exp(r)."""
    bounded = LOWEST if x < LOWEST else x  # a NaN fails every comparison and so passes through
    bounded = HIGHEST if bounded > HIGHEST else bounded
    rounded = bounded * LOG2_E + ROUNDER
    n = rounded - ROUNDER
    r = bounded - n * LN2_HIGH - n * LN2_LOW
    p = ((((EXP[0] * r + EXP[1]) * r + EXP[2]) * r + EXP[3]) * r + EXP[4]) * r + HALF
    return (p * r * r + r + ONE) * low_bits_as_exponent(rounded)


@exact
def _exp_double(x):
    return math.exp(x)


exp = by_type(_exp_single, _exp_double)


@exact
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    one = like(1.0, x)
    return one / (one + exp(-x))


@exact
def _tanh_single(x):
    """A polynomial near 0, where 1 - 2 / (exp(2 x) + 1) would lose digits; beyond it that."""
    y, square = abs(x), x * x
    near = ((TANH[0] * square + TANH[1]) * square + TANH[2]) * square + TANH[3]
    near = (near * square + _f(-3.33332819422e-1)) * square * x + x
    far = ONE - _f(2) / (_exp_single(y + y) + ONE)
    far = -far if x < _f(0) else far
    return far if y > _f(0.625) else near


@exact
def _tanh_double(x):
    return math.tanh(x)


tanh = by_type(_tanh_single, _tanh_double)


@exact
def _erf_single(x):
    """A polynomial near 0; beyond it 1 - exp(polynomial). Both are computed and one is chosen."""
    y, square = abs(x), x * x
    near = (((ERF[0] * square + ERF[1]) * square + ERF[2]) * square + ERF[3]) * square + ERF[4]
    near = (near * square + _f(1.28379166e-1)) * x + x
    far = (_f(-1.72853470e-5) * y + ERFC[0]) * square + (ERFC[1] * y + ERFC[2])
    far = ((far * y + ERFC[3]) * y + ERFC[4]) * y + _f(-1.28717512e-1)
    far = ONE - _exp_single(far * y - y)
    far = -far if x < _f(0) else far
    return far if y > _f(0.927734375) else near


@exact
def _erf_double(x):
    return math.erf(x)


erf = by_type(_erf_single, _erf_double)


@intrinsic
def maximum(typing: Any, a: Any, b: Any) -> Any:
    """The larger number, as an operation of which a loop can be made a vector reduction."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        larger = builder.fcmp_ordered(">", *arguments, flags=("nnan", "nsz"))
        return builder.select(larger, *arguments, flags=("nnan", "nsz"))

    return a(a, a), generate
