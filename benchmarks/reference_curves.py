"""Write the curves of `gpt-numpy plot --reference=PRESET` from real runs.

    for seed in 1337 1 2; do gpt-numpy train tiny --seed=$seed --out_dir=out-$seed; done
    python -m benchmarks.reference_curves tiny out-1337 out-1 out-2

The runs must have the settings of the preset. Only the seed may differ, and --max_iters may be
smaller: the curves are then the beginning of a whole run.
"""

import argparse
import dataclasses
import datetime
import json
import math
import os
from pathlib import Path

import gpt_numpy as gn
from gpt_numpy.base.environment import processor
from gpt_numpy.base.errors import InputError
from gpt_numpy.config.presets import PRESETS
from gpt_numpy.inspection.curves.history import History, read_history
from gpt_numpy.inspection.curves.measured import FOLDER

FREE = ("seed", "out_dir", "max_iters")


def main() -> None:
    """Check the runs, summarise them and write the file of the preset."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reference_curves", description=__doc__.split("\n")[0]
    )
    parser.add_argument("preset", choices=sorted(PRESETS))
    parser.add_argument("runs", nargs="+", help="folders of runs of the preset")
    options = parser.parse_args()
    settings = [checked(run, options.preset) for run in options.runs]
    seeds = [setting.seed for setting in settings]
    if len(set(seeds)) < len(seeds):
        raise SystemExit(f"the seeds are {seeds}: give runs that differ")
    content = {
        "preset": options.preset,
        "dataset": settings[0].dataset,
        "date": datetime.date.today().isoformat(),
        "version": gn.__version__,
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "seeds": seeds,
        "max_iters": PRESETS[options.preset]["max_iters"],
        **summarise([read_history(run) for run in options.runs]),
    }
    path = Path(str(FOLDER)) / f"{options.preset}.json"
    path.write_text(written(content), encoding="utf-8")
    print(f"{len(seeds)} runs, {len(content['iterations'])} evaluations: {path}")


def checked(run: str, preset: str) -> gn.TrainConfig:
    """The training settings of a run, if they are those of the preset."""
    saved = gn.load(Path(run) / "ckpt.npz")
    found = dataclasses.asdict(saved.config) | dataclasses.asdict(saved.settings)
    for name, value in PRESETS[preset].items():
        if name not in FREE and found[name] != value:
            raise SystemExit(f"{run}: {name}={found[name]}, and {preset} has {value}")
    if saved.settings.data or saved.settings.dataset != "shakespeare":
        raise SystemExit(f"{run}: not trained on the data set shakespeare")
    return saved.settings


def summarise(histories: list[History]) -> dict:
    """The lowest, mean and highest loss of several runs at each evaluation.

    Raises
    ------
    InputError : they were not evaluated at the same iterations.
    """
    iterations = [iteration for iteration, _ in histories[0].val]
    content: dict = {"iterations": iterations}
    for split in ("train", "val"):
        curves = [getattr(history, split) for history in histories]
        if any([i for i, _ in curve] != iterations for curve in curves) or not iterations:
            raise InputError("the runs were not evaluated at the same iterations")
        columns = list(zip(*([loss for _, loss in curve] for curve in curves), strict=True))
        content[split] = {
            "low": [round(min(column), 4) for column in columns],
            "mean": [round(math.fsum(column) / len(column), 4) for column in columns],
            "high": [round(max(column), 4) for column in columns],
        }
    return content


def written(content: dict) -> str:
    """JSON with a line for each list of numbers."""
    text = json.dumps(content, indent=1)
    parts = text.split("[")
    flat = [parts[0]]
    for part in parts[1:]:
        inside, closing, rest = part.partition("]")
        flat.append(" ".join(inside.split()) + closing + rest)
    return "[".join(flat) + "\n"


if __name__ == "__main__":
    main()
