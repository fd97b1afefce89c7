"""Is my loss curve normal? Curves of the presets, measured beforehand, to lay under one's own.

`reference/PRESET.json` holds the losses over both splits at each evaluation of some runs that
differed in nothing but their seed: `low`, `mean` and `high` of them, nats a token. It is written by
`benchmarks/reference_curves.py`, and says when, with which version and on which machine.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.inspection.curves.history import Curve, History

SPLITS = ("train", "val")


@dataclass(frozen=True)
class Normal:
    """The measured curves of one preset.

    iterations : at which the losses were measured.
    losses : of each of `SPLITS`, the lowest, the mean and the highest of the runs at each.
    max_iters : where a run of the preset ends; the runs may have been ended before.
    """

    preset: str
    dataset: str
    seeds: tuple[int, ...]
    max_iters: int
    iterations: tuple[int, ...]
    losses: Mapping[str, Mapping[str, tuple[float, ...]]]
    origin: str

    @property
    def label(self) -> str:
        """What a legend calls it."""
        runs = f"{len(self.seeds)} runs" if len(self.seeds) > 1 else "1 run"
        return f"{self.preset}, {runs} of {self.dataset}"


def names() -> list[str]:
    """The presets that were measured."""
    folder = resources.files("gpt_numpy") / "inspection" / "curves" / "reference"
    return sorted(path.name[:-5] for path in folder.iterdir() if path.name.endswith(".json"))


def read_normal(preset: str) -> Normal:
    """The measured curves of a preset.

    Raises
    ------
    InputError : there are none of this name.
    """
    if preset not in names():
        raise InputError(f"reference={preset!r}: {did_you_mean(preset, names())}")
    path = resources.files("gpt_numpy") / "inspection" / "curves" / "reference" / f"{preset}.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    return Normal(
        preset,
        content["dataset"],
        tuple(content["seeds"]),
        content["max_iters"],
        tuple(content["iterations"]),
        {
            split: {kind: tuple(losses) for kind, losses in content[split].items()}
            for split in SPLITS
        },
        f"{content['date']}, gpt_numpy {content['version']}, {content['machine']}",
    )


def summarise(histories: list[History]) -> dict[str, Any]:
    """The lowest, mean and highest loss of several runs at each evaluation.

    Raises
    ------
    InputError : they were not evaluated at the same iterations.
    """
    iterations = [iteration for iteration, _ in histories[0].val]
    content: dict[str, Any] = {"iterations": iterations}
    for split in SPLITS:
        curves: list[Curve] = [getattr(history, split) for history in histories]
        if any([i for i, _ in curve] != iterations for curve in curves) or not iterations:
            raise InputError("the runs were not evaluated at the same iterations")
        columns = list(zip(*([loss for _, loss in curve] for curve in curves), strict=True))
        content[split] = {
            "low": [round(min(column), 4) for column in columns],
            "mean": [round(math.fsum(column) / len(column), 4) for column in columns],
            "high": [round(max(column), 4) for column in columns],
        }
    return content


def compare(history: History, normal: Normal) -> str:
    """How the last validation loss that has a counterpart stands to it, in a sentence."""
    common = [(i, loss) for i, loss in history.val if i in normal.iterations]
    if not common:
        return f"{history.name}: no evaluation at an iteration of {normal.label}"
    iteration, loss = common[-1]
    loss = round(loss, 4)  # as the measured ones were
    place = normal.iterations.index(iteration)
    low, high = (normal.losses["val"][kind][place] for kind in ("low", "high"))
    said = f"{history.name}: validation loss {loss:.4f} at {iteration}"
    if len(normal.seeds) == 1:
        return f"{said}, {loss - low:+.4f} from that of {normal.label}"
    stands = "within" if low <= loss <= high else f"{loss - high:+.4f} above"
    if loss < low:
        stands = f"{low - loss:.4f} below"
    return f"{said}, {stands.replace('+', '')} {low:.4f} to {high:.4f} of {normal.label}"
