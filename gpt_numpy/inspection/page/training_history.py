"""Curves and samples in the log of a run, as the page shows them."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from gpt_numpy.inspection.curves.history import Curve, is_finite, log_curve, log_entries
from gpt_numpy.training.log import LOG

MOST_POINTS = 400  # of a curve: more than a screen can resolve
MOST_SAMPLES = 24
LONGEST_SAMPLE = 2000
CURVES = ("loss", "train_loss", "val_loss", "grad_norm", "lr")


def training_history(folder: str) -> dict[str, Any]:
    """Curves by name as [[iteration, value], ...], those of each layer, and samples.

    Damaged lines and numbers that are not finite are skipped; without a log everything is empty.
    """
    entries: list[dict[str, Any]] = []
    with suppress(OSError):
        entries = log_entries(Path(folder) / LOG)
    samples = [
        {"iteration": entry["iter"], "text": entry["sample"][:LONGEST_SAMPLE]}
        for entry in entries
        if isinstance(entry.get("sample"), str)
    ]
    layers: dict[str, dict[str, Curve]] = {"gradient": {}, "update": {}}
    for entry in entries:
        norms = entry.get("layers")
        for layer, pair in norms.items() if isinstance(norms, dict) else ():
            if isinstance(pair, list) and len(pair) == 2:
                for kind, value in zip(layers, pair, strict=True):
                    if is_finite(value):
                        layers[kind].setdefault(layer, []).append((entry["iter"], value))
    return {
        "curves": {name: _points(log_curve(entries, name)) for name in CURVES},
        "layers": {
            kind: {layer: _points(curve) for layer, curve in found.items()}
            for kind, found in layers.items()
        },
        "samples": _thinned(samples, MOST_SAMPLES),
    }


def _points(curve: Curve) -> list[list[float]]:
    return [[iteration, float(f"{value:.5g}")] for iteration, value in _thinned(curve)]


def _thinned(points: list[Any], most: int = MOST_POINTS) -> list[Any]:
    """At most `most` of the points, evenly spaced, with the first and the last."""
    if len(points) <= most:
        return points
    return [points[round(k * (len(points) - 1) / (most - 1))] for k in range(most)]
