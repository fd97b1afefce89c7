"""Loops over one row that several layers share: its largest element, its exponentials, its sums.

A sum of exponentials is taken in the row's own type over short stretches, where vectors are full,
and in float64 over the stretches.
"""

import numpy as np

from gpt_numpy.kernels.elementary import exp, like, maximum
from gpt_numpy.kernels.engine.jit import exact, routine

STRETCH = 256


@routine
def largest(row):
    """The largest element; a NaN may be missed, and then shows in the exponentials."""
    result = row[0]
    for i in range(row.size):
        result = maximum(row[i], result)
    return result


@routine
def exp_in_place(row, shift, scale):
    """Replace each element s by exp((s - shift) scale); return their sum, in float64."""
    total = 0.0
    for start in range(0, row.size, STRETCH):
        part = row[start : start + STRETCH]
        subtotal = like(0.0, row)
        for i in range(part.size):
            e = exp((part[i] - shift) * scale)
            part[i] = e
            subtotal += e
        total += np.float64(subtotal)
    return total


@routine
def sum_of_exp(row, shift):
    """The sum of exp(element - shift), in float64."""
    total = 0.0
    for start in range(0, row.size, STRETCH):
        part = row[start : start + STRETCH]
        subtotal = like(0.0, row)
        for i in range(part.size):
            subtotal += exp(part[i] - shift)
        total += np.float64(subtotal)
    return total


@routine
def dot(a, b):
    """The sum of the products of two rows, in float64."""
    total = 0.0
    for i in range(a.size):
        total += np.float64(a[i]) * np.float64(b[i])
    return total


@exact
def fill(row, value):
    """Set every element."""
    v = like(value, row)
    for i in range(row.size):
        row[i] = v


@exact
def scale_in_place(row, factor):
    """Multiply every element."""
    for i in range(row.size):
        row[i] *= factor


@exact
def add_in_place(row, other):
    """Add another row."""
    for i in range(row.size):
        row[i] += other[i]


@exact
def copy(source, target):
    """Copy every element; plain assignment of slices would compile checks of their lengths."""
    for i in range(target.size):
        target[i] = source[i]
