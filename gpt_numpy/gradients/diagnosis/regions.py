"""Describes where a gradient is wrong: rows, columns, heads; query, key or value."""

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.gradients.diagnosis.wrong_gradient import WrongGradient

SHOWN = 8  # ranges of indices in a sentence


def where(grad: WrongGradient) -> str:
    """A sentence about which elements are wrong."""
    wrong = grad.wrong
    if wrong.all():
        return f"wrong in all {wrong.size:,} elements"
    parts = _thirds(grad) or _axes(grad)
    return f"wrong in {int(wrong.sum()):,} of {wrong.size:,} elements" + parts


def ranges(indices: Array) -> str:
    """Indices as "0-3, 7"; of many ranges, only the first few."""
    runs = np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1)
    texts = [str(run[0]) if run.size == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    more = f" and {len(texts) - SHOWN} more ranges" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more


def plural(name: str) -> str:
    """The plural of the name of an axis, such as "queries" and "keys"."""
    return f"{name[:-1]}ies" if name.endswith("y") and name[-2:-1] not in "aeo" else f"{name}s"


def axis_names(grad: WrongGradient) -> tuple[str, ...]:
    """The name of an index along each axis, in the singular."""
    if len(grad.clues.axes) == grad.exact.ndim:
        return grad.clues.axes
    names = {1: ("element",), 2: ("row", "column"), 3: ("sequence", "position", "channel")}
    ndim = grad.exact.ndim
    return names.get(ndim, tuple(f"index {k}" for k in range(ndim)))


def _thirds(grad: WrongGradient) -> str:
    """Which of query, key and value are wrong, and in which heads; empty if in all of them."""
    texts, right = [], []
    n_head = grad.clues.n_head
    for name, index in grad.thirds():
        wrong = grad.wrong[index]
        if not wrong.any():
            right.append(name)
            continue
        D = wrong.shape[-1] // n_head
        by_head = wrong.reshape(-1, n_head, D).any(axis=(0, 2))
        heads = "" if by_head.all() else f" of head {ranges(np.flatnonzero(by_head))} only"
        texts.append(f"the {name}{heads}")
    if not texts or (not right and not any("head" in text for text in texts)):
        return ""
    ok = f"; the {' and the '.join(right)} right" if right else ""
    return f": in {' and '.join(texts)}{ok}"


def _axes(grad: WrongGradient) -> str:
    """The indices along each axis at which something is wrong."""
    wrong, texts, box = grad.wrong, [], np.ones_like(grad.wrong)
    for axis, name in enumerate(axis_names(grad)):
        others = tuple(k for k in range(wrong.ndim) if k != axis)
        touched = wrong.any(axis=others)
        if touched.all():
            continue
        indices = np.flatnonzero(touched)
        texts.append(f"{plural(name) if indices.size > 1 else name} {ranges(indices)}")
        shape = [1] * wrong.ndim
        shape[axis] = -1
        box &= touched.reshape(shape)
    if not texts:
        return ", scattered over all of it"
    full = "all of " if wrong[box].all() and wrong.ndim > 1 else "in " if wrong.ndim > 1 else ""
    return f": {full}{', '.join(texts)} (counted from 0)"
