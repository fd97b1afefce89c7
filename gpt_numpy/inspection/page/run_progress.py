"""What the log of a run says, as the page shows it: curves with few enough points, and texts."""

import json
import math
from pathlib import Path
from typing import Any

from gpt_numpy.training.log import LOG

MOST_POINTS = 400  # of a curve: more than a screen can show apart
MOST_SAMPLES = 24
LONGEST_SAMPLE = 2000
CURVES = ("loss", "train_loss", "val_loss", "grad_norm", "lr")


def history(folder: str) -> dict[str, Any]:
    """Curves by name as [[iteration, value], ...], those of each layer, and samples.

    What a crash cut off, and what is no finite number, is left out; without a log all is empty.
    """
    curves: dict[str, list[list[float]]] = {name: [] for name in CURVES}
    layers: dict[str, dict[str, list[list[float]]]] = {"gradient": {}, "update": {}}
    samples: list[dict[str, Any]] = []
    for values in _lines(Path(folder) / LOG):
        iteration = values.get("iter")
        if type(iteration) is not int:
            continue
        for name in CURVES:
            _add(curves[name], iteration, values.get(name))
        noted = values.get("layers")
        for layer, pair in noted.items() if isinstance(noted, dict) else ():
            if isinstance(pair, list) and len(pair) == 2:
                for kind, value in zip(layers, pair, strict=True):
                    _add(layers[kind].setdefault(layer, []), iteration, value)
        if isinstance(values.get("sample"), str):
            samples.append({"iteration": iteration, "text": values["sample"][:LONGEST_SAMPLE]})
    return {
        "curves": {name: _thinned(curve) for name, curve in curves.items()},
        "layers": {
            kind: {layer: _thinned(curve) for layer, curve in found.items()}
            for kind, found in layers.items()
        },
        "samples": _thinned(samples, MOST_SAMPLES),
    }


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(values, dict):
            found.append(values)
    return found


def _add(curve: list[list[float]], iteration: int, value: Any) -> None:
    if type(value) in (int, float) and math.isfinite(value):
        curve.append([iteration, float(f"{value:.5g}")])


def _thinned(points: list[Any], most: int = MOST_POINTS) -> list[Any]:
    """At most `most` of the points, evenly, the first and the last among them."""
    if len(points) <= most:
        return points
    return [points[round(k * (len(points) - 1) / (most - 1))] for k in range(most)]
