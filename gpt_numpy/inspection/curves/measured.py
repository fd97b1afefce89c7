"""Is my loss curve normal? Loss curves of the presets, measured in advance, to compare with.

`reference/PRESET.json` holds for both splits, at each evaluation, the `low`, `mean` and `high` loss
(nats a token) of several runs that differ only in their seed. `benchmarks/reference_curves.py`
writes it, with the date, version and machine.
"""

import json
from dataclasses import dataclass
from importlib import resources

from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.inspection.curves.history import History

FOLDER = resources.files("gpt_numpy") / "inspection" / "curves" / "reference"


@dataclass(frozen=True)
class MeasuredCurves:
    """The measured curves of one preset: the contents of its file.

    date, version, machine : of the measurement; `seeds` : of the runs.
    max_iters : at which a run of the preset ends; the measured runs may have ended earlier.
    iterations : of the evaluations.
    train, val : the `low`, `mean` and `high` loss at each evaluation.
    """

    preset: str
    dataset: str
    date: str
    version: str
    machine: str
    seeds: list[int]
    max_iters: int
    iterations: list[int]
    train: dict[str, list[float]]
    val: dict[str, list[float]]

    @property
    def label(self) -> str:
        """The entry in a legend."""
        runs = f"{len(self.seeds)} runs" if len(self.seeds) > 1 else "1 run"
        return f"{self.preset}, {runs} of {self.dataset}"


def measured_presets() -> list[str]:
    """The names of the presets that were measured."""
    return sorted(path.name[:-5] for path in FOLDER.iterdir() if path.name.endswith(".json"))


def read_measured(preset: str) -> MeasuredCurves:
    """The measured curves of a preset.

    Raises
    ------
    InputError : this preset was not measured.
    """
    if preset not in measured_presets():
        raise InputError(f"reference={preset!r}: {did_you_mean(preset, measured_presets())}")
    return MeasuredCurves(**json.loads((FOLDER / f"{preset}.json").read_text(encoding="utf-8")))


def compare_with_measured(history: History, measured: MeasuredCurves) -> str:
    """A sentence that compares the last validation loss for which there is a measured one.

    Before training, at iteration 0, every run has about the same loss: that says nothing.
    """
    if history.data not in ("", measured.dataset):
        return (
            f"{history.name}: trained on {history.data}, {measured.label}: "
            "the losses of two texts do not compare"
        )
    common = [(i, loss) for i, loss in history.val if i > 0 and i in measured.iterations]
    if not common:
        return f"{history.name}: no evaluation yet at an iteration of {measured.label}"
    iteration, loss = common[-1]
    loss = round(loss, 4)  # as the measured ones are
    place = measured.iterations.index(iteration)
    low, high = (measured.val[kind][place] for kind in ("low", "high"))
    begin = f"{history.name}: validation loss {loss:.4f} at {iteration}"
    if len(measured.seeds) == 1:
        return f"{begin}, {loss - low:+.4f} from that of {measured.label}"
    if loss < low:
        position = f"{low - loss:.4f} below"
    else:
        position = "within" if loss <= high else f"{loss - high:.4f} above"
    return f"{begin}, {position} {low:.4f} to {high:.4f} of {measured.label}"
