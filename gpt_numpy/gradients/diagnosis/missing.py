"""Hypotheses on what is missing: a term of a known form, or the share of some positions."""

from collections.abc import Iterator

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.gradients.diagnosis.regions import ranges
from gpt_numpy.gradients.diagnosis.wrong_gradient import WrongGradient


def missing_term(grad: WrongGradient) -> Iterator[str]:
    """The missing term is an array among the clues, or such an array is added once too often."""
    for name, array in grad.arrays("f"):
        if array.shape != grad.exact.shape or not grad.enough_in(array):
            continue
        if grad.same(grad.missing, array):
            path = ": the path around the layer, in a residual connection" * (name == "dout")
            yield f"what is missing is exactly {name}{path}"
        elif grad.same(grad.missing, -array):
            yield f"{name} is added once too often"


def missing_of_rows(grad: WrongGradient) -> Iterator[str]:
    """The missing term is constant in each row, or there a multiple of a row of some array."""
    fewest = 4 if grad.exact.ndim == 1 else 3  # columns
    if not grad.exact.ndim or grad.exact.shape[-1] < fewest or not grad.enough_in(grad.missing, 3):
        return
    missing = grad.missing
    mean = grad.hand.mean(axis=-1, keepdims=True)
    if grad.same(missing, -mean):
        yield (
            "it is right after its own mean over the last axis is subtracted: the term that does "
            "so is missing (in layer norm: mean(dxhat))"
        )
        return
    if grad.same(missing, missing.mean(axis=-1, keepdims=True)):
        yield (
            "what is missing is the same number in every column of a row: a sum or a mean over the "
            "columns is missing, or taken over the wrong axis"
        )
        return
    for name, array in grad.arrays("f"):
        if array.shape != grad.exact.shape:
            continue
        mean = array.mean(axis=-1, keepdims=True)
        for text, base in ((name, array), (f"({name} - its mean)", array - mean)):
            square = (base * base).sum(axis=-1, keepdims=True)
            share = (missing * base).sum(axis=-1, keepdims=True) / np.where(square == 0, 1, square)
            if square.any() and grad.same(missing, share * base):
                yield (
                    f"what is missing in each row is a multiple of {text}, a different one in each "
                    f"row: a term {text} times a sum over the row is missing"
                    + (" (in layer norm: xhat * mean(dxhat * xhat))" if "mean" in text else "")
                    + (" (in softmax: out * sum(dout * out))" if name == "out" else "")
                )
                return


def at_targets(grad: WrongGradient) -> Iterator[str]:
    """Wrong in each row at the element that an integer array points to."""
    for name, array in grad.arrays("iu"):
        if not grad.exact.ndim or array.shape != grad.exact.shape[:-1] or not array.size:
            continue
        kept = np.asarray(array >= 0)
        zero = np.asarray((np.abs(grad.exact) <= grad.match).all(axis=-1))
        if (~kept).any() and zero[~kept].all() and grad.wrong[~kept].any():
            others = "wrong as well" if grad.wrong[kept].any() else "right"
            rows = f"rows where {name} < 0"
            yield f"{rows} do not count and must be zero: they are not (the others are {others})"
        named = np.clip(array, 0, grad.exact.shape[-1] - 1)[..., None]
        at = np.zeros(grad.exact.shape, bool)
        np.put_along_axis(at, named, kept[..., None], axis=-1)
        if grad.exact.shape[-1] > 2 and np.array_equal(grad.wrong & kept[..., None], at):
            yield f"wrong only at the element of each row given by {name}: the -1 is missing"
        elif grad.exact.shape[-1] > 3:
            for by in (1, -1):
                moved = np.roll(at, by, axis=-1)
                if np.array_equal(grad.wrong & kept[..., None], at | moved):
                    way = "after" if by == 1 else "before"
                    yield f"wrong at the element given by {name} and the one {way} it: off by one"


def lost_positions(grad: WrongGradient) -> Iterator[str]:
    """Some positions of out are left out of the sum, or counted twice."""
    contributions = grad.clues.contributions
    if contributions is None or not grad.enough_in(grad.exact, 3):
        return
    out_shape = contributions.shape[:-1]
    groups: list[tuple[int, ...]] = [(axis,) for axis in range(len(out_shape))]
    groups += [tuple(range(len(out_shape) - 1))] if len(out_shape) > 2 else []
    for axes in groups:
        weights = _weights(grad, contributions, axes)
        if weights is None:
            continue
        lost = np.abs(weights) < 1e-6
        doubled = np.abs(weights - 2) < 1e-6
        if (lost | doubled | (np.abs(weights - 1) < 1e-6)).all() and (lost | doubled).any():
            yield _of_positions(grad, axes, weights, lost)
            return


def _weights(grad: WrongGradient, contributions: Array, axes: tuple[int, ...]) -> Array | None:
    """The weights that sum the contributions of positions to hand; None if there are none."""
    others = tuple(k for k in range(contributions.ndim - 1) if k not in axes)
    parts = contributions.sum(axis=others).reshape(-1, grad.exact.size)
    counts = np.abs(parts).max(axis=1) > grad.match
    shape = [contributions.shape[k] for k in axes]
    if counts.sum() < 2 or counts.sum() > 500:
        return None
    if counts.sum() > grad.exact.size:  # too many unknown weights for a unique solution
        return _one_weight(grad, parts, shape)
    used = parts[counts]
    found, _, rank, _ = np.linalg.lstsq(used.T, grad.hand.reshape(-1), rcond=1e-10)
    if rank < len(used) or not grad.same(found @ used, grad.hand.reshape(-1)):
        return None
    weights = np.ones(len(parts))
    weights[counts] = found
    return weights.reshape(shape)


def _one_weight(grad: WrongGradient, parts: Array, shape: list[int]) -> Array | None:
    """The weights, if all positions but one are counted, or only one; None otherwise."""
    for k, part in enumerate(parts):
        weights = np.ones(len(parts))
        weights[k] = 0
        if not grad.enough_in(part):
            continue
        if grad.same(grad.missing.reshape(-1), part):
            return weights.reshape(shape)
        if grad.same(grad.hand.reshape(-1), part):
            return (1 - weights).reshape(shape)
    return None


def _of_positions(grad: WrongGradient, axes: tuple[int, ...], weights: Array, lost: Array) -> str:
    """A sentence about the positions that are left out or counted twice."""
    whole = grad.clues.whole
    if not lost.any():
        return f"the contribution of {_places(axes, weights > 1.5)} of {whole} is counted twice"
    for name, array in grad.arrays("iu"):
        if array.shape == lost.shape:
            overwritten = np.ones(array.size, bool)
            overwritten[-1 - np.unique(array.reshape(-1)[::-1], return_index=True)[1]] = False
            if np.array_equal(lost.reshape(-1), overwritten):
                return (
                    f"only the last of equal {name} counts: rows that occur several times must be "
                    "added up, but array[index] += ... overwrites them (use np.add.at)"
                )
    left = np.count_nonzero(~lost)
    if left <= lost.size // 2 and lost.size > 2 or left == 1:
        return (
            f"only the contribution of {_places(axes, ~lost)} of {whole} counts: the sum is missing"
        )
    return f"the contribution of {_places(axes, lost)} of {whole} is missing"


def _places(axes: tuple[int, ...], mask: Array) -> str:
    if mask.ndim == 1:
        return f"index {ranges(np.flatnonzero(mask))} of axis {axes[0]}"
    places = ", ".join(str(tuple(map(int, place))) for place in np.argwhere(mask)[:6])
    return f"position {places}" + (" and others" if mask.sum() > 6 else "")


def wrong_lookup(grad: WrongGradient) -> Iterator[str]:
    """Rows of a table are wrong depending on how often an integer array refers to them."""
    if grad.exact.ndim != 2:
        return
    for name, array in grad.arrays("iu"):
        if name == "targets" or not array.size or array.min() < 0 or array.max() >= len(grad.exact):
            continue
        times = np.bincount(array.reshape(-1), minlength=len(grad.exact))
        if not (times > 1).any() or not (times == 0).any():
            continue
        wrong = grad.wrong.any(axis=1)
        zero = np.asarray((np.abs(grad.hand) <= grad.match).all(axis=1))
        dense = np.asarray((np.abs(grad.exact) > grad.match).any(axis=1))
        if np.array_equal(wrong, times > 1):
            yield (
                f"wrong in exactly the rows that occur several times in {name}, whose "
                "contributions must be added up"
            )
        elif np.array_equal(wrong, times > 0) and dense[times == 0].any():
            yield (
                f"wrong in exactly the rows that occur in {name}: the lookup's part of the "
                "gradient is wrong or missing, the part from the table's other use is right"
            )
        elif zero[times == 0].all() and dense[times == 0].all():
            yield (
                f"rows that do not occur in {name} are zero and should not be: the table is used "
                "a second time (a tied head), and the gradient of that use is missing"
            )
