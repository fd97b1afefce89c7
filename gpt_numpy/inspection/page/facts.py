"""What the page says of an array in numbers and words, whether it has the array itself or not."""

import math
from typing import Any

from gpt_numpy.inspection.summary.statistics import ArrayStatistics, Summary
from gpt_numpy.inspection.trace.trace import Traced


def about_array(entry: Traced, row: ArrayStatistics) -> dict[str, Any]:
    """Kind, shape, statistics, remarks and equation of one array of the trace."""
    return {
        "kind": entry.kind,
        "shape": list(entry.shape if entry.kind == "parameter" else entry.shape[1:]),
        "numbers": _numbers(row.value),
        "grad_numbers": None if row.grad is None else _numbers(row.grad),
        "update": finite(row.update),
        "remarks": row.remarks,
        "forward": [step.equation for step in entry.forward],
    }


def _numbers(of: Summary) -> dict[str, float | None]:
    return {name: finite(getattr(of, name)) for name in ("mean", "spread", "norm", "zeros")}


def finite(value: float | None) -> float | None:
    """The number with nine digits; None if it is not finite, which JSON cannot hold."""
    return float(f"{value:.9g}") if value is not None and math.isfinite(value) else None
