"""Tests all hypotheses on a wrong gradient and reports those that hold."""

from collections.abc import Callable, Iterator

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.gradients.diagnosis.factors import array_factor, constant_factor
from gpt_numpy.gradients.diagnosis.misplaced import (
    heads_misplaced,
    shifted,
    summed,
    swapped,
    transposed,
)
from gpt_numpy.gradients.diagnosis.missing import (
    at_targets,
    lost_positions,
    missing_of_rows,
    missing_term,
    wrong_lookup,
)
from gpt_numpy.gradients.diagnosis.regions import ranges, where
from gpt_numpy.gradients.diagnosis.wrong_gradient import Clues, WrongGradient

# Most specific first: the first hypothesis that holds is reported.
HYPOTHESES: tuple[Callable[[WrongGradient], Iterator[str]], ...] = (
    *(constant_factor, transposed, shifted, heads_misplaced, summed, swapped),
    *(lost_positions, wrong_lookup, at_targets, missing_term, missing_of_rows, array_factor),
)
MOST_SENTENCES = 3


def diagnose(
    hand: Array, exact: Array, scale: float, tolerance: float, clues: Clues | None = None
) -> list[str]:
    """Sentences on where a gradient is wrong and which mistakes give these numbers.

    Parameters
    ----------
    hand, exact : the gradient as backward wrote it, and as it should be.
    scale : what errors are divided by, such as the largest element of `exact`.
    tolerance : the largest error of a right element, relative to the scale.
    clues : arrays and numbers around the gradient, for hypotheses to use.
    """
    grad = WrongGradient(hand, exact, scale, tolerance, clues or Clues())
    if not np.isfinite(hand).all():
        bad = ~np.isfinite(hand)
        return [f"{int(bad.sum()):,} of {bad.size:,} elements are not finite numbers"]
    if not grad.wrong.any():
        return []
    found = _named(grad) or _generic(grad) or _by_part(grad) or _of_wrong_rows(grad)
    return [where(grad), *(found[:MOST_SENTENCES] or [_unexplained(grad)])]


def _named(grad: WrongGradient) -> list[str]:
    """The known mistakes that give exactly this gradient."""
    return [
        f"looks like: {text} (the same to {grad.match / grad.scale:.0e} everywhere)"
        for text, array in grad.clues.named.items()
        if grad.same(grad.hand, array)
    ]


def _generic(grad: WrongGradient) -> list[str]:
    """What the first hypothesis that holds says."""
    for hypothesis in HYPOTHESES:
        found = [f"looks like: {text}" for text in hypothesis(grad)]
        if found:
            return found
    return []


def _by_part(grad: WrongGradient) -> list[str]:
    """What holds for query, key and value separately."""
    found: dict[str, list[str]] = {}
    for name, index in grad.thirds():
        part = grad.part(index)
        if part.wrong.any():
            for text in (_named(part) or _generic(part))[:1]:
                found.setdefault(text.removeprefix("looks like: "), []).append(name)
    return [
        f"looks like, in the {' and the '.join(parts)}: {text}" for text, parts in found.items()
    ]


def _of_wrong_rows(grad: WrongGradient) -> list[str]:
    """What holds for the wrong rows or columns alone."""
    if grad.wrong.all():
        return []
    for axis, what in ((0, "first"), (-1, "last")):
        moved = np.moveaxis(grad.wrong, axis, 0)
        touched = moved.reshape(len(moved), -1).any(axis=1)
        if touched.all() or grad.exact.ndim == 1 and axis == -1:
            continue
        hand, exact = (np.moveaxis(a, axis, 0)[touched] for a in (grad.hand, grad.exact))
        clues = Clues(numbers=grad.clues.numbers)
        part = WrongGradient(hand, exact, grad.scale, grad.tolerance, clues)
        for text in (*constant_factor(part), *shifted(part)):
            indices = ranges(np.flatnonzero(touched))
            return [f"looks like, in index {indices} of the {what} axis: {text}"]
    return []


def _unexplained(grad: WrongGradient) -> str:
    """If no hypothesis holds: the ratio of the lengths, and the angle."""
    hand, exact = np.linalg.norm(grad.hand), np.linalg.norm(grad.exact)
    if not hand or not exact:
        return "no known mistake gives these numbers"
    cosine = float((grad.hand * grad.exact).sum() / (hand * exact))
    return (
        "no known mistake gives these numbers; as a whole it is "
        f"{hand / exact:.6g} times as long as it should be, at a cosine of {cosine:.6f} to it"
    )
