"""Arrays as strings for the page: half floats with a common power of two, deflated.

The page shows three decimal digits, to which numbers are rounded first: a half float has 11
significant bits and tells all of 1,000 < 2^10 such numbers apart, so no digit changes. Its range is
narrow, so an array is then scaled by the power of two that makes its largest number fill it.
Numbers down to a hundred-millionth of the largest keep three digits, smaller ones fewer.

Large arrays are shown in groups of neighbours, each represented by its largest in magnitude. What
is said in words (a length, a count) is computed here, from all numbers.
"""

import math
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array, Shape
from gpt_numpy.inspection.page.deflated import deflated

TOP = 14  # the largest number lies between 2^14 and 2^15; half floats end at 2^16
BYTES_A_NUMBER = 5 / 2  # at most: five characters for two numbers that do not compress


def pack(array: Array, *, lower: bool = False, wide: bool = False) -> dict[str, Any]:
    """An array as a dictionary for JSON; `unpack` in parts/data.js is the inverse.

    Parameters
    ----------
    lower : store only the lower triangle of the last two axes; the rest becomes zero.
    wide : store float32, not rounded: numbers with which the page goes on computing.
    """
    if wide:
        data = np.asarray(array, dtype="<f4")
        return {"shape": list(data.shape), "wide": True, "data": deflated(data)}
    x = three_digits(np.asarray(array, dtype=np.float64))
    shape = list(x.shape)
    if lower:
        x = x[..., *np.tril_indices(x.shape[-1])]
    finite = np.abs(x[np.isfinite(x)])
    largest = float(finite.max()) if finite.size else 0.0
    shift = min(TOP - math.frexp(largest)[1] + 1, 1000) if largest else 0
    half = np.ldexp(x, shift).astype("<f2")
    packed = {"shape": shape, "shift": shift, "data": deflated(half)}
    return packed | {"lower": True} if lower else packed


def three_digits(x: Array) -> Array:
    """The numbers rounded to three significant decimal digits; those below 1e-290 as they are."""
    size = np.abs(x)
    usual = np.isfinite(x) & (size > 1e-290)
    digits = 2 - np.floor(np.log10(np.where(usual, size, 1)))
    # 10^k is exact for k up to 22 only; dividing by it rounds better than multiplying by 10^-k.
    power = 10.0 ** np.abs(digits)
    rounded = np.where(digits >= 0, np.round(x * power) / power, np.round(x / power) * power)
    return np.where(usual, rounded, x)


def strongest(array: Array, groups: Shape) -> Array:
    """The element of largest magnitude in each group; the last group may be smaller."""
    x = np.asarray(array)
    for axis, group in enumerate(groups):
        if group > 1:
            starts = np.arange(0, x.shape[axis], group)
            low, high = (f.reduceat(x, starts, axis) for f in (np.minimum, np.maximum))
            x = np.where(high >= -low, high, low)
    return x
