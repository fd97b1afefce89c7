"""Checkpoints: one file that holds a whole run, written durably and checked in full when read.

A checkpoint is a zip archive of NumPy arrays, as `np.savez` writes it, uncompressed and without
pickle. Its members are

    header.json          what it is, its version, configuration, tokenizer, progress,
                         software and processor
    <name>.npy           every parameter, under GPT-2's names
    adamw.m.<name>.npy   AdamW's running mean, and
    adamw.v.<name>.npy   its running mean square, where the run was being trained

and its archive comment ends in 64 hexadecimal digits, the checksum of every byte before them
(durable.py): zip's own CRC does not cover its headers, and safetensors and .npy have none at all.

No random state is stored: batches and dropout are functions of the seed and the iteration.
"""

import dataclasses
import json
import math
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.checks import path as checked_path
from gpt_numpy.base.environment import describe
from gpt_numpy.base.errors import InputError
from gpt_numpy.base.version import __version__
from gpt_numpy.config.choices import DTYPES, IMPLEMENTATIONS
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.data.tokenizers.tokenizer import Tokenizer
from gpt_numpy.data.tokenizers.tokenizer_files import tokenizer_from_json
from gpt_numpy.files import zip_archives as archives
from gpt_numpy.files.durable import BLOCK, UNSEALED, seal, verify, written_durably
from gpt_numpy.model.gpt import GPT
from gpt_numpy.model.implementations import load_ops
from gpt_numpy.model.memory import check_memory
from gpt_numpy.model.stages import parameter_shapes
from gpt_numpy.training.optimizer import AdamW

FORMAT = "gpt_numpy checkpoint"
VERSION = 1
HEADER_LIMIT = 64 * 2**20


@dataclass
class Run:
    """What a checkpoint holds.

    `settings` are those of training (None for a model alone), `progress` is the training loop's
    own book-keeping, `dataset` the fingerprint of the data, `environment` the software and the
    processor that it was saved with (environment.py).
    """

    model: GPT
    config: GPTConfig
    tokenizer: Tokenizer | None = None
    optimizer: AdamW | None = None
    settings: TrainConfig | None = None
    progress: dict[str, Any] = field(default_factory=dict)
    dataset: str = ""
    environment: dict[str, str] = field(default_factory=dict)


def save(
    path: str | os.PathLike[str],
    model: GPT,
    *,
    tokenizer: Tokenizer | None = None,
    optimizer: AdamW | None = None,
    settings: TrainConfig | None = None,
    progress: Mapping[str, Any] | None = None,
    dataset: str = "",
) -> None:
    """Write a checkpoint to `path`, whole or not at all.

    It is written beside `path`, flushed to the disk and renamed, so that at every moment there is
    either the old file or the new one.

    Raises
    ------
    InputError : the folder cannot be written.
    """
    path = checked_path("path", path)
    header = {
        "format": FORMAT,
        "version": VERSION,
        "dtype": model.dtype.name,
        "config": dataclasses.asdict(model.config),
        "tokenizer": None if tokenizer is None else tokenizer.to_json(),
        "settings": None if settings is None else dataclasses.asdict(settings),
        "optimizer": None if optimizer is None else _optimizer_header(optimizer),
        "progress": dict(progress or {}),
        "dataset": dataset,
        "environment": describe(model.ops_name),
    }
    try:
        with written_durably(path) as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                _write_members(archive, header, model, optimizer)
                archive.comment = UNSEALED
            seal(file)
    except OSError as error:
        raise InputError(
            f"cannot save {path}: {error.strerror or error}; "
            "make room, or choose another folder with --out_dir"
        ) from error


def load(path: str | os.PathLike[str], *, ops: str | None = None) -> Run:
    """Read a checkpoint, with the implementation `ops` of the layers (the default one: None).

    Raises
    ------
    InputError : there is no such file, it is damaged, or it is no checkpoint of this project.
    """
    path = checked_path("path", path)
    if ops is not None:
        load_ops(ops)
    try:
        with open(path, "rb") as file:
            verify(path, file)
            with archives.open_archive(file) as archive:
                return _read(path, archive, ops)
    except InputError as error:
        if str(path) in str(error):
            raise
        raise InputError(f"{path} cannot be used: {error}") from None
    except IsADirectoryError:
        files = sorted(file.name for file in path.glob("ckpt*.npz"))
        first = "ckpt-best.npz" if "ckpt-best.npz" in files else (files or [""])[0]
        raise InputError(
            f"{path} is a folder: name a checkpoint in it, {path / first}"
            if first
            else f"{path} is a folder, and holds no checkpoint (ckpt.npz)"
        ) from None
    except OSError as error:
        raise InputError(f"cannot read checkpoint {path}: {error.strerror or error}") from error
    except MemoryError:
        raise
    except Exception as error:  # zipfile, json and NumPy raise a dozen kinds on a file made to harm
        what = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise InputError(f"{path} is not a checkpoint that this version reads: {what}") from error


def _write_members(
    archive: zipfile.ZipFile, header: dict[str, Any], model: GPT, optimizer: AdamW | None
) -> None:
    # A fixed date: the same run gives the same bytes.
    info = zipfile.ZipInfo("header.json", (1980, 1, 1, 0, 0, 0))
    archive.writestr(info, json.dumps(header, indent=1))
    for name, array in _arrays(model, optimizer).items():
        info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
        with archive.open(info, "w", force_zip64=True) as member:
            np.lib.format.write_array(member, array, allow_pickle=False)


def _arrays(model: GPT, optimizer: AdamW | None) -> dict[str, Array]:
    arrays = dict(model.params)
    if optimizer is not None:
        arrays |= {f"adamw.m.{name}": array for name, array in optimizer.m.items()}
        arrays |= {f"adamw.v.{name}": array for name, array in optimizer.v.items()}
    return arrays


def _read(path: Path, archive: zipfile.ZipFile, ops: str | None) -> Run:
    members = archive.infolist()
    names = [item.filename for item in members]
    if "header.json" not in names:
        raise InputError(f"{path} is not a gpt_numpy checkpoint: its list of members is wrong")
    if archive.getinfo("header.json").file_size > HEADER_LIMIT:
        raise InputError(f"{path}: its header is larger than {HEADER_LIMIT} bytes")
    header = json.loads(archive.read("header.json"))
    if header["format"] != FORMAT or header["version"] != VERSION:
        raise InputError(
            f"{path} has format {header['format']!r}, version {header['version']!r}: "
            f"this is gpt_numpy {__version__}, which reads version {VERSION} of "
            f"{FORMAT!r}; update gpt_numpy, or train again"
        )
    if header["dtype"] not in DTYPES:
        raise InputError(f"{path}: dtype={header['dtype']!r}: must be one of {', '.join(DTYPES)}")
    config = GPTConfig(**header["config"])
    sizes = {item.filename: item.file_size for item in members}
    _check_members(path, config, header, sizes)
    ops = ops or (header["settings"] or {}).get("ops")
    model = GPT(config, seed=None, dtype=header["dtype"], ops=ops or IMPLEMENTATIONS[0])
    optimizer = None
    if header["optimizer"] is not None:
        optimizer = _optimizer_from_header(model, header["optimizer"])
    for name, array in _arrays(model, optimizer).items():
        _read_array(path, archive, name, array)
    tokenizer = header["tokenizer"] and tokenizer_from_json(header["tokenizer"])
    if tokenizer is not None and tokenizer.vocab_size > config.vocab_size:
        raise InputError(
            f"{path}: its tokenizer has {tokenizer.vocab_size} tokens, its model "
            f"vocab_size={config.vocab_size}"
        )
    settings = header["settings"] and TrainConfig(**header["settings"])
    progress, dataset = header["progress"], header["dataset"]
    environment = header.get("environment", {})  # absent from the first files of this version
    if not (isinstance(progress, dict) and isinstance(dataset, str)):
        raise InputError(f"{path}: its progress or its dataset is of the wrong type")
    if not (isinstance(environment, dict) and all(map(_is_text, environment.values()))):
        raise InputError(f"{path}: its environment is not a table of texts")
    return Run(model, config, tokenizer, optimizer, settings, progress, dataset, environment)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _check_members(
    path: Path, config: GPTConfig, header: dict[str, Any], sizes: dict[str, int]
) -> None:
    """Refuse a file that does not hold what its header says, before any array is allocated."""
    if config.n_layer > len(sizes):
        raise InputError(f"{path}: n_layer={config.n_layer}, but it has {len(sizes)} members")
    names = list(parameter_shapes(config))
    if header["optimizer"] is not None:
        names += [f"adamw.{kind}.{name}" for kind in "mv" for name in parameter_shapes(config)]
    expected = {f"{name}.npy" for name in names} | {"header.json"}
    if expected != set(sizes):
        differ = sorted(expected ^ set(sizes))[0]
        raise InputError(f"{path}: member {differ} does not belong to its configuration, or lacks")
    itemsize = np.dtype(header["dtype"]).itemsize
    for name, shape in parameter_shapes(config).items():
        if sizes[f"{name}.npy"] < math.prod(shape) * itemsize:
            raise InputError(f"{path}: {name} is smaller than its shape {shape}")
    check_memory(config, 1, itemsize=itemsize, copies=2)


def _read_array(path: Path, archive: zipfile.ZipFile, name: str, array: Array) -> None:
    with archive.open(f"{name}.npy") as member:
        version = np.lib.format.read_magic(member)
        if version != (1, 0):
            raise InputError(f"{path}: {name} has .npy version {version}, expected (1, 0)")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(member)
        if shape != array.shape or dtype != array.dtype or fortran:
            raise InputError(
                f"{path}: {name} is {dtype} {shape}, its configuration says "
                f"{array.dtype} {array.shape}"
            )
        begin = member.tell()
    item = archive.getinfo(f"{name}.npy")
    if item.file_size - begin != array.nbytes:
        raise InputError(f"{path}: {name} does not have the size of its shape {array.shape}")
    # The checksum of the whole file has been compared: zip's own would only cost time.
    file = cast(IO[bytes], archive.fp)
    file.seek(archives.start_of(file, item) + begin)
    view = array.reshape(-1).view(np.uint8).data
    done = 0
    while done < view.nbytes:
        count = file.readinto(view[done : done + BLOCK])  # type: ignore[attr-defined]
        if not count:
            raise InputError(f"{path}: {name} is cut off")
        done += count


def _optimizer_header(optimizer: AdamW) -> dict[str, Any]:
    return {
        "steps": optimizer.steps,
        "learning_rate": optimizer.learning_rate,
        "betas": list(optimizer.betas),
        "weight_decay": optimizer.weight_decay,
        "grad_clip": optimizer.grad_clip,
        "eps": optimizer.eps,
    }


def _optimizer_from_header(model: GPT, header: dict[str, Any]) -> AdamW:
    values = dict(header)
    steps, (beta1, beta2) = values.pop("steps"), values.pop("betas")
    if type(steps) is not int or steps < 0:
        raise InputError(f"optimizer: steps={steps!r}: must be an integer of at least 0")
    optimizer = AdamW(model, betas=(beta1, beta2), **values)
    optimizer.steps = steps
    return optimizer
