"""The folder of a run: its checkpoints and log; how a run is started or resumed.

ckpt.npz            the last checkpoint, from which a run is resumed
ckpt-best.npz       the one with the best validation loss
ckpt-00000250.npz   earlier ones, by iteration, if --keep_last is greater than 1
log.jsonl           losses, norms of gradients and updates, generated texts
previous/           the same files of a run that was there before; previous-2/ those of the next one
"""

import contextlib
import dataclasses
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpt_numpy.base.checks import shown
from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.base.shell import quoted
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.config.transformer import TransformerConfig
from gpt_numpy.files.durable import preserve
from gpt_numpy.files.reading import os_errors_as_input_errors
from gpt_numpy.model.implementations import array_type
from gpt_numpy.training.checkpoint import Run, load
from gpt_numpy.training.log import LOG
from gpt_numpy.training.optimizers import set_hyperparameters

LAST = "ckpt.npz"
BEST = "ckpt-best.npz"
PREVIOUS = "previous"
_EARLIER = re.compile(r"ckpt-(\d{8,})\.npz")


def find_checkpoint(out_dir: str, which: str) -> Path:
    """The checkpoint "best", "last" or that of an earlier iteration, such as "250".

    "best" is the last one if there is no best one; "last" is the latest that is left if ckpt.npz is
    gone. InputError: there is no such checkpoint.
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
    earlier = [path for _, path in sorted(earlier_checkpoints(folder).items(), reverse=True)]
    best, last = folder / BEST, folder / LAST
    for path in [best, last, *earlier] if which == "best" else [last, *earlier, best]:
        if path.is_file():
            return path
    if folder.exists() and not folder.is_dir():
        raise InputError(
            f"out_dir={out_dir!r}: it is a file; name its folder, or give the file as --init_from "
            "to sample"
        )
    if not folder.is_dir():
        runs = sorted(quoted(str(path.parent)) for path in Path().glob(f"*/{LAST}"))
        hint = did_you_mean(out_dir, runs) if runs else "train one with: gpt-numpy train"
        raise InputError(f"out_dir={out_dir!r}: no such folder; {hint}")
    raise InputError(
        f"out_dir={out_dir!r} holds no checkpoint ({LAST}); train one with: "
        f"gpt-numpy train --out_dir={quoted(out_dir)}{_moved_hint(folder)}"
    )


def _moved_hint(folder: Path) -> str:
    """Where the last run is that a start, which then failed, moved out of its way."""
    moved = [str(path.parent) for path in folder.glob(f"{PREVIOUS}*/{LAST}")]
    if not moved:
        return ""
    place = quoted(max(moved, key=lambda name: (len(name), name)))
    return f"; an earlier run was moved to {place}: use --out_dir={place}"


def earlier_checkpoints(folder: Path) -> dict[int, Path]:
    """The earlier checkpoints that were kept, by iteration."""
    matches = ((_EARLIER.fullmatch(path.name), path) for path in folder.glob("ckpt-*.npz"))
    return {int(match[1]): path for match, path in matches if match}


def keep_earlier(folder: Path, iteration: int) -> None:
    """Keep the last checkpoint, of `iteration`, under a name that the next save leaves alone."""
    with _writing(str(folder)):
        if (folder / LAST).is_file():
            preserve(folder / LAST, f"ckpt-{iteration:08d}.npz")


def drop_oldest(folder: Path, count: int, iteration: int) -> None:
    """Remove all but the last `count` of the earlier checkpoints before `iteration`.

    Later ones are of a run that was continued from an earlier point, and stay.
    """
    kept = earlier_checkpoints(folder)
    for number in sorted(n for n in kept if n < iteration)[:-count]:
        with contextlib.suppress(OSError):
            kept[number].unlink()


def begin(out_dir: str, say: Callable[[str], None]) -> Path:
    """Create the folder for a new run; files of an earlier run move to a subfolder of it.

    Nothing is overwritten, and LAST is moved last: a process killed in between leaves a folder that
    can be resumed, and the next start moves the rest to the same subfolder.
    """
    folder = make_folder(out_dir)
    with _writing(out_dir):
        before = [path for path in _files(folder) if path.exists()]
        if any(path.stat().st_size for path in before):
            target = _unused_subfolder(folder, [path.name for path in before])
            target.mkdir(exist_ok=True)
            for path in before:
                os.replace(path, target / path.name)
            say(f"moved the earlier run in {out_dir} to {target}")
        (folder / LOG).open("a", encoding="utf-8").close()
    return folder


def _unused_subfolder(folder: Path, names: list[str]) -> Path:
    """The first of previous/, previous-2/, ... that has no file of these names."""
    path, number = folder / PREVIOUS, 1
    while any(os.path.lexists(path / name) for name in names):
        number += 1
        path = folder / f"{PREVIOUS}-{number}"
    return path


def _files(folder: Path) -> list[Path]:
    return [*earlier_checkpoints(folder).values(), folder / BEST, folder / LOG, folder / LAST]


def make_folder(out_dir: str) -> Path:
    """The folder of a run, created if it does not exist; InputError if that is impossible."""
    folder = Path(out_dir)
    if "\0" in out_dir:
        raise InputError(f"out_dir={out_dir!r}: the name of a folder cannot contain a zero byte")
    if os.path.lexists(folder) and not folder.is_dir():
        what = "a link to nothing" if folder.is_symlink() and not folder.exists() else "a file"
        raise InputError(f"out_dir={out_dir!r} is {what}: choose another folder with --out_dir")
    with _writing(out_dir):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _writing(out_dir: str) -> contextlib.AbstractContextManager[None]:
    what, advice = (
        f"out_dir={out_dir!r}: cannot write there",
        "choose another folder with --out_dir",
    )
    return os_errors_as_input_errors(what, advice)


def resume(
    out_dir: str, overrides: dict[str, Any], found: Run | None = None
) -> tuple[Run, TrainConfig]:
    """The run to resume, and its settings updated by `overrides`.

    found : the run, where another program's file in the folder holds it.

    Raises
    ------
    InputError : no checkpoint, one without training state, or a different shape or dtype.
    """
    path = Path(out_dir) if found else find_checkpoint(out_dir, "last")
    run = found or _load_last(path, overrides.get("ops"))
    if run.optimizer is None or run.settings is None:
        raise InputError(
            f"{path} holds a model but no training state: it cannot be resumed; train it further "
            f"with --init_from={quoted(out_dir)} and another --out_dir"
        )
    shape = dataclasses.asdict(run.config)
    kept = shape | {"dtype": run.model.precision, "optimizer": run.optimizer.KIND}
    dtype = overrides.get("dtype", run.model.precision)
    if array_type(dtype) == run.model.dtype:  # float32 and bfloat16 have the same parameters
        run.model.set_precision(dtype)
        kept["dtype"] = dtype
    for name in sorted(kept.keys() & overrides.keys() - {"dropout"}):
        if overrides[name] != kept[name]:
            raise InputError(
                f"{name}={overrides[name]}, but the run in {out_dir} has {name}={kept[name]}: a "
                "run keeps its shape, dtype and optimizer; leave the setting out, or start a new "
                f"run, from scratch or with --init_from={quoted(out_dir)} and another "
                "--out_dir"
            )
    known = shape.keys() | {field.name for field in dataclasses.fields(run.settings)}
    for name in sorted(overrides.keys() - known):
        kind = "a GPT" if isinstance(run.config, GPTConfig) else "an encoder-decoder"
        raise InputError(
            f"{name}={shown(overrides[name])}: the run in {out_dir} is {kind}, which has no such "
            "setting; leave it out"
        )
    run.model.set_dropout(overrides.get("dropout", run.config.dropout))
    run.config = run.model.config
    changes = {name: value for name, value in overrides.items() if name not in shape}
    changes |= {"out_dir": out_dir, "init_from": "resume"}
    if "dataset" in overrides and not overrides.get("data"):
        changes["data"] = ""
    settings = dataclasses.replace(run.settings, **changes)
    set_hyperparameters(run.optimizer, settings)
    return run, settings


def open_translator(out_dir: str, checkpoint: str, ops: str | None) -> Run:
    """The run of an encoder-decoder in a folder, with its tokenizer.

    Raises
    ------
    InputError : there is no such checkpoint, or it is a GPT's.
    """
    path = find_checkpoint(out_dir, checkpoint)
    run = load(path, ops=ops)
    if not isinstance(run.config, TransformerConfig):
        raise InputError(
            f"{path} is a GPT, which continues texts: use gpt-numpy sample "
            f"--out_dir={quoted(out_dir)}"
        )
    if run.tokenizer is None:
        raise InputError(f"{path} holds no tokenizer, so it cannot read a text")
    return run


def _load_last(path: Path, ops: str | None) -> Run:
    try:
        return load(path, ops=ops)
    except InputError as error:
        others = [other for other in _files(path.parent) if other.suffix == path.suffix]
        names = ", ".join(p.name for p in others if p.is_file() and p != path)
        if not names:
            raise
        raise InputError(
            f"{error}; to resume from another checkpoint of this run ({names}), rename it to {LAST}"
        ) from error
