"""Curves and samples in the log of a run, as the page shows them."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from gpt_numpy.inspection.curves.history import Curve, is_finite, log_curve, log_entries
from gpt_numpy.training.log import LOG

MOST_POINTS = 400  # of a curve: more than a screen can resolve
MOST_POINTS_OF_LAYERS = 100  # of which there are many, in figures of half the width
MOST_SAMPLES = 24
LONGEST_SAMPLE = 2000
CURVES = ("loss", "train_loss", "val_loss", "grad_norm", "lr")


def training_history(folder: str, grad_clip: float | None = None) -> dict[str, Any]:
    """Curves by name as [[iteration, value], ...], those of each layer, and samples.

    `facts` are those of all points, also where a curve is thinned: its first and last point, the
    lowest and the highest. `clipped` is the share of the norms above `grad_clip`. Damaged lines and
    numbers that are not finite are skipped; without a log everything is empty.
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
        of_layers = entry.get("layers")
        for layer, pair in of_layers.items() if isinstance(of_layers, dict) else ():
            if isinstance(pair, list) and len(pair) == 2:
                for kind, value in zip(layers, pair, strict=True):
                    if is_finite(value):
                        layers[kind].setdefault(layer, []).append((entry["iter"], value))
    curves = {name: log_curve(entries, name) for name in CURVES}
    norms = [norm for _, norm in curves["grad_norm"]]
    clipped = sum(norm > grad_clip for norm in norms) / len(norms) if grad_clip and norms else None
    return {
        "curves": {name: _points(curve) for name, curve in curves.items()},
        "facts": {name: _facts(curve) for name, curve in curves.items() if curve},
        "clipped": clipped,
        "layers": {
            kind: {layer: _points(curve, MOST_POINTS_OF_LAYERS) for layer, curve in found.items()}
            for kind, found in layers.items()
        },
        "samples": _thinned(samples, MOST_SAMPLES),
    }


def _facts(curve: Curve) -> dict[str, tuple[int, float]]:
    lowest, highest = (f(curve, key=lambda point: point[1]) for f in (min, max))
    return {"first": curve[0], "last": curve[-1], "lowest": lowest, "highest": highest}


def _points(curve: Curve, most: int = MOST_POINTS) -> list[list[float]]:
    return [[iteration, float(f"{value:.9g}")] for iteration, value in _thinned(curve, most)]


def _thinned(points: list[Any], most: int) -> list[Any]:
    """At most `most` of the points, evenly spaced, with the first and the last."""
    if len(points) <= most:
        return points
    return [points[round(k * (len(points) - 1) / (most - 1))] for k in range(most)]
