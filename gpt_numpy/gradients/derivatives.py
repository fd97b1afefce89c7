"""Derivatives without deriving anything: the complex step, and the best finite difference.

Complex step. For a function f that is analytic, and a small real h,

    f(x + ih) = f(x) + ih f'(x) - h^2 f''(x) / 2 - ...        so  Im f(x + ih) / h = f'(x) + O(h^2)

Nothing is subtracted, so nothing cancels, and h can be 1e-30: the error term is far below rounding,
and the derivative is exact to the last bits. It needs a forward pass that accepts complex numbers,
as `reference/` does. Branches there, such as the largest logit or the sign in ReLU, depend on the
real part only, so the pass is analytic near every point except ReLU's 0.
Source: Squire, Trapp, "Using Complex Variables to Estimate Derivatives of Real Functions" (1998).

Central difference, for a pass that accepts real numbers only:

    D(h) = (f(x + h) - f(x - h)) / 2h = f'(x) + a h^2 + b h^4 + ...

This error falls with h, but the rounding error, eps |f| / h, grows. Richardson's extrapolation

    R(h) = (4 D(h / 2) - D(h)) / 3 = f'(x) + O(h^4)

removes the term in h^2, so a larger h, with less rounding, is enough. The best h depends on f: a
sweep halves it repeatedly, and where two neighbours R(h), R(h / 2) differ least, both errors are
small. Their difference estimates the error that remains.
Source: Richardson, "The Approximate Arithmetical Solution by Finite Differences" (1911).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

STEP = 1e-30
SWEEP = tuple(2.0**-k for k in range(3, 14))  # steps, relative to the value that is moved


class Slope(NamedTuple):
    """A derivative by differences, an estimate of its error, and the best step."""

    value: Any
    error: Any
    step: Any


def central(function: Callable[[float], Any], step: float) -> Any:
    """D(h): the central difference of `function` at 0."""
    return (function(step) - function(-step)) / (2 * step)


def richardson(function: Callable[[float], Any], step: float) -> Any:
    """R(h): two central differences, combined so that the error in h^2 cancels."""
    return (4 * central(function, step / 2) - central(function, step)) / 3


def best_slope(function: Callable[[float], Any], steps: Sequence[float] = SWEEP) -> Slope:
    """The derivative of `function` at 0 by a sweep of steps, the best for each element.

    Parameters
    ----------
    function : takes a number, returns a number or an array; called twice for each step.
    steps : at least three, each half of the one before.
    """
    differences = [np.asarray(central(function, step)) for step in steps]
    slopes = np.array([(4 * b - a) / 3 for a, b in zip(differences, differences[1:], strict=False)])
    gaps = np.abs(np.diff(slopes, axis=0))
    best = np.argmin(np.where(np.isnan(gaps), np.inf, gaps), axis=0)
    value = np.take_along_axis(slopes, best[None] + 1, axis=0)[0]
    error = np.take_along_axis(gaps, best[None], axis=0)[0]
    return Slope(value[()], error[()], np.asarray(steps)[1:][best])
