"""nanoGPT's checkpoint, ckpt.pt, and its vocabulary, meta.pkl: read and written.

ckpt.pt is a dictionary that `torch.save` wrote: `model`, the parameters under GPT-2's names with
the prefix `transformer.` (and `_orig_mod.` before it if the model was compiled); `model_args`; and
the progress of the run. PyTorch's linear layers are (out, in): their weights are transposed.

Source: https://github.com/karpathy/nanoGPT, train.py, model.py and sample.py.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gpt_numpy.base.errors import InputError
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.files.durable import written_durably
from gpt_numpy.interop.nanogpt_training import (
    StoredTraining,
    as_torch,
    optimizer_state,
    read_training,
)
from gpt_numpy.interop.torch_reader import open_torch, tensors_of, torch_turns
from gpt_numpy.interop.torch_writer import write_torch
from gpt_numpy.interop.weights import StoredModel, check_stored, parameter_table
from gpt_numpy.training.checkpoint import Run

CHECKPOINT = "ckpt.pt"
META = "meta.pkl"
# What nanoGPT's models are, of what they could be here.
ONLY = {
    "activation": "gelu", "positions": "learned", "tied": True, "norm": "layernorm",
    "norm_eps": 1e-5, "qk_norm": False, "n_kv_head": 0, "n_inner": 0, "logit_softcap": 0.0,
}  # fmt: skip
_SIZES = ("vocab_size", "block_size", "n_layer", "n_head", "n_embd")
_ARGUMENTS: dict[str, type] = dict.fromkeys(_SIZES, int) | {"dropout": float, "bias": bool}


@contextmanager
def open_nanogpt(path: Path, dropout: float | None) -> Iterator[tuple[StoredModel, StoredTraining]]:
    """The model in a ckpt.pt and its training, while the file is open.

    `dropout` replaces its own rate unless None. Raises `InputError` when the file is something
    else.
    """
    with open_torch(path) as (archive, content):
        state, arguments = content.get("model"), content.get("model_args")
        if not isinstance(state, dict) or not isinstance(arguments, dict):
            raise InputError("it has no 'model' and 'model_args', as nanoGPT writes them")
        tensors = parameter_table(tensors_of(archive, state, torch_turns))
        model = StoredModel(_config(arguments, dropout), tensors, path.stat().st_size)
        check_stored(model)
        yield model, read_training(archive, content, model.config)


def _config(arguments: Mapping[Any, Any], dropout: float | None) -> GPTConfig:
    # Early versions of nanoGPT did not write these two.
    given: dict[Any, Any] = {"dropout": 0.0, "bias": True, **arguments}
    if given.keys() != _ARGUMENTS.keys():
        differ = sorted(map(str, given.keys() ^ _ARGUMENTS.keys()))[0]
        raise InputError(f"model_args: {differ[:80]!r} is missing, or not nanoGPT's")
    for name, kind in _ARGUMENTS.items():
        found = type(given[name])  # the value itself may be too large to print
        if found is not kind and (kind, found) != (float, int):
            raise InputError(f"model_args: {name} is {found.__name__}: must be {kind.__name__}")
    if dropout is not None:
        given["dropout"] = dropout
    return GPTConfig(**given, activation="gelu")


def write_nanogpt(folder: Path, run: Run) -> str:
    """Write ckpt.pt for nanoGPT's sample.py and train.py; return the name of the data set in it.

    Raises `InputError`, naming the setting, for a model that nanoGPT does not have.
    """
    model, settings = run.model, run.settings or TrainConfig(dataset="")
    config = model.config
    for name, only in ONLY.items():
        value = getattr(config, name)
        if value != only:
            raise InputError(
                f"{name}={value!r}: nanoGPT's models have only {only!r}, so its file cannot "
                "express this one; use --format=huggingface"
            )
    state = {}
    for name, param in model.params.items():
        state[f"transformer.{name}"] = as_torch(name, param)
    state["lm_head.weight"] = state["transformer.wte.weight"]  # the same array: tied
    loss = run.progress.get("best_val_loss")
    # nanoGPT knows data by the name of a folder alone.
    dataset = Path(settings.data).stem if settings.data else settings.dataset
    content = {
        "model": state,
        "optimizer": optimizer_state(config, settings, run.optimizer),
        "model_args": {name: getattr(config, name) for name in _ARGUMENTS},
        "iter_num": run.progress.get("iteration", 0),
        "best_val_loss": math.inf if loss is None else float(loss),
        "config": dataclasses.asdict(settings) | {"dataset": dataset, "init_from": "scratch"},
    }
    with written_durably(folder / CHECKPOINT) as file:
        write_torch(file, content)
    return dataset
