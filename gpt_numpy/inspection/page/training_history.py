"""Curves and samples in the log of a run, as the page shows them."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from gpt_numpy.inspection.curves.history import is_finite, log_entries
from gpt_numpy.training.log import LOG

MOST_POINTS = 400  # of a curve: more than a screen can resolve
MOST_SAMPLES = 24
LONGEST_SAMPLE = 2000
CURVES = ("loss", "train_loss", "val_loss", "grad_norm", "lr")


def training_history(folder: str) -> dict[str, Any]:
    """Curves by name as [[iteration, value], ...], those of each layer, and samples.

    Damaged lines and numbers that are not finite are skipped; without a log everything is empty.
    """
    curves: dict[str, list[list[float]]] = {name: [] for name in CURVES}
    layers: dict[str, dict[str, list[list[float]]]] = {"gradient": {}, "update": {}}
    samples: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    with suppress(OSError):
        entries += log_entries(Path(folder) / LOG)
    for entry in entries:
        iteration = entry["iter"]
        for name in CURVES:
            _add(curves[name], iteration, entry.get(name))
        norms = entry.get("layers")
        for layer, pair in norms.items() if isinstance(norms, dict) else ():
            if isinstance(pair, list) and len(pair) == 2:
                for kind, value in zip(layers, pair, strict=True):
                    _add(layers[kind].setdefault(layer, []), iteration, value)
        if isinstance(entry.get("sample"), str):
            samples.append({"iteration": iteration, "text": entry["sample"][:LONGEST_SAMPLE]})
    return {
        "curves": {name: _thinned(curve) for name, curve in curves.items()},
        "layers": {
            kind: {layer: _thinned(curve) for layer, curve in found.items()}
            for kind, found in layers.items()
        },
        "samples": _thinned(samples, MOST_SAMPLES),
    }


def _add(curve: list[list[float]], iteration: int, value: Any) -> None:
    if is_finite(value):
        curve.append([iteration, float(f"{value:.5g}")])


def _thinned(points: list[Any], most: int = MOST_POINTS) -> list[Any]:
    """At most `most` of the points, evenly spaced, with the first and the last."""
    if len(points) <= most:
        return points
    return [points[round(k * (len(points) - 1) / (most - 1))] for k in range(most)]
