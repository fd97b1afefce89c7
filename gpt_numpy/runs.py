"""The folder of a run: its checkpoints and its log, and how a run is begun or taken up again."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpt_numpy.checkpoint import Run, load
from gpt_numpy.config import GPTConfig, TrainConfig
from gpt_numpy.durable import TEMPORARY, replaced
from gpt_numpy.errors import InputError, did_you_mean

LAST = "ckpt.npz"
BEST = "ckpt-best.npz"
LOG = "log.jsonl"
PREVIOUS = "previous"

# What of a model may change when a run is taken up again: it does not change any shape.
CHANGEABLE = ("dropout",)


def find_checkpoint(out_dir: str, which: str) -> Path:
    """The best or the last checkpoint of a run; the last where there is no best one.

    Raises
    ------
    InputError : `which` is neither "best" nor "last", or there is no checkpoint.
    """
    if which not in ("best", "last"):
        raise InputError(f"checkpoint={which!r}: must be best or last")
    folder = Path(out_dir)
    if which == "best" and (folder / BEST).is_file():
        return folder / BEST
    if (folder / LAST).is_file():
        return folder / LAST
    if not folder.is_dir():
        runs = sorted(str(path.parent) for path in Path().glob(f"*/{LAST}"))
        hint = did_you_mean(out_dir, runs) if runs else "train one with: gpt-numpy train"
        raise InputError(f"out_dir={out_dir!r}: no such folder; {hint}")
    raise InputError(
        f"out_dir={out_dir!r} holds no checkpoint ({LAST}); train one with: "
        f"gpt-numpy train --out_dir={out_dir}"
    )


def begin(out_dir: str, say: Callable[[str], None]) -> Path:
    """The folder for a new run; what it holds of an earlier run moves to its folder `previous`.

    Raises
    ------
    InputError : the folder cannot be made or written.
    """
    folder = Path(out_dir)
    if "\0" in out_dir:
        raise InputError(f"out_dir={out_dir!r}: a name of a folder cannot contain a zero byte")
    earlier = [folder / name for name in (LAST, BEST, LOG) if (folder / name).exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if earlier:
            (folder / PREVIOUS).mkdir(exist_ok=True)
            for name in (LAST, BEST, LOG):
                (folder / PREVIOUS / name).unlink(missing_ok=True)
            for path in earlier:
                os.replace(path, folder / PREVIOUS / path.name)
            say(f"moved the earlier run in {out_dir} to {folder / PREVIOUS}")
        (folder / LOG).open("a", encoding="utf-8").close()
    except OSError as error:
        raise InputError(
            f"out_dir={out_dir!r}: cannot write there: {error.strerror or error}; "
            "choose another folder with --out_dir"
        ) from error
    return folder


def remove_leftovers(folder: Path) -> None:
    """Remove what a run that was killed left half written."""
    for path in folder.glob(f"{TEMPORARY}*"):
        with contextlib.suppress(OSError):
            path.unlink()


def resume(out_dir: str, overrides: dict[str, Any]) -> tuple[Run, TrainConfig]:
    """The run to go on with, and its settings with `overrides` over them.

    Raises
    ------
    InputError : no checkpoint, one without training state, or a changed shape of the model.
    """
    path = find_checkpoint(out_dir, "last")
    run = load(path, ops=overrides.get("ops"))
    if run.optimizer is None or run.settings is None:
        raise InputError(
            f"{path} holds a model but no training state: it cannot be resumed, only sampled from"
        )
    shape_names = {field.name for field in dataclasses.fields(GPTConfig)}
    for name in shape_names & overrides.keys():
        here, there = overrides[name], getattr(run.config, name)
        if here != there and name not in CHANGEABLE:
            raise InputError(
                f"{name}={here}, but the run in {out_dir} has {name}={there}: "
                "a run keeps its shape; leave the setting out, or train from scratch"
            )
    changed = {name: overrides[name] for name in CHANGEABLE if name in overrides}
    run.config = dataclasses.replace(run.config, **changed)
    run.model.config = run.config
    kept = {name: value for name, value in overrides.items() if name not in shape_names}
    kept |= {"out_dir": out_dir, "init_from": "resume"}
    if "dataset" in overrides and not overrides.get("data"):
        kept["data"] = ""
    if kept.get("dtype", run.model.dtype.name) != run.model.dtype.name:
        raise InputError(
            f"dtype={kept['dtype']}, but the run in {out_dir} has dtype={run.model.dtype.name}: "
            "a run keeps its dtype; leave the setting out, or train from scratch"
        )
    settings = dataclasses.replace(run.settings, **kept)
    run.optimizer.betas = (settings.beta1, settings.beta2)
    run.optimizer.weight_decay = settings.weight_decay
    run.optimizer.grad_clip = settings.grad_clip
    return run, settings


class Log:
    """The run's log: one JSON object a line."""

    def __init__(self, folder: Path, progress: dict[str, Any] | None = None) -> None:
        self.path = folder / LOG
        if progress:
            self._drop_after(progress["iteration"], progress["evaluated"])

    def write(self, **values: Any) -> None:
        """Append a line."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")
        except OSError as error:
            raise InputError(
                f"cannot write {self.path}: {error.strerror or error}; free the disk, then go on "
                "with the last checkpoint (--init_from=resume) or choose another --out_dir"
            ) from error

    def _drop_after(self, iteration: int, evaluated: int) -> None:
        """Remove what was logged after the checkpoint that the run goes on from."""
        if not self.path.exists():
            return
        lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        kept = []
        for line in lines:
            try:
                values = json.loads(line)
                last = evaluated if "val_loss" in values else iteration - 1
                if values["iter"] <= last:
                    kept.append(line + "\n")
            except (ValueError, KeyError, TypeError):
                continue  # a line that a crash cut off
        try:
            with replaced(self.path) as file:
                file.write("".join(kept).encode())
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror or error}") from error
