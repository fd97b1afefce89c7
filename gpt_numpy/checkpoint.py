"""Checkpoints: one file that holds a whole run, written durably and checked in full when read.

A checkpoint is a zip archive of NumPy arrays, as `np.savez` writes it, uncompressed and without
pickle. Its members are

    header.json          what it is, its version, configuration, tokenizer, progress, versions
    <name>.npy           every parameter, under GPT-2's names
    adamw.m.<name>.npy   AdamW's running mean, and
    adamw.v.<name>.npy   its running mean square, where the run was being trained

and its archive comment ends in 64 hexadecimal digits, the checksum of every byte before them: the
SHA-256 of the SHA-256 digests of the file's blocks of 4 MiB (of blocks, so that two cores can work
on it). zip's own CRC does not cover its headers, and safetensors and .npy have none at all.

No random state is stored: batches and dropout are functions of the seed and the iteration.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import platform
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

import gpt_numpy
from gpt_numpy.arrays import Array, parameter_shapes
from gpt_numpy.config import IMPLEMENTATIONS, GPTConfig, TrainConfig
from gpt_numpy.errors import InputError
from gpt_numpy.model import GPT
from gpt_numpy.optimizer import AdamW
from gpt_numpy.tokenizers import CharTokenizer, tokenizer_from_json

FORMAT = "gpt_numpy checkpoint"
VERSION = 1
BLOCK = 4 * 2**20
DIGITS = 64
COMMENT = b"sha256 of sha256 of 4 MiB blocks: "
HEADER_LIMIT = 64 * 2**20
TEMPORARY = ".partial-"


@dataclass
class Run:
    """What a checkpoint holds.

    `settings` are those of training (None for a model alone), `progress` is the training loop's
    own book-keeping, `dataset` the fingerprint of the data.
    """

    model: GPT
    config: GPTConfig
    tokenizer: CharTokenizer | None = None
    optimizer: AdamW | None = None
    settings: TrainConfig | None = None
    progress: dict[str, Any] = field(default_factory=dict)
    dataset: str = ""


def save(
    path: str | os.PathLike[str],
    model: GPT,
    *,
    tokenizer: CharTokenizer | None = None,
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
    path = Path(path)
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
        "versions": {
            "gpt_numpy": gpt_numpy.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
        },
    }
    try:
        with _renamed_into_place(path) as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                _write_members(archive, header, model, optimizer)
                archive.comment = COMMENT + b"0" * DIGITS
            end = file.seek(0, os.SEEK_END) - DIGITS
            digest = _digest(file, end)
            file.seek(end)
            file.write(digest)
    except OSError as error:
        raise InputError(
            f"cannot save {path}: {error.strerror or error}; "
            "free or choose another folder (--out_dir)"
        ) from error


def load(path: str | os.PathLike[str], *, ops: str | None = None) -> Run:
    """Read a checkpoint, with the implementation `ops` of the layers (the default one: None).

    Raises
    ------
    InputError : there is no such file, it is damaged, or it is no checkpoint of this project.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            _verify(path, file)
            with zipfile.ZipFile(file) as archive:
                return _read(path, archive, ops)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read checkpoint {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not a checkpoint that this version reads: {error}") from error


@contextlib.contextmanager
def _renamed_into_place(path: Path) -> Iterator[IO[bytes]]:
    """A new file that replaces `path`, flushed to disk, when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{TEMPORARY}{secrets.token_hex(8)}{path.suffix}"
    try:
        with open(temporary, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    # The new name is safe only once the folder is on disk; Windows cannot open a folder for that.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _digest(file: IO[bytes], size: int) -> bytes:
    """The checksum of the first `size` bytes, as hexadecimal digits."""

    def blocks() -> Iterator[bytes]:
        file.seek(0)
        for start in range(0, size, BLOCK):
            yield file.read(min(BLOCK, size - start))

    whole = hashlib.sha256()
    workers = 2
    with ThreadPoolExecutor(workers) as pool:
        waiting: list[Any] = []
        for block in blocks():
            waiting.append(pool.submit(lambda data: hashlib.sha256(data).digest(), block))
            if len(waiting) > workers:
                whole.update(waiting.pop(0).result())
        for digest in waiting:
            whole.update(digest.result())
    return whole.hexdigest().encode()


def _verify(path: Path, file: IO[bytes]) -> None:
    size = file.seek(0, os.SEEK_END)
    tail = len(COMMENT) + DIGITS
    if size > tail:
        file.seek(size - tail)
        if file.read(len(COMMENT)) == COMMENT:
            expected = file.read(DIGITS)
            if _digest(file, size - DIGITS) == expected:
                return
            raise InputError(f"{path} is damaged: its checksum does not fit; use another copy")
    raise InputError(f"{path} is not a gpt_numpy checkpoint, or its end is missing")


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
    names = [item.filename for item in archive.infolist()]
    if len(set(names)) != len(names) or "header.json" not in names:
        raise InputError(f"{path} is not a gpt_numpy checkpoint: its list of members is wrong")
    if archive.getinfo("header.json").file_size > HEADER_LIMIT:
        raise InputError(f"{path}: its header is larger than {HEADER_LIMIT} bytes")
    header = json.loads(archive.read("header.json"))
    if header["format"] != FORMAT or header["version"] != VERSION:
        raise InputError(
            f"{path} has format {header['format']!r}, version {header['version']!r}: "
            f"this is gpt_numpy {gpt_numpy.__version__}, which reads version {VERSION}"
        )
    config = GPTConfig(**header["config"])
    sizes = {item.filename: item.file_size for item in archive.infolist()}
    _check_members(path, config, header, sizes)
    ops = ops or (header["settings"] or {}).get("ops")
    model = GPT(config, seed=None, dtype=header["dtype"], ops=ops or IMPLEMENTATIONS[0])
    optimizer = None
    if header["optimizer"] is not None:
        optimizer = _optimizer_from_header(model, header["optimizer"])
    for name, array in _arrays(model, optimizer).items():
        _read_array(path, archive, name, array)
    tokenizer = header["tokenizer"] and tokenizer_from_json(header["tokenizer"])
    settings = header["settings"] and TrainConfig(**header["settings"])
    return Run(model, config, tokenizer, optimizer, settings, header["progress"], header["dataset"])


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
        if sizes[f"{name}.npy"] < int(np.prod(shape, dtype=object)) * itemsize:
            raise InputError(f"{path}: {name} is smaller than its shape {shape}")


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
        view = array.reshape(-1).view(np.uint8).data
        for start in range(0, view.nbytes, BLOCK):
            part = member.read(min(BLOCK, view.nbytes - start))
            view[start : start + len(part)] = part


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
    steps = values.pop("steps")
    optimizer = AdamW(model, **values | {"betas": tuple(values["betas"])})
    optimizer.steps = steps
    return optimizer
