"""The result of a gradient check: a row for each tensor, as a table or as a dictionary.

The error of a tensor is the largest |hand - exact|, divided by its largest |exact| or by a
thousandth of the largest gradient of all tensors, whichever is larger, because the gradient of a
tensor may be zero. Along a direction, it is |hand - exact| of the slope, divided by the larger of
|exact| and the norm of the gradient.
"""

import math
import textwrap
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from gpt_numpy.base.arrays import Shape
from gpt_numpy.base.html_table import html_lines, html_table

WIDTH = 100  # characters of a line
FLOOR = 1e-3  # of the largest gradient: a tensor that is nearly zero is measured against that


def scale_of(own: float, largest: float) -> float:
    """What an error is divided by, from the largest element of the tensor and of all tensors."""
    return max(own, FLOOR * largest) or 1.0


@dataclass(frozen=True)
class TensorCheck:
    """The check of one tensor.

    norm : of its hand-derived gradient.
    diagnosis : where a wrong gradient is wrong, and which mistake it looks like.
    """

    name: str
    shape: Shape
    norm: float
    error: float
    ok: bool
    diagnosis: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """The check of a model or a layer; `print` it for a table.

    method : how the exact derivatives were found.
    notes : lines about other measurements, such as the differences through the kernels.
    """

    rows: tuple[TensorCheck, ...]
    method: str
    tolerance: float
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every tensor's gradient is right."""
        return all(row.ok for row in self.rows)

    @property
    def worst(self) -> TensorCheck:
        """The row with the largest error; NaN counts as the largest."""
        return max(self.rows, key=lambda row: math.inf if math.isnan(row.error) else row.error)

    def assert_exact(self) -> "Report":
        """Return the report; raise AssertionError, with the table, if a gradient is wrong."""
        if not self.ok:
            raise AssertionError("\n" + str(self))
        return self

    def __str__(self) -> str:
        """The table, one row a tensor, and a summary."""
        return "\n".join(self.lines())

    def lines(self, paint: Callable[[str, bool], str] = lambda line, ok: line) -> list[str]:
        """The lines of the table; `paint(line, ok)` may colour a row."""
        width = max(6, *(len(row.name) for row in self.rows))
        lines = [f"{'tensor':<{width}}  {'shape':>13}  {'norm':>9}  {'error':>8}  verdict"]
        for row in self.rows:
            shape = " x ".join(map(str, row.shape))
            line = f"{row.name:<{width}}  {shape:>13}  {row.norm:9.3e}  {row.error:8.1e}  "
            lines.append(paint(line + ("exact" if row.ok else "WRONG"), row.ok))
            for sentence in row.diagnosis:
                lines += textwrap.wrap(
                    sentence, WIDTH, initial_indent="    ", subsequent_indent="      "
                )
        return [*lines, *self._below()]

    def _below(self) -> list[str]:
        """The lines below the table; the last one is the summary."""
        wrong = sum(not row.ok for row in self.rows)
        summary = f"{wrong} of {len(self.rows)} gradients WRONG" if wrong else "all exact"
        last = (
            f"{summary}; largest error {self.worst.error:.1e} in {self.worst.name}, "
            f"tolerance {self.tolerance:.0e}; {self.seconds:.1f} s"
        )
        return [self.method, *self.notes, last]

    def _repr_html_(self) -> str:
        """The table as a notebook shows it."""
        header = ("tensor", "shape", "norm", "error", "verdict", "what is wrong")
        rows = [
            (
                *(row.name, " × ".join(map(str, row.shape)), f"{row.norm:.3e}"),
                *(f"{row.error:.1e}", "✓ exact" if row.ok else "✗ WRONG"),
                " ".join(row.diagnosis),
            )
            for row in self.rows
        ]
        columns = 5 + any(row.diagnosis for row in self.rows)
        shown = [row[:columns] for row in rows]
        return html_table(header[:columns], shown, left=(0, 4, 5)) + html_lines(self._below())

    def as_dict(self) -> dict[str, Any]:
        """The report for programs, ready for JSON; numbers that are not finite become None."""
        return {
            "ok": self.ok,
            "method": self.method,
            "tolerance": self.tolerance,
            "seconds": round(self.seconds, 3),
            "notes": self.notes,
            "rows": [
                asdict(row) | {"norm": _number(row.norm), "error": _number(row.error)}
                for row in self.rows
            ],
        }


@dataclass(frozen=True)
class Rounding:
    """What rounding to bfloat16 does to the gradient of one tensor.

    error : of the implementation under test, as in a `Report`.
    explained : that of the other implementation, which rounds the same operands.
    """

    name: str
    shape: Shape
    error: float
    explained: float
    ok: bool


@dataclass(frozen=True)
class RoundingReport:
    """What mixed precision costs, tensor by tensor; `print` it for a table."""

    rows: tuple[Rounding, ...]
    ops: str
    other: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether rounding explains the error of every tensor."""
        return all(row.ok for row in self.rows)

    def __str__(self) -> str:
        """The table, one row a tensor, and a summary."""
        return "\n".join(self.lines())

    def lines(self, paint: Callable[[str, bool], str] = lambda line, ok: line) -> list[str]:
        """The lines of the table; `paint(line, ok)` may colour a row."""
        width = max(6, *(len(row.name) for row in self.rows))
        lines = [f"{'tensor':<{width}}  {'shape':>13}  {self.ops:>9}  {self.other:>9}  verdict"]
        for row in self.rows:
            shape = " x ".join(map(str, row.shape))
            line = f"{row.name:<{width}}  {shape:>13}  {row.error:9.1e}  {row.explained:9.1e}  "
            lines.append(paint(line + ("rounding" if row.ok else "MORE THAN ROUNDING"), row.ok))
        wrong = sum(not row.ok for row in self.rows)
        worst = max(self.rows, key=lambda row: row.error)
        lines.append(
            "error of the gradients with bfloat16 products, relative to the largest element of the "
            f"float64 gradient, in {self.ops} and in {self.other}"
        )
        lines.append(
            f"{f'{wrong} of {len(self.rows)} errors are not' if wrong else 'all errors are'} "
            f"explained by rounding; largest {worst.error:.1e} in {worst.name}; "
            f"{self.seconds:.1f} s"
        )
        return lines

    def as_dict(self) -> dict[str, Any]:
        """The report for programs, ready for JSON."""
        return {
            "ok": self.ok,
            "ops": self.ops,
            "other": self.other,
            "seconds": round(self.seconds, 3),
            "rows": [asdict(row) for row in self.rows],
        }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
