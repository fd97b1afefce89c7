"""Hypotheses of the form "right but for a factor": one number, or an array that is at hand."""

from collections.abc import Iterator, Mapping

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.gradients.diagnosis.case import Case

RELATIVE = 1e-7  # how near a factor has to be to one that has a name


def constant_factor(case: Case) -> Iterator[str]:
    """One number c: hand = c exact."""
    hand, exact = case.hand, case.exact
    square = float((exact * exact).sum())
    if not np.abs(hand).max(initial=0) > case.match:
        yield "it is zero: this gradient, or the only path to it, is lost"
    elif square and case.tells(exact) and case.tells(hand):
        c = float((hand * exact).sum()) / square
        if case.same(hand, c * exact):
            yield name_factor(c, case.clues.numbers)
    elif not case.tells(exact, 1):
        yield "it should be zero everywhere, and is not"


def name_factor(c: float, numbers: Mapping[str, float]) -> str:
    """A sentence on a gradient that is c times what it should be."""
    if abs(c + 1) < RELATIVE:
        return "the sign is wrong: it is exactly minus what it should be"
    sign = " and of the wrong sign" if c < 0 else ""
    size = abs(c)
    found = []
    if abs(size - 2) < RELATIVE:
        found.append("it is added twice, or a 1/2 is missing")
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
    return f"it is what it should be times {c:.6g}, too {much}{sign}{about}"


_POWERS = {
    1.0: "a division by the {name} ({n}) is missing (a sum where a mean belongs)",
    -1.0: "it is divided by the {name} ({n}) once too often (a mean where a sum belongs)",
    0.5: "1/sqrt({name}) is missing ({name} = {n})",
    -0.5: "1/sqrt({name}) is applied once too often ({name} = {n})",
}


def array_factor(case: Case) -> Iterator[str]:
    """An array that is at hand makes the one of the other when multiplied by it."""
    shape = case.exact.shape
    if not case.tells(case.exact, 3) or not case.tells(case.hand, 3):
        return
    for name, array in case.arrays("f"):
        if array.size < 2 or np.ptp(array) == 0:
            continue
        spread = _spread(array, shape)
        if spread is None:
            continue
        if case.same(case.hand * spread, case.exact):
            yield f"times {name} it is right: a factor {name} is missing"
        elif case.same(case.exact * spread, case.hand):
            yield f"it is what it should be times {name}: {name} is one factor too many"


def _spread(array: Array, shape: tuple[int, ...]) -> Array | None:
    """An array that fits a gradient of this shape: as large, one number a row, or one a column."""
    if array.shape == shape:
        return array
    if array.shape == shape[:-1]:
        return np.asarray(array[..., None])
    if array.shape == shape[-1:]:
        return array
    return None
