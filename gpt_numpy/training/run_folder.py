"""The folder of a run: its checkpoints and its log, and how a run is begun or taken up again.

ckpt.npz            the last checkpoint, from which a run goes on
ckpt-best.npz       the one with the best validation loss
ckpt-00000250.npz   earlier ones, by the iteration at which they stand, if --keep_last says so
log.jsonl           losses, norms of gradients and updates, texts that the model wrote
previous/           all that of the run before
"""

import contextlib
import dataclasses
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.files.durable import preserve
from gpt_numpy.training.checkpoint import Run, load
from gpt_numpy.training.log import LOG

LAST = "ckpt.npz"
BEST = "ckpt-best.npz"
PREVIOUS = "previous"
_EARLIER = re.compile(r"ckpt-(\d{8,})\.npz")

# What of a model may change when a run is taken up again: it does not change any shape.
CHANGEABLE = ("dropout",)


def find_checkpoint(out_dir: str, which: str) -> Path:
    """The best or the last checkpoint of a run, or an earlier one by the number of its iteration.

    Where there is no best one, it is the last.

    Raises
    ------
    InputError : `which` names none of them, or there is no checkpoint.
    """
    folder = Path(out_dir)
    if which not in ("best", "last"):
        kept = earlier_checkpoints(folder)
        if which.isdecimal() and int(which) in kept:
            return kept[int(which)]
        known = ", ".join(map(str, sorted(kept)))
        raise InputError(
            f"checkpoint={which!r}: must be best or last"
            + (f", or the iteration of one that was kept: {known}" if kept else "")
        )
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


def earlier_checkpoints(folder: Path) -> dict[int, Path]:
    """The earlier checkpoints that were kept, by the iteration at which they stand."""
    found = {}
    if folder.is_dir():
        for path in folder.iterdir():
            match = _EARLIER.fullmatch(path.name)
            if match:
                found[int(match[1])] = path
    return found


def keep_earlier(folder: Path, iteration: int) -> None:
    """Let the last checkpoint, of `iteration`, outlive its replacement.

    Raises
    ------
    InputError : the folder cannot be written.
    """
    try:
        if (folder / LAST).is_file():
            preserve(folder / LAST, f"ckpt-{iteration:08d}.npz")
    except OSError as error:
        raise _unwritable(str(folder), error) from error


def drop_oldest(folder: Path, count: int) -> None:
    """Remove all but the `count` newest of the earlier checkpoints."""
    kept = earlier_checkpoints(folder).values()
    newest = sorted(kept, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)
    for path in newest[count:]:
        with contextlib.suppress(OSError):
            path.unlink()


def begin(out_dir: str, say: Callable[[str], None]) -> Path:
    """The folder for a new run; what it holds of an earlier run moves to its folder `previous`.

    Raises
    ------
    InputError : the folder cannot be made or written.
    """
    folder = make_folder(out_dir)
    # The last checkpoint comes last: a process that is killed meanwhile leaves it in its place.
    before = [path for path in _files(folder) if path.exists()]
    try:
        if before:
            (folder / PREVIOUS).mkdir(exist_ok=True)
            for path in _files(folder / PREVIOUS):
                path.unlink(missing_ok=True)
            for path in before:
                os.replace(path, folder / PREVIOUS / path.name)
            say(f"moved the earlier run in {out_dir} to {folder / PREVIOUS}")
        (folder / LOG).open("a", encoding="utf-8").close()
    except OSError as error:
        raise _unwritable(out_dir, error) from error
    return folder


def _files(folder: Path) -> list[Path]:
    return [
        *earlier_checkpoints(folder).values(),
        *(folder / name for name in (BEST, LOG, LAST)),
    ]


def make_folder(out_dir: str) -> Path:
    """The folder of a run, made where there is none.

    Raises
    ------
    InputError : it cannot be made.
    """
    folder = Path(out_dir)
    if "\0" in out_dir:
        raise InputError(f"out_dir={out_dir!r}: a name of a folder cannot contain a zero byte")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(out_dir, error) from error
    return folder


def _unwritable(out_dir: str, error: OSError) -> InputError:
    return InputError(
        f"out_dir={out_dir!r}: cannot write there: {error.strerror or error}; "
        "choose another folder with --out_dir"
    )


def resume(
    out_dir: str, overrides: dict[str, Any], found: Run | None = None
) -> tuple[Run, TrainConfig]:
    """The run to go on with, and its settings with `overrides` over them.

    found : the run, where another program's file in the folder holds it.

    Raises
    ------
    InputError : no checkpoint, one without training state, or a changed shape of the model.
    """
    path = Path(out_dir) if found else find_checkpoint(out_dir, "last")
    run = found or _load_last(path, overrides.get("ops"))
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
    run.model.set_dropout(run.config.dropout)
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


def _load_last(path: Path, ops: str | None) -> Run:
    try:
        return load(path, ops=ops)
    except InputError as error:
        others = [other for other in _files(path.parent) if other.suffix == path.suffix]
        names = ", ".join(p.name for p in others if p.is_file() and p != path)
        if not names:
            raise
        raise InputError(
            f"{error}; to go on from another checkpoint of this run ({names}), "
            f"give it the name {path.name}"
        ) from error
