"""nanoGPT's checkpoint, ckpt.pt, and its vocabulary, meta.pkl, in and out.

ckpt.pt is a dictionary that `torch.save` wrote: `model`, parameters under GPT-2's names with
`transformer.` before them (and `_orig_mod.` before that, if the model was compiled); `model_args`;
and where the run stood. PyTorch's linear layers hold (out, in): their weights are transposed.

Source: https://github.com/karpathy/nanoGPT, train.py, model.py and sample.py.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.errors import InputError
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.files import zip_archives as archives
from gpt_numpy.files.durable import written_durably
from gpt_numpy.interop import torch_reader as torch_files
from gpt_numpy.interop import torch_writer
from gpt_numpy.interop.huggingface import MASKS
from gpt_numpy.interop.weights import Tensor
from gpt_numpy.model.gpt import GPT

CHECKPOINT = "ckpt.pt"
META = "meta.pkl"
ARGUMENTS = {
    "vocab_size": int,
    "block_size": int,
    "n_layer": int,
    "n_head": int,
    "n_embd": int,
    "dropout": float,
    "bias": bool,
}


def is_transposed(name: str) -> bool:
    """Whether nanoGPT holds a parameter as (out, in)."""
    return name.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight"))


@contextmanager
def opened(path: Path, dropout: float | None) -> Iterator[tuple[GPTConfig, dict[str, Tensor]]]:
    """The configuration and the parameters of a ckpt.pt, while it is open.

    `dropout` replaces its own rate, unless None.

    Raises `InputError` when it is something else.
    """
    with path.open("rb", buffering=0) as file:
        if file.read(4) != b"PK\x03\x04":
            raise InputError(f"no zip archive: {torch_files.OLD}")
        with archives.open_archive(file) as archive:
            content = torch_files.read(file, archive)
            if not isinstance(content, dict):
                raise InputError("it does not hold a dictionary")
            state, arguments = content.get("model"), content.get("model_args")
            if not isinstance(state, dict) or not isinstance(arguments, dict):
                raise InputError("it has no 'model' and 'model_args', as nanoGPT writes them")
            table: dict[str, Tensor] = {}
            for name, value in state.items():
                plain = str(name).removeprefix("_orig_mod.").removeprefix("transformer.")
                tensor = torch_files.tensor_of(archive, value)
                if tensor is None or plain in table:
                    raise InputError(f"model: {plain[:80]!r} is no tensor, or is there twice")
                if not MASKS.fullmatch(plain):
                    table[plain] = tensor
            yield _config(arguments, dropout), table


def _config(arguments: Mapping[Any, Any], dropout: float | None) -> GPTConfig:
    given: dict[Any, Any] = {"dropout": 0.0, "bias": True} | dict(
        arguments
    )  # which early ones did not have
    if given.keys() != ARGUMENTS.keys():
        differ = sorted(map(str, given.keys() ^ ARGUMENTS.keys()))[0]
        raise InputError(f"model_args: {differ[:80]!r} is missing, or not nanoGPT's")
    for name, kind in ARGUMENTS.items():
        if type(given[name]) is not kind and not (kind is float and type(given[name]) is int):
            raise InputError(f"model_args: {name}={str(given[name])[:60]!r} is no {kind.__name__}")
    if dropout is not None:
        given["dropout"] = dropout
    return GPTConfig(**given, activation="gelu")


def write_checkpoint(
    folder: Path, model: GPT, *, iterations: int, best_val_loss: float, dataset: str
) -> None:
    """Write ckpt.pt. nanoGPT's sample.py reads it; AdamW's averages are not in it.

    Raises `InputError`, naming the setting, for a model that nanoGPT does not have.
    """
    config = model.config
    for name, value, only in (
        ("activation", config.activation, "gelu"),
        ("positions", config.positions, "learned"),
        ("tied", config.tied, True),
    ):
        if value != only:
            raise InputError(
                f"{name}={value!r}: nanoGPT's model has {only!r} only, so that its file cannot "
                "express this one; use --format=huggingface"
            )
    content = {
        "model": _state(model),
        "optimizer": {"state": {}, "param_groups": []},
        "model_args": {name: getattr(config, name) for name in ARGUMENTS},
        "iter_num": iterations,
        "best_val_loss": best_val_loss,
        "config": {"dataset": dataset, "init_from": "scratch"},
    }
    with written_durably(folder / CHECKPOINT) as file:
        torch_writer.write_torch(file, content)


def _state(model: GPT) -> dict[str, Array]:
    state = {}
    for name, param in model.params.items():
        values = param.T if is_transposed(name) else param
        state[f"transformer.{name}"] = np.ascontiguousarray(values, np.float32)
    state["lm_head.weight"] = state["transformer.wte.weight"]  # the same array: tied
    return state
