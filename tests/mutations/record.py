"""Write the figures of a campaign where `gpt-numpy selfcheck` finds them: with the package."""

import dataclasses
import datetime
import json
import platform
from typing import Any

import numba
import numpy

import gpt_numpy
from gpt_numpy.gradients.mutation import PACKAGE

PATH = PACKAGE / "gradients" / "recorded.json"


def campaign(mistakes: list[Any], verdicts: list[Any], seconds: float, jobs: int) -> None:
    """Record a whole campaign."""
    counts = {
        v: sum(verdict.verdict == v for verdict in verdicts) for v in ("killed", "equivalent")
    }
    kernels = sum(mistake.mutation.path.startswith("kernels/") for mistake in mistakes)
    _write(
        "mutations",
        {
            "mutations": len(verdicts),
            "in_kernels": kernels,
            **counts,
            "survived": len(verdicts) - sum(counts.values()),
            "checks": len({check for mistake in mistakes for check in mistake.checks}),
            "seconds": round(seconds),
            "jobs": jobs,
        },
    )


def false_alarms(seeds: int, counted: list[Any], seconds: float) -> None:
    """Record a run of the checks on correct code."""
    lines = [dataclasses.asdict(line) for line in counted]
    alarms = sum(line.alarms for line in counted)
    values = {"seeds": seeds, "alarms": alarms, "checks": lines, "seconds": round(seconds)}
    _write("false_alarms", values)


def _write(key: str, values: dict[str, Any]) -> None:
    recorded = json.loads(PATH.read_text(encoding="utf-8")) if PATH.exists() else {}
    recorded[key] = values | {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "version": gpt_numpy.__version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "numba": numba.__version__,
    }
    PATH.write_text(json.dumps(recorded, indent=2) + "\n", encoding="utf-8")
