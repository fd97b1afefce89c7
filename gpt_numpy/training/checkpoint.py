"""Checkpoints: one file that holds a whole run, written durably and checked in full when read.

A checkpoint is a zip archive of NumPy arrays, as `np.savez` writes it, uncompressed and without
pickle. Its members are

    header.json          format and version, configuration, tokenizer, progress, software,
                         processor
    <name>.npy           every parameter, under its name in the model, GPT-2's for a GPT
    adamw.m.<name>.npy   AdamW's running mean of a parameter's gradient, and
    adamw.v.<name>.npy   its running mean square (both only with an optimizer), or
    muon.momentum.<name>.npy   the running mean of a gradient, for the parameters that are Muon's

The archive comment ends in 64 hexadecimal digits, the checksum of all bytes before them
(durable.py): zip's own CRC does not cover the headers.

No random state is stored: batches and dropout are functions of the seed and the iteration.
"""

import dataclasses
import json
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.checks import instance
from gpt_numpy.base.checks import path as checked_path
from gpt_numpy.base.environment import describe
from gpt_numpy.base.errors import InputError, VariableError
from gpt_numpy.base.version import __version__
from gpt_numpy.config.choices import DTYPES, IMPLEMENTATIONS
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.config.transformer import TransformerConfig
from gpt_numpy.config.translation import TranslationConfig
from gpt_numpy.data.tokenizers.tokenizer import Tokenizer
from gpt_numpy.data.tokenizers.tokenizer_files import tokenizer_from_json
from gpt_numpy.files import zip_archives as archives
from gpt_numpy.files.durable import UNSEALED, seal, verify, written_durably
from gpt_numpy.files.reading import read_into
from gpt_numpy.model.base_model import Model
from gpt_numpy.model.encoder_decoder import Transformer
from gpt_numpy.model.gpt import GPT
from gpt_numpy.model.implementations import array_type, load_ops
from gpt_numpy.model.memory import check_memory
from gpt_numpy.model.stage import ModelConfig
from gpt_numpy.model.stages import parameter_shapes
from gpt_numpy.reference.linear import BFLOAT16
from gpt_numpy.training.optimizer import AdamW
from gpt_numpy.training.optimizers import KINDS

FORMAT = "gpt_numpy checkpoint"
VERSION = 1
HEADER_LIMIT = 64 * 2**20

# The kinds of model, by their name in a header; a GPT's has none, as before there was another.
_GPT = "gpt"
MODELS: dict[str, tuple[Any, Any, Any]] = {
    _GPT: (GPT, GPTConfig, TrainConfig),
    "transformer": (Transformer, TransformerConfig, TranslationConfig),
}


@dataclass
class Run:
    """What a checkpoint holds.

    `model` is a GPT or a Transformer, and `config` is its shape. `settings` are the training
    settings (None for a model alone), `progress` is the state of the training loop, `dataset` the
    fingerprint of the data, `environment` the software and processor that saved it
    (environment.py).
    """

    model: Any
    config: Any
    tokenizer: Tokenizer | None = None
    optimizer: AdamW | None = None
    settings: TrainConfig | None = None
    progress: dict[str, Any] = field(default_factory=dict)
    dataset: str = ""
    environment: dict[str, str] = field(default_factory=dict)


def environment_of(model: Model) -> dict[str, str]:
    """Everything that the last bits of this model's passes depend on, by name."""
    found = describe(model.ops_name)
    if model.precision == BFLOAT16 and model.ops_name == "kernels":
        found["bfloat16 products"] = model.ops.bfloat16_tile()
    return found


def save(
    path: str | os.PathLike[str],
    model: Model,
    *,
    tokenizer: Tokenizer | None = None,
    optimizer: AdamW | None = None,
    settings: TrainConfig | None = None,
    progress: Mapping[str, Any] | None = None,
    dataset: str = "",
) -> None:
    """Write a checkpoint to `path` atomically.

    It is written to a temporary file next to `path`, flushed to disk and renamed, so that `path` is
    always either the old file or the new one. With several processes all call it, and process 0
    writes.

    Raises
    ------
    InputError : the folder cannot be written; `path` is a folder; no model.
    """
    path = checked_path("path", path)
    instance("model", model, Model, "a GPT or a Transformer")
    if path.is_dir():
        raise InputError(f"cannot save {path}: it is a folder: name a file in it, such as run.npz")
    if optimizer is not None and not optimizer.world.first:
        for _ in optimizer.whole_state():  # process 0 writes what this one sends
            pass
        return
    header = {
        "format": FORMAT,
        "version": VERSION,
        **({} if isinstance(model, GPT) else {"model": _kind_of_model(model)}),
        "dtype": model.precision,
        "config": dataclasses.asdict(model.config),
        "tokenizer": tokenizer and tokenizer.to_json(),
        "settings": settings and dataclasses.asdict(settings),
        "optimizer": optimizer and _optimizer_to_header(optimizer),
        "progress": dict(progress or {}),
        "dataset": dataset,
        "environment": environment_of(model),
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
            "free disk space, or choose another folder with --out_dir"
        ) from error


def load(path: str | os.PathLike[str], *, ops: str | None = None) -> Run:
    """Read a checkpoint; `ops` names the implementation of the layers (None: the run's own).

    Raises
    ------
    InputError : the file does not exist, is damaged, or is not a checkpoint of gpt_numpy.
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
        if isinstance(error, VariableError) or str(path) in str(error):
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
    except Exception as error:  # zipfile, json and NumPy raise many types on a hostile file
        what = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise InputError(f"{path} is not a checkpoint that this version reads: {what}") from error


def _write_members(
    archive: zipfile.ZipFile, header: dict[str, Any], model: Model, optimizer: AdamW | None
) -> None:
    # A fixed date, so that the same run gives the same bytes.
    info = zipfile.ZipInfo("header.json", (1980, 1, 1, 0, 0, 0))
    archive.writestr(info, json.dumps(header, indent=1))
    for name, array in _arrays(model, optimizer):
        info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
        with archive.open(info, "w", force_zip64=True) as member:
            np.lib.format.write_array(member, array, allow_pickle=False)


def _kind_of_model(model: Model) -> str:
    return next(name for name, (kind, *_) in MODELS.items() if isinstance(model, kind))


def _arrays(model: Model, optimizer: AdamW | None) -> Iterator[tuple[str, Array]]:
    yield from model.params.items()
    for name, array in optimizer.whole_state() if optimizer is not None else ():
        assert array is not None  # this is process 0
        yield name, array


def _read(path: Path, archive: zipfile.ZipFile, ops: str | None) -> Run:
    sizes = {item.filename: item.file_size for item in archive.infolist()}
    if "header.json" not in sizes:
        raise InputError(f"{path} is not a gpt_numpy checkpoint: it has no member header.json")
    if sizes["header.json"] > HEADER_LIMIT:
        raise InputError(f"{path}: its header is larger than {HEADER_LIMIT} bytes")
    header = json.loads(archive.read("header.json"))
    if header["format"] != FORMAT or header["version"] != VERSION:
        raise InputError(
            f"{path} has format {header['format']!r}, version {header['version']!r}: "
            f"gpt_numpy {__version__} reads version {VERSION} of {FORMAT!r}; "
            "update gpt_numpy, or train again"
        )
    if header["dtype"] not in DTYPES:
        raise InputError(f"{path}: dtype={header['dtype']!r}: must be one of {', '.join(DTYPES)}")
    kind = header.get("model", _GPT)
    if kind not in MODELS:
        raise InputError(f"{path}: model={kind!r}: must be one of {', '.join(MODELS)}")
    model_class, config_class, settings_class = MODELS[kind]
    config = config_class(**header["config"])
    _check_members(path, config, header, sizes)
    ops = ops or (header["settings"] or {}).get("ops")
    model = model_class(config, seed=None, dtype=header["dtype"], ops=ops or IMPLEMENTATIONS[0])
    optimizer = None
    if header["optimizer"] is not None:
        optimizer = _optimizer_from_header(model, header["optimizer"])
    for name, array in _arrays(model, optimizer):
        _read_array(path, archive, name, array)
    tokenizer = header["tokenizer"] and tokenizer_from_json(header["tokenizer"])
    if tokenizer is not None and tokenizer.vocab_size > config.vocab_size:
        raise InputError(
            f"{path}: its tokenizer has {tokenizer.vocab_size} tokens, its model "
            f"vocab_size={config.vocab_size}"
        )
    settings = header["settings"] and settings_class(**header["settings"])
    progress, dataset = header["progress"], header["dataset"]
    environment = header.get("environment", {})  # the first files of this version have none
    if not (isinstance(progress, dict) and isinstance(dataset, str)):
        raise InputError(f"{path}: its progress or its dataset is of the wrong type")
    if not isinstance(environment, dict) or {*map(type, environment.values())} - {str}:
        raise InputError(f"{path}: its environment is not a table of strings")
    return Run(model, config, tokenizer, optimizer, settings, progress, dataset, environment)


def _check_members(
    path: Path, config: ModelConfig, header: dict[str, Any], sizes: dict[str, int]
) -> None:
    """Check that the file holds what its header describes, before any array is allocated."""
    if config.n_layer > len(sizes):
        raise InputError(f"{path}: n_layer={config.n_layer}, but it has only {len(sizes)} members")
    names = list(parameter_shapes(config))
    if header["optimizer"] is not None:
        kinds = _kind_of(header["optimizer"]).state_shapes(config)
        names += [f"{kind}.{name}" for kind, shapes in kinds.items() for name in shapes]
    expected = {f"{name}.npy" for name in names} | {"header.json"}
    if expected != set(sizes):
        differ = sorted(expected ^ set(sizes))[0]
        raise InputError(
            f"{path}: member {differ} is missing, or does not belong to this configuration"
        )
    itemsize = array_type(header["dtype"]).itemsize
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
    # Read past zipfile: the checksum of the whole file was verified, so zip's CRC is not needed.
    file = cast(IO[bytes], archive.fp)
    file.seek(archives.start_of(file, item) + begin)
    if read_into(file, array.reshape(-1).view(np.uint8).data):
        raise InputError(f"{path}: {name} is cut off")


def _optimizer_to_header(optimizer: AdamW) -> dict[str, Any]:
    header = {name: getattr(optimizer, name) for name in ("steps", *optimizer.SETTINGS)}
    # AdamW's has no kind: it is as it was before there was another optimizer.
    return header if type(optimizer) is AdamW else {"kind": optimizer.KIND} | header


def _kind_of(header: dict[str, Any]) -> type[AdamW]:
    kind = header.get("kind", AdamW.KIND)
    if kind not in KINDS:
        raise InputError(f"optimizer: kind={kind!r}: must be one of {', '.join(KINDS)}")
    return KINDS[kind]


def _optimizer_from_header(model: Model, header: dict[str, Any]) -> AdamW:
    values = {name: value for name, value in header.items() if name != "kind"}
    steps, (beta1, beta2) = values.pop("steps"), values.pop("betas")
    if type(steps) is not int or steps < 0:
        raise InputError(f"optimizer: steps={steps!r}: must be an integer of at least 0")
    optimizer = _kind_of(header)(model, betas=(beta1, beta2), **values)
    optimizer.steps = steps
    return optimizer
