"""Each traced array in a few numbers, and what is unusual about it in words (thresholds.py)."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from gpt_numpy.base.arrays import Array, Shape
from gpt_numpy.inspection.summary.thresholds import DEAD, EXPLODING, SATURATED, SILENT, VANISHING
from gpt_numpy.inspection.trace.trace import Trace
from gpt_numpy.reference.adamw import adamw_update
from gpt_numpy.training.optimizer import CLIP_EPS, AdamW


@dataclass(frozen=True)
class Summary:
    """An array in four numbers; `spread` is the standard deviation, `zeros` a share."""

    mean: float
    spread: float
    norm: float
    zeros: float
    size: int

    @property
    def rms(self) -> float:
        """The root of the mean square."""
        return self.norm / math.sqrt(self.size)


@dataclass(frozen=True)
class SummaryRow:
    """One traced array: `update` is the next step's norm over the parameter's."""

    name: str
    kind: str
    shape: Shape
    recomputed: bool
    value: Summary
    grad: Summary | None
    update: float | None
    remarks: tuple[str, ...]


def summary(array: Array) -> Summary:
    """The mean, spread, norm and share of zeros of an array, computed in float64."""
    x = np.asarray(array, dtype=np.float64)
    with np.errstate(all="ignore"):
        norm = float(np.linalg.norm(x.reshape(-1)))
        zeros = float((x == 0).mean())
        return Summary(float(x.mean()), float(x.std()), norm, zeros, x.size)


def rows(trace: Trace, optimizer: AdamW | None = None) -> list[SummaryRow]:
    """Every array of a trace in numbers, in forward order.

    Parameters
    ----------
    optimizer : with its moments, the size of its next step; None: unknown.
    """
    values, grads, own, updates = {}, {}, {}, {}
    clip = _clip(trace, optimizer)
    for name, entry in trace.items():  # one after the other: what is computed again is let go
        value, grad = entry.value, entry.grad
        values[name], grads[name] = summary(value), None if grad is None else summary(grad)
        own[name] = _own_remarks(name, value)
        known = entry.kind == "parameter" and grad is not None and clip is not None
        updates[name] = _update(name, value, grad, optimizer, clip) if known else None
    first, last = _ends(trace)
    return [
        SummaryRow(
            name,
            entry.kind,
            entry.shape,
            entry.recomputed,
            values[name],
            grads[name],
            updates[name],
            (
                *_finite_remark(values[name], grads[name]),
                *_value_remark(values[name], values.get(first.get(_kin(name), ""))),
                *_gradient_remark(grads[name], grads.get(last.get(_kin(name), ""))),
                *own[name],
            ),
        )
        for name, entry in trace.items()
    ]


def _kin(name: str) -> str:
    """What arrays of the same kind in different blocks have in common."""
    if name == "embedding.out" or name.endswith((".resid_mid", ".resid_post")):
        return "residual stream"
    return re.sub(r"^h\.\d+\.", "h.*.", name)


def _ends(names: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """The first and the last array of each kind."""
    first: dict[str, str] = {}
    last: dict[str, str] = {}
    for name in names:
        first.setdefault(_kin(name), name)
        last[_kin(name)] = name
    return first, last


def _finite_remark(value: Summary, grad: Summary | None) -> tuple[str, ...]:
    norms = [value.norm] + ([] if grad is None else [grad.norm])
    return () if all(map(math.isfinite, norms)) else ("not finite",)


def _value_remark(value: Summary, first: Summary | None) -> tuple[str, ...]:
    if first is not None and 0 < first.rms < math.inf and value.rms > EXPLODING * first.rms:
        return (f"value exploding: {value.rms / first.rms:.0e} of the first",)
    return ()


def _gradient_remark(grad: Summary | None, last: Summary | None) -> tuple[str, ...]:
    if grad is None:
        return ()
    if grad.norm == 0:
        return ("no gradient",)
    if last is None or not 0 < last.rms < math.inf:
        return ()
    ratio = grad.rms / last.rms
    if ratio < VANISHING:
        return (f"vanishing: {ratio:.0e} of the last",)
    return (f"exploding: {ratio:.0e} of the last",) if ratio > EXPLODING else ()


def _own_remarks(name: str, value: Array) -> tuple[str, ...]:
    if name.endswith(".mlp.act"):
        silent = (np.abs(value) <= SILENT).all(axis=(0, 1))
        if silent.mean() > DEAD:
            return (f"dead: {silent.sum()} of {silent.size} neurons",)
    if name.endswith(".attn.probabilities") and value.shape[-1] > 1:
        largest = value[:, :, 1:].max(axis=-1).mean(axis=(0, 2))  # the first query has no choice
        heads = np.flatnonzero(largest > SATURATED)
        if heads.size:
            return (f"saturated: head {', '.join(map(str, heads))}",)
    return ()


def _clip(trace: Trace, optimizer: AdamW | None) -> float | None:
    """What clipping multiplies the whole gradient by; None where no step can be foretold."""
    if optimizer is None or trace.loss is None:
        return None
    if not optimizer.grad_clip:
        return 1.0
    norm = trace.grad_norm
    return min(1.0, optimizer.grad_clip / (norm + CLIP_EPS)) if math.isfinite(norm) else None


def _update(
    name: str, value: Array, grad: Array | None, optimizer: AdamW | None, clip: float | None
) -> float | None:
    assert grad is not None and optimizer is not None and clip is not None
    new = value.copy()
    adamw_update(
        new,
        grad,
        optimizer.m[name].copy(),
        optimizer.v[name].copy(),
        step=optimizer.steps + 1,
        grad_scale=clip,
        settings=optimizer.settings_of(value),
    )
    norm = float(np.linalg.norm(value))
    return float(np.linalg.norm(new - value)) / norm if norm else None
