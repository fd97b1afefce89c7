"""Hypotheses of the form "the right numbers in the wrong places"."""

from collections.abc import Iterator

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.gradients.diagnosis.case import Case
from gpt_numpy.gradients.diagnosis.regions import axis_names


def transposed(case: Case) -> Iterator[str]:
    """Two axes are exchanged, and perhaps the sign."""
    shape = case.exact.shape
    names = axis_names(case)
    for a in range(len(shape)):
        for b in range(a + 1, len(shape)):
            if shape[a] != shape[b] or not case.tells(case.exact, 3):
                continue
            turned = case.exact.swapaxes(a, b)
            if case.same(turned, case.exact):
                continue
            which = "" if len(shape) == 2 else f" in {names[a]} and {names[b]}"
            if case.same(case.hand, turned):
                yield f"it is transposed{which}: its transpose is right"
            elif case.same(case.hand, -turned):
                yield f"it is transposed{which}, and the sign is wrong"


def shifted(case: Case) -> Iterator[str]:
    """The whole is moved along an axis by one, or runs backwards."""
    names = axis_names(case)
    for axis, size in enumerate(case.exact.shape):
        if size < 3 or not case.tells(case.exact, 3):
            continue
        hand, exact = np.moveaxis(case.hand, axis, 0), np.moveaxis(case.exact, axis, 0)
        for by in (1, -1):
            inner = slice(1, None) if by == 1 else slice(None, -1)
            if case.same(hand[inner], np.roll(exact, by, axis=0)[inner]) and case.tells(
                hand[inner]
            ):
                way = "later" if by == 1 else "earlier"
                yield f"it is shifted: what belongs to one {names[axis]} stands one {way}"
                break
        else:
            if case.same(hand, exact[::-1]):
                yield f"it is reversed along the {names[axis]}s"


def heads_misplaced(case: Case) -> Iterator[str]:
    """The heads went through a reshape without its transpose."""
    n_head = int(case.clues.numbers.get("n_head", 0))
    if n_head < 2 or case.exact.ndim != 3 or case.exact.shape[-1] % n_head:
        return
    B, T, C = case.exact.shape
    if T < 2 or not case.tells(case.exact, 3):
        return
    D = C // n_head
    by_position = case.exact.reshape(B, T, n_head, D).transpose(0, 2, 1, 3).reshape(B, T, C)
    by_head = case.exact.reshape(B, n_head, T, D).transpose(0, 2, 1, 3).reshape(B, T, C)
    if case.same(case.hand, by_position) or case.same(case.hand, by_head):
        yield (
            "the heads are in the wrong place: (B, T, H, D) and (B, H, T, D) were reshaped into "
            "each other without the transpose between them"
        )


def swapped(case: Case) -> Iterator[str]:
    """One of query, key and value holds what belongs to another."""
    thirds = dict(case.thirds())
    for name, index in thirds.items():
        for other, belongs in thirds.items():
            exact: Array = case.exact[belongs]
            if name != other and case.tells(exact, 3) and case.same(case.hand[index], exact):
                yield f"the {name}'s third holds the gradient of the {other}"


def summed(case: Case) -> Iterator[str]:
    """Every element along an axis holds the sum or the mean over it."""
    names = axis_names(case)
    for axis, size in enumerate(case.exact.shape):
        if size < 2 or not case.tells(case.hand, 1):
            continue
        for kind, total in (("sum", case.exact.sum(axis)), ("mean", case.exact.mean(axis))):
            if case.same(case.hand, np.broadcast_to(np.expand_dims(total, axis), case.hand.shape)):
                yield f"every {names[axis]} holds the {kind} over all {names[axis]}s"
