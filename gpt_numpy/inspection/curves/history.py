"""The loss curves of a run, read from its log."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

from gpt_numpy.base.errors import InputError
from gpt_numpy.training.log import LOG

Curve = list[tuple[int, float]]  # iteration, nats a token


@dataclass
class History:
    """What the log of one run says of its losses."""

    name: str
    batches: Curve = field(default_factory=list)
    train: Curve = field(default_factory=list)
    val: Curve = field(default_factory=list)


def read_history(run: str) -> History:
    """The losses in the log of the run in the folder `run`; lines that a crash cut off are left.

    Raises
    ------
    InputError : no such folder, no log in it, or no loss in the log.
    """
    folder = Path(run)
    if not folder.is_dir():
        raise InputError(f"{run}: no such folder; name the folder of a run, its --out_dir")
    path = folder / LOG
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        raise InputError(f"{run} is not the folder of a run: it has no {LOG}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    history = History(run)
    curves = {"loss": history.batches, "train_loss": history.train, "val_loss": history.val}
    for line in lines:
        try:
            values = json.loads(line)
            iteration = int(values["iter"])
            found = {key: float(values[key]) for key in curves.keys() & values.keys()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
            continue
        for key, loss in found.items():
            if math.isfinite(loss):
                curves[key].append((iteration, loss))
    if not any(curves.values()):
        raise InputError(f"{path} holds no loss yet: let the run get as far as its first report")
    return history
