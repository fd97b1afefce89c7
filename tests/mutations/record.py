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


def campaign(parts: dict[str, tuple[list[Any], list[Any]]]) -> None:
    """Record whole catalogues, each with its mistakes and verdicts; the sums are over all recorded.

    Catalogues that are not recorded are not counted: they were not run.
    """
    known: dict[str, Any] = _read().get("mutations", {}).get("parts", {})
    for part, (mistakes, verdicts) in parts.items():
        killed, equivalent = (
            sum(v.verdict == what for v in verdicts) for what in ("killed", "equivalent")
        )
        known[part] = {
            "mutations": len(verdicts),
            "in_kernels": sum(m.mutation.path.startswith("kernels/") for m in mistakes),
            "killed": killed,
            "equivalent": equivalent,
            "survived": len(verdicts) - killed - equivalent,
            "seconds": round(sum(v.seconds for v in verdicts)),
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        }
    counts = ("mutations", "in_kernels", "killed", "equivalent", "survived", "seconds")
    sums = {name: sum(part[name] for part in known.values()) for name in counts}
    _write("mutations", {**sums, "parts": known})


def false_alarms(seeds: int, counted: list[Any], seconds: float) -> None:
    """Record a run of the checks on correct code."""
    lines = [dataclasses.asdict(line) for line in counted]
    alarms = sum(line.alarms for line in counted)
    values = {"seeds": seeds, "alarms": alarms, "checks": lines, "seconds": round(seconds)}
    _write("false_alarms", values)


def _read() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8")) if PATH.exists() else {}
    return found


def _write(key: str, values: dict[str, Any]) -> None:
    recorded = _read()
    recorded[key] = values | {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "version": gpt_numpy.__version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "numba": numba.__version__,
    }
    PATH.write_text(json.dumps(recorded, indent=2) + "\n", encoding="utf-8")
