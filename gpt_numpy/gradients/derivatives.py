"""Two ways to a derivative without deriving: the complex step, and differences as good as they get.

Complex step. For a function f that is analytic, and a small real h,

    f(x + ih) = f(x) + ih f'(x) - h^2 f''(x) / 2 - ...        so  Im f(x + ih) / h = f'(x) + O(h^2)

Nothing is subtracted, so nothing cancels, and h can be 1e-30: the second term is far below rounding
and the derivative is exact to the last bits. It needs a forward pass that takes complex numbers;
`reference/` does. Choices, such as the largest logit or the side of 0 in ReLU, go by the real part
there, so near every point but ReLU's 0 the pass is analytic.
Source: Squire, Trapp, "Using Complex Variables to Estimate Derivatives of Real Functions" (1998).

Central difference, for a pass that takes real numbers only:

    D(h) = (f(x + h) - f(x - h)) / 2h = f'(x) + a h^2 + b h^4 + ...

The error falls with h, while that of rounding, eps |f| / h, grows. Richardson's extrapolation

    R(h) = (4 D(h / 2) - D(h)) / 3 = f'(x) + O(h^4)

takes out the term in h^2, so that a larger h, with less rounding, will do. Which h is best depends
on f: a sweep halves it again and again, and where two neighbours R(h), R(h / 2) differ least, both
errors are small; their difference estimates what is left.
Source: Richardson, "The Approximate Arithmetical Solution by Finite Differences" (1911).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

STEP = 1e-30
SWEEP = tuple(2.0**-k for k in range(3, 14))  # of the step, as a share of what is moved


class Slope(NamedTuple):
    """A derivative by differences, the estimate of its error, and the step that was best."""

    value: Any
    error: Any
    step: Any


def central(function: Callable[[float], Any], step: float) -> Any:
    """D(h): the central difference of `function` at 0."""
    return (function(step) - function(-step)) / (2 * step)


def richardson(function: Callable[[float], Any], step: float) -> Any:
    """R(h): two central differences without their error in h^2; four evaluations."""
    return (4 * central(function, step / 2) - central(function, step)) / 3


def best_slope(function: Callable[[float], Any], steps: Sequence[float] = SWEEP) -> Slope:
    """The derivative of `function` at 0 by a sweep of steps; arrays are judged by element.

    Parameters
    ----------
    function : of one number, to a number or an array; two evaluations a step.
    steps : at least three, each half of the one before.
    """
    differences = [np.asarray(central(function, step)) for step in steps]
    slopes = np.array([(4 * b - a) / 3 for a, b in zip(differences, differences[1:], strict=False)])
    gaps = np.abs(np.diff(slopes, axis=0))
    best = np.argmin(np.where(np.isnan(gaps), np.inf, gaps), axis=0)
    value = np.take_along_axis(slopes, best[None] + 1, axis=0)[0]
    error = np.take_along_axis(gaps, best[None], axis=0)[0]
    return Slope(value[()], error[()], np.asarray(steps)[1:][best])
