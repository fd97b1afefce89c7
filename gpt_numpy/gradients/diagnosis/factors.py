"""Hypotheses of the form "right except for a factor": a number, or an array among the clues."""

from collections.abc import Iterator, Mapping

import numpy as np

from gpt_numpy.gradients.diagnosis.wrong_gradient import WrongGradient

RELATIVE = 1e-7  # largest relative difference of a factor from one that has a name


def constant_factor(grad: WrongGradient) -> Iterator[str]:
    """One number is the factor: hand = c exact."""
    hand, exact = grad.hand, grad.exact
    square = float((exact * exact).sum())
    if not np.abs(hand).max(initial=0) > grad.match:
        yield "it is zero: this gradient, or the only path to it, is missing"
    elif square and grad.enough_in(exact) and grad.enough_in(hand):
        c = float((hand * exact).sum()) / square
        if grad.same(hand, c * exact):
            yield name_factor(c, grad.clues.numbers)
    elif not grad.enough_in(exact, 1):
        yield "it should be zero everywhere, and is not"


def name_factor(c: float, numbers: Mapping[str, float]) -> str:
    """A sentence about a gradient that is c times what it should be."""
    if abs(c + 1) < RELATIVE:
        return "the sign is wrong: it is exactly -1 times what it should be"
    sign = " and of the wrong sign" if c < 0 else ""
    size = abs(c)
    found = []
    if abs(size - 2) < RELATIVE:
        found.append("it is added twice, or a factor 1/2 is missing")
    if abs(size - 0.5) < RELATIVE:
        found.append("a factor 2, or one of two equal terms, is missing")
    for name, n in numbers.items():
        if n <= 0 or abs(n - 1) < RELATIVE:
            continue
        for power, text in _POWERS.items():
            if abs(size / n**power - 1) < RELATIVE:
                found.append(text.format(name=name, n=f"{n:g}"))
    about = ": " + "; or ".join(found) if found else ""
    much = "large" if size > 1 else "small"
    return f"it is the right gradient times {c:.6g}, too {much}{sign}{about}"


_POWERS = {
    1.0: "a division by the {name} ({n}) is missing (a sum where a mean belongs)",
    -1.0: "it is divided by the {name} ({n}) once too often (a mean where a sum belongs)",
    0.5: "1/sqrt({name}) is missing ({name} = {n})",
    -0.5: "1/sqrt({name}) is applied once too often ({name} = {n})",
}


def array_factor(grad: WrongGradient) -> Iterator[str]:
    """An array among the clues is the factor, or should be."""
    shape = grad.exact.shape
    if not grad.enough_in(grad.exact, 3) or not grad.enough_in(grad.hand, 3):
        return
    for name, array in grad.arrays("f"):
        if array.shape == shape[:-1]:
            spread = array[..., None]  # one factor per row
        elif array.shape in (shape, shape[-1:]):
            spread = array
        else:
            continue
        if array.size < 2 or np.ptp(array) == 0:
            continue
        if grad.same(grad.hand * spread, grad.exact):
            yield f"a factor {name} is missing: times {name} it is right"
        elif grad.same(grad.exact * spread, grad.hand):
            yield f"{name} is one factor too many: it is the right gradient times {name}"
