"""Hypotheses on what is missing: a term of a known shape, or what some positions contribute."""

from collections.abc import Iterator

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.gradients.diagnosis.case import Case
from gpt_numpy.gradients.diagnosis.regions import ranges


def missing_term(case: Case) -> Iterator[str]:
    """Some array that is at hand equals exact - hand."""
    for name, array in case.arrays("f"):
        if array.shape != case.exact.shape or not case.tells(array):
            continue
        if case.same(case.missing, array):
            path = ": the path around the layer, which a residual connection has" * (name == "dout")
            yield f"what is missing is exactly {name}{path}"
        elif case.same(case.missing, -array):
            yield f"{name} is in it once too often"


def missing_of_rows(case: Case) -> Iterator[str]:
    """What is missing is one number a row, or a multiple of each row of an array."""
    if case.exact.ndim < 1 or case.exact.shape[-1] < 3 or not case.tells(case.missing, 3):
        return
    if case.exact.ndim == 1 and case.exact.size < 4:
        return
    missing = case.missing
    mean = case.hand.mean(axis=-1, keepdims=True)
    if case.same(missing, -mean):
        yield (
            "less its own mean over the last axis it is right: a term that takes the mean out is "
            "lost (in layer norm: mean(dxhat))"
        )
        return
    if case.same(missing, missing.mean(axis=-1, keepdims=True)):
        yield (
            "what is missing is the same number in every column of a row: a sum or a mean over the "
            "columns is lost, or taken over the wrong axis"
        )
        return
    for name, array in case.arrays("f"):
        if array.shape != case.exact.shape:
            continue
        mean = array.mean(axis=-1, keepdims=True)
        for text, base in ((name, array), (f"({name} - its mean)", array - mean)):
            square = (base * base).sum(axis=-1, keepdims=True)
            if (square == 0).all():
                continue
            share = (missing * base).sum(axis=-1, keepdims=True) / np.where(square == 0, 1, square)
            if case.same(missing, share * base):
                yield (
                    f"what is missing in each row is a multiple of {text}, another one in each "
                    f"row: a term {text} times a sum over the row is lost"
                    + (" (in layer norm: xhat * mean(dxhat * xhat))" if "mean" in text else "")
                    + (" (in softmax: out * sum(dout * out))" if name == "out" else "")
                )
                return


def at_targets(case: Case) -> Iterator[str]:
    """Wrong at one element a row, which an integer array points to."""
    for name, array in case.arrays("iu"):
        if not case.exact.ndim or array.shape != case.exact.shape[:-1] or not array.size:
            continue
        kept = np.asarray(array >= 0)
        zero = np.asarray((np.abs(case.exact) <= case.match).all(axis=-1))
        if (~kept).any() and zero[~kept].all() and case.wrong[~kept].any():
            only = " (the others are right)" * (not case.wrong[kept].any())
            yield f"rows whose {name} is negative are left out, so they must be zero: not so{only}"
        named = np.clip(array, 0, case.exact.shape[-1] - 1)[..., None]
        at = np.zeros(case.exact.shape, bool)
        np.put_along_axis(at, named, kept[..., None], axis=-1)
        if case.exact.shape[-1] > 2 and np.array_equal(case.wrong & kept[..., None], at):
            yield f"wrong at the element of each row that {name} names, there alone: the -1 is lost"
        elif case.exact.shape[-1] > 3:
            for by in (1, -1):
                moved = np.roll(at, by, axis=-1)
                if np.array_equal(case.wrong & kept[..., None], at | moved):
                    way = "after" if by == 1 else "before"
                    yield f"wrong at the element that {name} names and the one {way} it: off by one"


def lost_positions(case: Case) -> Iterator[str]:
    """Some positions of out are left out of the sum, or are in it twice."""
    contributions = case.clues.contributions
    if contributions is None or not case.tells(case.exact, 3):
        return
    out_shape = contributions.shape[:-1]
    groups: list[tuple[int, ...]] = [(axis,) for axis in range(len(out_shape))]
    groups += [tuple(range(len(out_shape) - 1))] if len(out_shape) > 2 else []
    for axes in groups:
        weights = _weights(case, contributions, axes)
        if weights is None:
            continue
        lost = np.abs(weights) < 1e-6
        doubled = np.abs(weights - 2) < 1e-6
        if (lost | doubled | (np.abs(weights - 1) < 1e-6)).all() and (lost | doubled).any():
            yield _of_positions(case, axes, weights, lost)
            return


def _weights(case: Case, contributions: Array, axes: tuple[int, ...]) -> Array | None:
    """The weights with which what positions contribute sums up to hand, if there are any."""
    others = tuple(k for k in range(contributions.ndim - 1) if k not in axes)
    parts = contributions.sum(axis=others).reshape(-1, case.exact.size)
    counts = np.abs(parts).max(axis=1) > case.match
    shape = [contributions.shape[k] for k in axes]
    if counts.sum() < 2 or counts.sum() > 500:
        return None
    if counts.sum() > case.exact.size:  # too many for the weights to be determined: one alone?
        return _one_weight(case, parts, shape)
    used = parts[counts]
    found, _, rank, _ = np.linalg.lstsq(used.T, case.hand.reshape(-1), rcond=1e-10)
    if rank < len(used) or not case.same(found @ used, case.hand.reshape(-1)):
        return None
    weights = np.ones(len(parts))
    weights[counts] = found
    return weights.reshape(shape)


def _one_weight(case: Case, parts: Array, shape: list[int]) -> Array | None:
    """The weights, if one position is lost and all others are there, or one alone is there."""
    for k, part in enumerate(parts):
        weights = np.ones(len(parts))
        weights[k] = 0
        if not case.tells(part):
            continue
        if case.same(case.missing.reshape(-1), part):
            return weights.reshape(shape)
        if case.same(case.hand.reshape(-1), part):
            return (1 - weights).reshape(shape)
    return None


def _of_positions(case: Case, axes: tuple[int, ...], weights: Array, lost: Array) -> str:
    if not lost.any():
        return (
            f"what {_places(axes, weights > 1.5)} of {case.clues.whole} contributes is in it twice"
        )
    for name, array in case.arrays("iu"):
        if array.shape == lost.shape:
            flat, gone = array.reshape(-1), lost.reshape(-1)
            last = {int(v): k for k, v in enumerate(flat)}
            if all(gone[k] == (last[int(v)] != k) for k, v in enumerate(flat)):
                return (
                    f"only the last of equal {name} counts: rows that occur several times must be "
                    "added up, but array[index] += ... writes them over one another (use np.add.at)"
                )
    left = np.count_nonzero(~lost)
    if left <= lost.size // 2 and lost.size > 2 or left == 1:
        places = _places(axes, ~lost)
        return f"only what {places} of {case.clues.whole} contributes is in it: the sum is lost"
    return f"what {_places(axes, lost)} of {case.clues.whole} contributes is lost"


def _places(axes: tuple[int, ...], mask: Array) -> str:
    if mask.ndim == 1:
        return f"index {ranges(np.flatnonzero(mask))} of axis {axes[0]}"
    places = ", ".join(str(tuple(map(int, place))) for place in np.argwhere(mask)[:6])
    return f"position {places}" + (" and others" if mask.sum() > 6 else "")


def of_lookup(case: Case) -> Iterator[str]:
    """Rows of a table: those that occur, those that occur several times, those that never do."""
    if case.exact.ndim != 2:
        return
    for name, array in case.arrays("iu"):
        if not array.size or name == "targets":
            continue
        if array.min() < 0 or array.max() >= len(case.exact):
            continue
        times = np.bincount(array.reshape(-1), minlength=len(case.exact))
        wrong = case.wrong.any(axis=1)
        zero = np.asarray((np.abs(case.hand) <= case.match).all(axis=1))
        dense = np.asarray((np.abs(case.exact) > case.match).any(axis=1))
        if not (times > 1).any() or not (times == 0).any():
            continue
        if np.array_equal(wrong, times > 1):
            yield f"wrong in exactly the rows that occur several times in {name}, which must add up"
        elif np.array_equal(wrong, times > 0) and dense[times == 0].any():
            yield (
                f"wrong in exactly the rows that occur in {name}: the lookup's part of the "
                "gradient is wrong or lost, the part of the table's other use is right"
            )
        elif zero[times == 0].all() and dense[times == 0].all():
            yield (
                f"rows that do not occur in {name} are zero and should not be: the table is used "
                "a second time (a tied head), and the gradient of that use is lost"
            )
