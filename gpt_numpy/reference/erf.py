"""The error function, by rational approximations that also take complex numbers.

Source: W. J. Cody, "Rational Chebyshev Approximations for the Error Function", Mathematics of
Computation 23 (1969), with the coefficients of his CALERF (netlib, SPECFUN). Three ranges of |x|:

    |x| <= 0.46875:   erf(x)  = x P(x^2) / Q(x^2)
    |x| <= 4:         erfc(x) = exp(-x^2) P(x) / Q(x)
    beyond:           erfc(x) = exp(-x^2) / x (1/sqrt(pi) - P(1/x^2) / (x^2 Q(1/x^2)))

with erf(x) = 1 - erfc(x) and erf(-x) = -erf(x); from |x| = 6 on, erf is 1 to the last bit. The
error in float64 is a few units in the last place. The range is chosen by the real part, and the
formulas are evaluated on x as it comes: for x + ih they give the derivative too, which is therefore
not put in by hand (gradients/derivatives.py).
"""

import math
from collections.abc import Sequence

import numpy as np

from gpt_numpy.base.arrays import Array

# Polynomials, highest power first.
_SMALL_P = (
    1.85777706184603153e-1,
    3.16112374387056560e0,
    1.13864154151050156e2,
    3.77485237685302021e2,
    3.20937758913846947e3,
)
_SMALL_Q = (
    1.0,
    2.36012909523441209e1,
    2.44024637934444173e2,
    1.28261652607737228e3,
    2.84423683343917062e3,
)
_MIDDLE_P = (
    2.15311535474403846e-8,
    5.64188496988670089e-1,
    8.88314979438837594e0,
    6.61191906371416295e1,
    2.98635138197400131e2,
    8.81952221241769090e2,
    1.71204761263407058e3,
    2.05107837782607147e3,
    1.23033935479799725e3,
)
_MIDDLE_Q = (
    1.0,
    1.57449261107098347e1,
    1.17693950891312499e2,
    5.37181101862009858e2,
    1.62138957456669019e3,
    3.29079923573345963e3,
    4.36261909014324716e3,
    3.43936767414372164e3,
    1.23033935480374942e3,
)
_LARGE_P = (
    1.63153871373020978e-2,
    3.05326634961232344e-1,
    3.60344899949804439e-1,
    1.25781726111229246e-1,
    1.60837851487422766e-2,
    6.58749161529837803e-4,
)
_LARGE_Q = (
    1.0,
    2.56852019228982242e0,
    1.87295284992346725e0,
    5.27905102951428412e-1,
    6.05183413124413191e-2,
    2.33520497626869185e-3,
)


def erf(x: Array) -> Array:
    """The error function of each element of `x`; real or complex, in the type of `x`."""
    sign = np.copysign(x.real.dtype.type(1), x.real)
    y = (x * sign).ravel()
    with np.errstate(over="ignore", invalid="ignore"):
        result = _erf_small(y)
    # The rest, by index: gathering a few elements is cheaper than choosing between full arrays.
    rest = np.flatnonzero(y.real > 0.46875)
    size = y[rest].real
    middle, large = rest[size <= 4], rest[(size > 4) & (size < 6)]
    result[middle] = 1 - _erfc_middle(y[middle])
    result[large] = 1 - _erfc_large(y[large])
    result[rest[size >= 6]] = 1  # to the last bit of float64
    return result.reshape(x.shape) * sign


def _polynomial(coefficients: Sequence[float], x: Array) -> Array:
    value = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value *= x
        value += coefficient
    return value


def _erf_small(y: Array) -> Array:
    square = y * y
    return y * _polynomial(_SMALL_P, square) / _polynomial(_SMALL_Q, square)


def _erfc_middle(y: Array) -> Array:
    return np.exp(-y * y) * _polynomial(_MIDDLE_P, y) / _polynomial(_MIDDLE_Q, y)


def _erfc_large(y: Array) -> Array:
    square = 1 / (y * y)
    tail = square * _polynomial(_LARGE_P, square) / _polynomial(_LARGE_Q, square)
    return np.exp(-y * y) / y * (1 / math.sqrt(math.pi) - tail)
