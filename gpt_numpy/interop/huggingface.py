"""Folders that Hugging Face's transformers reads and writes for GPT-2: config.json and the weights.

The names and the layout of the parameters are this project's own; the files put `transformer.`
before them, or do not, and may hold the causal masks as well, which are no parameters.

Source: transformers, `models/gpt2/configuration_gpt2.py` and `modeling_gpt2.py`.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from gpt_numpy.base.errors import InputError
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.files import zip_archives as archives
from gpt_numpy.files.durable import written_durably
from gpt_numpy.interop import safetensors_files
from gpt_numpy.interop import torch_reader as torch_files
from gpt_numpy.interop.weights import Tensor
from gpt_numpy.model.gpt import GPT
from gpt_numpy.reference.embedding import sinusoidal_positions

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
# In this order: what can hold nothing but numbers comes first.
SINGLE = (WEIGHTS, "pytorch_model.bin")
SHARDED = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
JSON_LIMIT = 1 << 20
EPS = 1e-5
MASKS = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.(safetensors|bin)")

ACTIVATIONS = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "relu": "relu",
}
# Keys that change the mathematics: the values that this project computes, the first for a missing
# one. reorder_and_upcast_attn says only in which precision attention is computed: both are right.
FIXED: dict[str, tuple[Any, ...]] = {
    "model_type": ("gpt2",),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "reorder_and_upcast_attn": (False, True),
    "add_cross_attention": (False,),
    "is_encoder_decoder": (False,),
    "layer_norm_epsilon": (EPS,),
    "pruned_heads": ({}, None),
    "quantization_config": (None,),
}
SIZES = {
    "vocab_size": "vocab_size",
    "n_positions": "block_size",
    "n_layer": "n_layer",
    "n_head": "n_head",
    "n_embd": "n_embd",
}
DROPOUTS = ("attn_pdrop", "embd_pdrop", "resid_pdrop")


def read_config(folder: Path, dropout: float | None = None) -> GPTConfig:
    """The configuration of a folder; `dropout` replaces the three that it may have.

    Raises `InputError`, naming the key, for mathematics that this project does not have.
    """
    keys = read_json(folder / CONFIG)
    for name, known in FIXED.items():
        value = keys.get(name, known[0])
        if not any(type(value) is type(one) and value == one for one in known):
            raise InputError(
                f"{CONFIG}: {name}={_short(value)}: this project has {known[0]!r} only"
            )
    activation = keys.get("activation_function", "gelu_new")
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise InputError(
            f"{CONFIG}: activation_function={_short(activation)}: must be one of "
            + ", ".join(ACTIVATIONS)
        )
    for name in SIZES:
        if type(keys.get(name)) is not int:
            raise InputError(f"{CONFIG}: {name}={_short(keys.get(name))}: must be an integer")
    inner, wanted = keys.get("n_inner"), 4 * keys["n_embd"]
    if inner not in (None, wanted):
        raise InputError(f"{CONFIG}: n_inner={_short(inner)}: must be null or 4 n_embd = {wanted}")
    tied = keys.get("tie_word_embeddings", True)
    if type(tied) is not bool:
        raise InputError(f"{CONFIG}: tie_word_embeddings={_short(tied)}: must be true or false")
    return GPTConfig(
        **{ours: keys[theirs] for theirs, ours in SIZES.items()},
        dropout=_dropout(keys) if dropout is None else dropout,
        activation=ACTIVATIONS[activation],
        tied=tied,
    )


def _dropout(keys: Mapping[str, Any]) -> float:
    rates = {name: keys.get(name, 0.1) for name in DROPOUTS}
    if len(set(map(repr, rates.values()))) > 1:
        shown = ", ".join(f"{name}={_short(rate)}" for name, rate in rates.items())
        raise InputError(f"{CONFIG}: {shown}: there is one dropout here; give it with dropout=RATE")
    rate = rates["attn_pdrop"]
    if type(rate) not in (int, float):
        raise InputError(f"{CONFIG}: attn_pdrop={_short(rate)}: must be a number")
    return float(rate)


@contextmanager
def opened_table(folder: Path) -> Iterator[dict[str, Tensor]]:
    """The parameters of a folder, under this project's names, while its files are open."""
    with ExitStack() as stack:
        table: dict[str, Tensor] = {}
        for path in weight_files(folder):
            for name, tensor in _table_of(path, stack).items():
                name = name.removeprefix("transformer.")
                if name in table:
                    raise InputError(f"the array {name[:80]} is there twice")
                if not MASKS.fullmatch(name):
                    table[name] = tensor
        yield table


def _table_of(path: Path, stack: ExitStack) -> Mapping[str, Tensor]:
    if not path.is_file():  # opening a pipe would wait for somebody to write
        raise InputError(f"{path.name} is not a regular file")
    file = stack.enter_context(path.open("rb", buffering=0))
    if path.suffix == ".safetensors":
        return safetensors_files.read_table(file)
    if file.read(4) != b"PK\x03\x04":
        raise InputError(f"{path.name} is no zip archive: {torch_files.OLD}")
    archive = stack.enter_context(archives.open_archive(file))
    state = torch_files.read(file, archive)
    if not isinstance(state, dict):
        raise InputError(f"{path.name} does not hold a dictionary of tensors")
    table = {str(name): torch_files.tensor_of(archive, value) for name, value in state.items()}
    wrong = [name for name, tensor in table.items() if tensor is None]
    if wrong:
        raise InputError(f"{path.name}: {wrong[0][:80]!r} is not a tensor")
    return {name: tensor for name, tensor in table.items() if tensor is not None}


def weight_files(folder: Path) -> list[Path]:
    """The files with the parameters of a folder; `InputError` when there are none."""
    for single, index in zip(SINGLE, SHARDED, strict=True):
        if (folder / single).is_file():
            return [folder / single]
        if (folder / index).is_file():
            shards = read_json(folder / index).get("weight_map")
            if not isinstance(shards, dict) or not shards:
                raise InputError(f"{index} has no weight_map")
            for name in shards.values():
                # A name from outside: nothing that could lead out of the folder.
                if not isinstance(name, str) or not FILE_NAME.fullmatch(name):
                    raise InputError(f"{index} names {_short(name)}: not the name of a weight file")
            return [folder / name for name in sorted(set(shards.values()))]
    raise InputError(f"the folder has none of the files {', '.join(SINGLE + SHARDED)}")


def write_folder(folder: Path, model: GPT, say: Callable[[str], None]) -> None:
    """Write a model so that transformers computes the same with it.

    What GPT-2 has and the model lacks is written as what changes nothing: biases of zero, and the
    sinusoids as the learned positions. Raises `InputError` where the library is missing.
    """
    config, params = model.config, {k: _float32(v, k) for k, v in model.params.items()}
    arrays = {f"transformer.{name}": array for name, array in params.items()}
    if not config.tied:
        arrays["lm_head.weight"] = arrays.pop("transformer.lm_head.weight")
    if config.positions == "sinusoidal":
        table = sinusoidal_positions(config.block_size, config.n_embd)
        arrays["transformer.wpe.weight"] = table.astype(np.float32)
        say("the sinusoids are written as learned positions: training would go on to change them")
    if not config.bias:
        for name in [name for name in arrays if name.endswith(".weight")]:
            if ".ln_" in name or ".attn." in name or ".mlp." in name:
                width = arrays[name].shape[-1]
                arrays[name.replace(".weight", ".bias")] = np.zeros(width, np.float32)
        say("biases are written as zeros: training would go on to change them")
    safetensors_files.write_safetensors(folder / WEIGHTS, arrays)
    with written_durably(folder / CONFIG) as file:
        file.write((json.dumps(_config_keys(config), indent=2) + "\n").encode())


def _config_keys(config: GPTConfig) -> dict[str, Any]:
    theirs = {"gelu_tanh": "gelu_new", "gelu": "gelu", "relu": "relu"}
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        **{name: getattr(config, ours) for name, ours in SIZES.items()},
        "n_ctx": config.block_size,
        "n_inner": None,
        "activation_function": theirs[config.activation],
        "layer_norm_epsilon": EPS,
        **dict.fromkeys(DROPOUTS, config.dropout),
        "initializer_range": 0.02,
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "reorder_and_upcast_attn": False,
        "add_cross_attention": False,
        "tie_word_embeddings": config.tied,
        # GPT-2's defaults are 50256, which a smaller vocabulary does not have.
        "bos_token_id": 50256 if config.vocab_size > 50256 else None,
        "eos_token_id": 50256 if config.vocab_size > 50256 else None,
        "torch_dtype": "float32",
    }


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of at most JSON_LIMIT bytes.

    Raises `InputError` when there is no such file, or it holds something else.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path.name}")
    with path.open("rb") as file:
        data = file.read(JSON_LIMIT + 1)
    if len(data) > JSON_LIMIT:
        raise InputError(f"{path.name} has more than {JSON_LIMIT} bytes")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:  # also text that is not UTF-8
        raise InputError(f"{path.name} is not JSON: {_short(str(error))}") from None
    if not isinstance(value, dict):
        raise InputError(f"{path.name} is not a JSON object")
    return value


def _float32(array: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
    with np.errstate(over="ignore"):
        narrow = array.astype(np.float32, copy=False)
    if not np.isfinite(narrow).all():
        raise InputError(f"{name} holds numbers that float32 does not: it cannot be exported")
    return narrow


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
