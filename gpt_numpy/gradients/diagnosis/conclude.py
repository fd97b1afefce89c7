"""Which hypotheses hold, put together: where the gradient is wrong, and what it looks like."""

from collections.abc import Callable, Iterator

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.gradients.diagnosis.case import Case, Clues
from gpt_numpy.gradients.diagnosis.factors import array_factor, constant_factor
from gpt_numpy.gradients.diagnosis.missing import (
    at_targets,
    lost_positions,
    missing_of_rows,
    missing_term,
    of_lookup,
)
from gpt_numpy.gradients.diagnosis.orders import (
    heads_misplaced,
    shifted,
    summed,
    swapped,
    transposed,
)
from gpt_numpy.gradients.diagnosis.regions import ranges, where

# From the most telling on; those of one line say nearly the same: the first that holds is enough.
HYPOTHESES: tuple[tuple[Callable[[Case], Iterator[str]], ...], ...] = (
    (constant_factor, transposed, shifted, heads_misplaced, summed),
    (swapped,),
    (lost_positions, of_lookup, at_targets),
    (missing_term, missing_of_rows, array_factor),
)
MOST = 3  # sentences


def diagnose(
    hand: Array, exact: Array, scale: float, tolerance: float, clues: Clues | None = None
) -> list[str]:
    """Sentences on a wrong gradient: where it is wrong, and which mistakes give these numbers.

    Parameters
    ----------
    hand, exact : the gradient as it was written, and as it should be.
    scale : what errors are divided by, such as the largest of `exact`.
    tolerance : the largest error, as a share of the scale, of a right element.
    clues : what is known around it.
    """
    case = Case(hand, exact, scale, tolerance, clues or Clues())
    if not np.isfinite(hand).all():
        bad = ~np.isfinite(hand)
        return [f"{int(bad.sum()):,} of {bad.size:,} elements are not finite numbers"]
    if not case.wrong.any():
        return []
    sentences = [where(case)]
    found = _named(case) or _generic(case)
    if not found:
        found = _by_part(case)
    if not found and not case.wrong.all():
        found = _of_wrong_rows(case)
    return sentences + (found[:MOST] or [_unexplained(case)])


def _named(case: Case) -> list[str]:
    """Known mistakes that give exactly this gradient."""
    return [
        f"looks like: {text} (the same to {case.match / case.scale:.0e} everywhere)"
        for text, array in case.clues.named.items()
        if case.same(case.hand, array)
    ]


def _generic(case: Case) -> list[str]:
    sentences = []
    for group in HYPOTHESES:
        for hypothesis in group:
            found = list(hypothesis(case))
            sentences += found
            if found:
                break
        if sentences:
            return [f"looks like: {text}" for text in sentences]
    return []


def _by_part(case: Case) -> list[str]:
    """What holds of query, key and value, each for itself."""
    found: dict[str, list[str]] = {}
    for name, index in case.thirds():
        part = case.part(index)
        if part.wrong.any():
            for text in (_named(part) or _generic(part))[:1]:
                found.setdefault(text.removeprefix("looks like: "), []).append(name)
    return [
        f"looks like, in the {' and the '.join(parts)}: {text}" for text, parts in found.items()
    ]


def _of_wrong_rows(case: Case) -> list[str]:
    """What holds of the rows, or of the columns, that are wrong."""
    for axis, what in ((0, "first"), (-1, "last")):
        moved = np.moveaxis(case.wrong, axis, 0)
        touched = moved.reshape(len(moved), -1).any(axis=1)
        if touched.all() or case.exact.ndim == 1 and axis == -1:
            continue
        hand, exact = (np.moveaxis(a, axis, 0)[touched] for a in (case.hand, case.exact))
        part = Case(hand, exact, case.scale, case.tolerance, Clues(numbers=case.clues.numbers))
        for text in (text for form in (constant_factor, shifted) for text in form(part)):
            return [
                f"looks like, in index {ranges(np.flatnonzero(touched))} of the {what} axis: {text}"
            ]
    return []


def _unexplained(case: Case) -> str:
    """What can be said if no hypothesis holds: the angle, and the ratio of the lengths."""
    hand, exact = np.linalg.norm(case.hand), np.linalg.norm(case.exact)
    if not hand or not exact:
        return "no known mistake gives these numbers"
    cosine = float((case.hand * case.exact).sum() / (hand * exact))
    return (
        "no known mistake gives these numbers; as a whole it is "
        f"{hand / exact:.6g} times as long as it should be, at a cosine of {cosine:.6f} to it"
    )
