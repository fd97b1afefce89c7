"""The loss curves of a run, read from its log."""

import json
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from gpt_numpy.base.errors import InputError
from gpt_numpy.files.zip_archives import open_archive
from gpt_numpy.training.log import LOG
from gpt_numpy.training.run_folder import LAST as CHECKPOINT

Curve = list[tuple[int, float]]  # iteration, nats a token


@dataclass
class History:
    """The losses in the log of one run: of single batches, and of both splits.

    `vocab_size` and `data`, a data set or a text file, are what its checkpoint says; None and ""
    where there is none.
    """

    name: str
    batches: Curve = field(default_factory=list)
    train: Curve = field(default_factory=list)
    val: Curve = field(default_factory=list)
    vocab_size: int | None = None
    data: str = ""


def read_history(run: str) -> History:
    """The losses in the log of the run in the folder `run`; damaged lines are skipped.

    Raises
    ------
    InputError : no such folder, no log in it, or no loss in the log.
    """
    folder = Path(run)
    if not folder.is_dir():
        raise InputError(f"{run}: no such folder; name the folder of a run, its --out_dir")
    path = folder / LOG
    try:
        entries = log_entries(path)
    except FileNotFoundError:
        raise InputError(f"{run} is not the folder of a run: it has no {LOG}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    batches, train, val = (log_curve(entries, name) for name in ("loss", "train_loss", "val_loss"))
    if not (batches or train or val):
        raise InputError(f"{path} holds no loss yet: let the run get as far as its first report")
    vocab_size, data = _vocabulary_and_data(folder / CHECKPOINT)
    return History(run, batches, train, val, vocab_size, data)


def incomparable(histories: list[History]) -> str:
    """Why the losses of these runs do not compare; "" where nothing is known against it."""
    known = [h for h in histories if h.vocab_size is not None]
    if len({(h.vocab_size, h.data) for h in known}) < 2:
        return ""
    each = "; ".join(f"{h.name}: {h.data}, {h.vocab_size} tokens" for h in known)
    return f"other texts or vocabularies, so the losses do not compare ({each})"


def _vocabulary_and_data(path: Path) -> tuple[int | None, str]:
    """From the header of a checkpoint alone; None and "" where it cannot be read."""
    try:
        with path.open("rb") as file, open_archive(file) as archive:
            header = json.loads(archive.read("header.json"))
        settings = header["settings"] or {}
        data = settings.get("data") or settings.get("dataset") or ""
        return int(header["config"]["vocab_size"]), str(data)
    except (OSError, InputError, ValueError, LookupError, TypeError, zipfile.BadZipFile):
        return None, ""


def log_entries(path: Path) -> list[dict[str, Any]]:
    """The objects of a log that have an integer `iter`; lines damaged by a crash are skipped.

    Raises
    ------
    OSError : the file cannot be read.
    """
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and type(entry.get("iter")) is int:
            found.append(entry)
    return found


def log_curve(entries: list[dict[str, Any]], name: str) -> Curve:
    """The finite values of this name."""
    found = ((entry["iter"], entry.get(name)) for entry in entries)
    return [(iteration, float(value)) for iteration, value in found if is_finite(value)]


def is_finite(value: Any) -> TypeGuard[float]:
    """Whether a value of the log is a number that a float can hold, not infinite or NaN."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max
