"""Hypotheses of the form "the right numbers in the wrong places"."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.gradients.diagnosis.regions import axis_names
from gpt_numpy.gradients.diagnosis.wrong_gradient import WrongGradient


def transposed(grad: WrongGradient) -> Iterator[str]:
    """Two axes are swapped, perhaps with the wrong sign."""
    shape = grad.exact.shape
    names = axis_names(grad)
    for a, b in combinations(range(len(shape)), 2):
        turned = grad.exact.swapaxes(a, b)
        if shape[a] != shape[b] or grad.same(turned, grad.exact) or not grad.enough_in(turned, 3):
            continue
        which = "" if len(shape) == 2 else f" in {names[a]} and {names[b]}"
        if grad.same(grad.hand, turned):
            yield f"it is transposed{which}: its transpose is right"
        elif grad.same(grad.hand, -turned):
            yield f"it is transposed{which}, and the sign is wrong"


def shifted(grad: WrongGradient) -> Iterator[str]:
    """Everything is shifted along an axis by one, or reversed."""
    names = axis_names(grad)
    for axis, size in enumerate(grad.exact.shape):
        if size < 3 or not grad.enough_in(grad.exact, 3):
            continue
        hand, exact = np.moveaxis(grad.hand, axis, 0), np.moveaxis(grad.exact, axis, 0)
        for by in (1, -1):
            inner = slice(1, None) if by == 1 else slice(None, -1)
            if grad.same(hand[inner], np.roll(exact, by, axis=0)[inner]) and grad.enough_in(
                hand[inner]
            ):
                way = "late" if by == 1 else "early"
                yield f"it is shifted along the {names[axis]}s: every value is one place too {way}"
                break
        else:
            if grad.same(hand, exact[::-1]):
                yield f"it is reversed along the {names[axis]}s"


def heads_misplaced(grad: WrongGradient) -> Iterator[str]:
    """Heads and positions were reshaped into each other without a transpose."""
    n_head = int(grad.clues.numbers.get("n_head", 0))
    if n_head < 2 or grad.exact.ndim != 3 or grad.exact.shape[-1] % n_head:
        return
    B, T, C = grad.exact.shape
    if T < 2 or not grad.enough_in(grad.exact, 3):
        return
    D = C // n_head
    by_position = grad.exact.reshape(B, T, n_head, D).transpose(0, 2, 1, 3).reshape(B, T, C)
    by_head = grad.exact.reshape(B, n_head, T, D).transpose(0, 2, 1, 3).reshape(B, T, C)
    if grad.same(grad.hand, by_position) or grad.same(grad.hand, by_head):
        yield (
            "the heads are in the wrong place: (B, T, H, D) and (B, H, T, D) were reshaped into "
            "each other without a transpose"
        )


def swapped(grad: WrongGradient) -> Iterator[str]:
    """Query, key or value holds the gradient of another one of the three."""
    thirds = dict(grad.thirds())
    for name, index in thirds.items():
        for other, belongs in thirds.items():
            exact: Array = grad.exact[belongs]
            if name != other and grad.enough_in(exact, 3) and grad.same(grad.hand[index], exact):
                yield f"the {name}'s third holds the gradient of the {other}"


def summed(grad: WrongGradient) -> Iterator[str]:
    """Every element along an axis holds the sum or the mean over that axis."""
    names = axis_names(grad)
    for axis, size in enumerate(grad.exact.shape):
        if size < 2 or not grad.enough_in(grad.hand, 1):
            continue
        for kind, total in (("sum", grad.exact.sum(axis)), ("mean", grad.exact.mean(axis))):
            if grad.same(grad.hand, np.broadcast_to(np.expand_dims(total, axis), grad.hand.shape)):
                yield f"every {names[axis]} holds the {kind} over all {names[axis]}s"
