"""Statistics of every traced array, and what is unusual about it in words (thresholds.py)."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.inspection.summary.thresholds import DEAD, EXPLODING, SATURATED, SILENT, VANISHING
from gpt_numpy.inspection.trace.trace import Trace
from gpt_numpy.model.stage import within_stack
from gpt_numpy.training.optimizer import AdamW

PROBABILITIES = (".attn.probabilities", ".cross.probabilities")


@dataclass(frozen=True)
class Summary:
    """`spread` is the standard deviation, `zeros` a share, `rms` the root of the mean square."""

    mean: float
    spread: float
    norm: float
    zeros: float
    rms: float


@dataclass
class ArrayStatistics:
    """One traced array; `update` is the norm of the next step divided by the parameter's."""

    name: str
    recomputed: bool
    value: Summary
    grad: Summary | None
    update: float | None
    remarks: list[str]


def summary(array: Array) -> Summary:
    """The statistics of an array, computed in float64."""
    x = np.asarray(array, dtype=np.float64)
    with np.errstate(all="ignore"):
        norm = float(np.linalg.norm(x.reshape(-1)))
        zeros = float((x == 0).mean())
        return Summary(float(x.mean()), float(x.std()), norm, zeros, norm / math.sqrt(x.size))


def array_statistics(trace: Trace, optimizer: AdamW | None = None) -> list[ArrayStatistics]:
    """The statistics of every array of a trace, in forward order.

    Parameters
    ----------
    optimizer : whose next step `update` measures; None: `update` is None.
    """
    clip = _clip_factor(trace, optimizer)
    found: list[ArrayStatistics] = []
    kinds: dict[str, list[ArrayStatistics]] = {}
    for name, entry in trace.items():  # one at a time: recomputed arrays are freed
        value, grad, update = entry.value, entry.grad, None
        if grad is not None and name.endswith(PROBABILITIES):
            grad = np.where(value > 0, grad, 0)  # a masked weight is 0 whatever comes back
        if entry.kind == "parameter" and optimizer and grad is not None and clip is not None:
            update = _update(name, value, grad, optimizer, clip)
        row = ArrayStatistics(
            name,
            entry.recomputed,
            summary(value),
            None if grad is None else summary(grad),
            update,
            _own_remarks(name, value),
        )
        found.append(row)
        kinds.setdefault(_kind_in_any_block(name), []).append(row)
    for alike in kinds.values():
        for row in alike:
            row.remarks[:0] = _comparisons(row, alike[0], alike[-1])
    return found


def _kind_in_any_block(name: str) -> str:
    """The same string for arrays of the same kind in different blocks of a stack."""
    stack, within = within_stack(name)
    if within == "embedding.out" or within.endswith((".resid_mid", ".resid_cross", ".resid_post")):
        return f"{stack} residual stream"
    return f"{stack} {re.sub(r'^h[.][0-9]+[.]', 'h.*.', within)}"


def _comparisons(
    row: ArrayStatistics, first: ArrayStatistics, last: ArrayStatistics
) -> Iterator[str]:
    """Remarks from a comparison with the first and the last array of the same kind."""
    value, grad = row.value, row.grad
    if not (math.isfinite(value.norm) and (grad is None or math.isfinite(grad.norm))):
        yield "not finite"
    if 0 < first.value.rms < math.inf and value.rms > EXPLODING * first.value.rms:
        yield f"value exploding: {value.rms / first.value.rms:.0e} of the first"
    if grad is not None and grad.norm == 0:
        yield "no gradient"
    elif grad is not None and last.grad is not None and 0 < last.grad.rms < math.inf:
        ratio = grad.rms / last.grad.rms
        if ratio < VANISHING or ratio > EXPLODING:  # neither if it is NaN
            yield f"{'vanishing' if ratio < VANISHING else 'exploding'}: {ratio:.0e} of the last"


def _own_remarks(name: str, value: Array) -> list[str]:
    if name.endswith(".mlp.act"):
        silent = (np.abs(value) <= SILENT).all(axis=(0, 1))
        if silent.mean() > DEAD:
            return [f"dead: {silent.sum()} of {silent.size} neurons"]
    if name.endswith(PROBABILITIES) and value.shape[-1] > 1:
        causal = not name.startswith("encoder") and ".attn." in name
        first = 1 if causal else 0  # a causal mask leaves the first query one key
        largest = value[:, :, first:].max(axis=-1).mean(axis=(0, 2))
        heads = np.flatnonzero(largest > SATURATED)
        if heads.size:
            return [f"saturated: head {', '.join(map(str, heads))}"]
    return []


def _clip_factor(trace: Trace, optimizer: AdamW | None) -> float | None:
    """The factor of clipping by the norm; None where the next step cannot be predicted."""
    if optimizer is None or not optimizer.grad_clip:
        return 1.0
    norm = trace.grad_norm
    return optimizer.clip_factor(norm) if math.isfinite(norm) else None


def _update(name: str, value: Array, grad: Array, optimizer: AdamW, clip: float) -> float | None:
    new = optimizer.predicted(name, grad, clip)
    norm = float(np.linalg.norm(value))
    return float(np.linalg.norm(new - value)) / norm if norm else None
