"""Folders that Hugging Face's transformers reads and writes: config.json and the weights.

This file has GPT-2's, llama.py those of Llama and Qwen3. GPT-2's parameters have the same names and
layout as in this project, with or without the prefix `transformer.`; the files may contain causal
masks, too, which are no parameters.

Source: transformers, `models/gpt2/configuration_gpt2.py` and `modeling_gpt2.py`.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.checks import shown
from gpt_numpy.base.errors import InputError
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.files.durable import written_durably
from gpt_numpy.files.reading import read_json
from gpt_numpy.interop import llama
from gpt_numpy.interop.config_keys import CONFIG, ConfigKeys
from gpt_numpy.interop.safetensors_files import read_safetensors, write_safetensors
from gpt_numpy.interop.torch_reader import open_torch, tensors_of
from gpt_numpy.interop.weights import BF16, StoredModel, Tensor, parameter_table
from gpt_numpy.model.gpt import GPT
from gpt_numpy.reference.bfloat16 import rounded
from gpt_numpy.reference.embedding import sinusoidal_positions

WEIGHTS = "model.safetensors"
# Preferred first: .safetensors can hold nothing but numbers.
SINGLE = (WEIGHTS, "pytorch_model.bin")
SHARDED = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_JSON_LIMIT = 1 << 20  # bytes
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.(safetensors|bin)")

THEIR_ACTIVATIONS = dict.fromkeys(("gelu_new", "gelu_pytorch_tanh", "gelu_fast"), "gelu_tanh")
THEIR_ACTIVATIONS |= {"gelu": "gelu", "gelu_python": "gelu", "relu": "relu"}
OUR_ACTIVATIONS = {"gelu_tanh": "gelu_new", "gelu": "gelu", "relu": "relu"}
# Keys that change the mathematics, and the values that this project supports; the first is assumed
# for a missing key. reorder_and_upcast_attn only sets the precision of attention: both are right.
FIXED: dict[str, tuple[Any, ...]] = {
    "model_type": ("gpt2",),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "reorder_and_upcast_attn": (False, True),
    "add_cross_attention": (False,),
    "is_encoder_decoder": (False,),
    "pruned_heads": ({}, None),
    "quantization_config": (None,),
}
SIZES = {name: name for name in ("vocab_size", "n_layer", "n_head", "n_embd")}
SIZES["n_positions"] = "block_size"
DROPOUTS = ("attn_pdrop", "embd_pdrop", "resid_pdrop")


def read_config(
    folder: Path, dropout: float | None = None, say: Callable[[str], None] | None = None
) -> GPTConfig:
    """The configuration of a folder; `dropout` replaces the three rates that it may have.

    say : reports rates that differ, of which resid_pdrop is then taken; None: they are refused.

    Raises `InputError`, naming the key, for a model that this project does not support.
    """
    keys = ConfigKeys(read_json(folder / CONFIG, _JSON_LIMIT))
    if keys.get("model_type") in llama.CLASSES:
        return llama.read_keys(keys, dropout)
    keys.check_fixed(FIXED)
    activation = keys.get("activation_function", "gelu_new")
    if not isinstance(activation, str) or activation not in THEIR_ACTIVATIONS:
        raise keys.refused("activation_function", "one of " + ", ".join(THEIR_ACTIVATIONS))
    sizes: dict[str, Any] = {ours: keys.integer(theirs) for theirs, ours in SIZES.items()}
    inner = keys.get("n_inner")
    if inner is not None and (type(inner) is not int or inner < 1):
        raise keys.refused("n_inner", "null or an integer, at least 1")
    return GPTConfig(
        **sizes,
        dropout=_dropout(keys, say) if dropout is None else dropout,
        activation=THEIR_ACTIVATIONS[activation],
        norm_eps=keys.number("layer_norm_epsilon", 1e-5),
        n_inner=0 if inner in (None, 4 * sizes["n_embd"]) else inner,
        tied=keys.flag("tie_word_embeddings", True),
    )


def _dropout(keys: ConfigKeys, say: Callable[[str], None] | None) -> float:
    rates = {name: keys.number(name, 0.1) for name in DROPOUTS}
    if len(set(rates.values())) > 1:
        listed = ", ".join(f"{name}={shown(keys.get(name, rate))}" for name, rate in rates.items())
        if say is None:
            raise InputError(
                f"{CONFIG}: {listed}: there is one rate here: set it with dropout=RATE"
            )
        say(f"{CONFIG}: {listed}: there is one rate here, resid_pdrop")
    return rates["resid_pdrop"]


@contextmanager
def open_huggingface(
    folder: Path, dropout: float | None, say: Callable[[str], None] | None
) -> Iterator[tuple[StoredModel, None]]:
    """The model in a folder, while its files are open; see `read_config` for `dropout`, `say`."""
    config, paths = read_config(folder, dropout, say), weight_files(folder)
    with ExitStack() as stack:
        tensors = parameter_table(item for path in paths for item in _tensors_of(path, stack))
        if config.norm != "layernorm":
            tensors = llama.our_tensors(tensors, config)
        size = sum(path.stat().st_size for path in paths)
        yield StoredModel(config, tensors, size), None


def _tensors_of(path: Path, stack: ExitStack) -> Iterable[tuple[str, Tensor]]:
    if not path.is_file():  # opening a pipe would wait for a writer
        raise InputError(f"{path.name} is not a regular file")
    if path.suffix == ".safetensors":
        return read_safetensors(stack.enter_context(path.open("rb", buffering=0))).items()
    return tensors_of(*stack.enter_context(open_torch(path)))


def weight_files(folder: Path) -> list[Path]:
    """The files of a folder that hold the parameters; `InputError` if there are none."""
    for single, index in zip(SINGLE, SHARDED, strict=True):
        if (folder / single).is_file():
            return [folder / single]
        if (folder / index).is_file():
            shards = read_json(folder / index, _JSON_LIMIT).get("weight_map")
            if not isinstance(shards, dict) or not shards:
                raise InputError(f"{index} has no weight_map")
            for name in shards.values():
                # It must not lead out of the folder.
                if not isinstance(name, str) or not FILE_NAME.fullmatch(name):
                    raise InputError(f"{index} names {shown(name)}: not the name of a weight file")
            return [folder / name for name in sorted(set(shards.values()))]
    raise InputError(f"the folder has none of the files {', '.join(SINGLE + SHARDED)}")


def write_huggingface(
    folder: Path, model: GPT, say: Callable[[str], None], *, dtype: str = "float32"
) -> None:
    """Write a model so that transformers computes the same with it, except for rounding to `dtype`.

    It becomes a GPT-2, Llama or Qwen3. Parts of GPT-2 that the model lacks are written so that they
    have no effect: biases of zero, sinusoids as learned positions, and learned positions of
    zero; `say` reports it. Raises `InputError` for a model that is none of the three, and for
    numbers that `dtype`, "float32" or "bfloat16", does not have.
    """
    config = model.config
    if llama.model_type(config):
        keys = llama.config_keys(config, dtype)
        named = llama.their_arrays(model.params, config)
        _write(folder, {name: _float32(array, name, dtype) for name, array in named}, keys, dtype)
        return
    _check_is_gpt2(config)
    arrays = {
        f"transformer.{name}": _float32(array, name, dtype) for name, array in model.params.items()
    }
    if not config.tied:
        arrays["lm_head.weight"] = arrays.pop("transformer.lm_head.weight")
    if config.positions == "sinusoidal":
        table = sinusoidal_positions(config.block_size, config.n_embd)
        arrays["transformer.wpe.weight"] = table.astype(np.float32)
        say("the sinusoids are written as learned positions: further training would change them")
    if config.positions == "none":
        zeros = np.zeros((config.block_size, config.n_embd), np.float32)
        arrays["transformer.wpe.weight"] = zeros
        say("learned positions are written as zeros: further training would change them")
    if not config.bias:
        for name in list(arrays):
            if any(part in name for part in (".ln_", ".attn.", ".mlp.")):  # weights with a bias
                width = arrays[name].shape[-1]
                arrays[name.replace(".weight", ".bias")] = np.zeros(width, np.float32)
        say("biases are written as zeros: further training would change them")
    _write(folder, arrays, _config_keys(config, dtype), dtype)


def _write(folder: Path, arrays: Mapping[str, Array], keys: Mapping[str, Any], dtype: str) -> None:
    write_safetensors(folder / WEIGHTS, arrays, dtype=dtype)
    with written_durably(folder / CONFIG) as file:
        file.write((json.dumps(keys, indent=2) + "\n").encode())


def _check_is_gpt2(config: GPTConfig) -> None:
    """Refuse a model with a part that GPT-2 does not have, and that is no Llama or Qwen3 either."""
    has = {
        "norm": config.norm == "layernorm",
        "positions": config.positions != "rotary",
        "qk_norm": not config.qk_norm,
        "n_kv_head": config.n_groups == config.n_head,
        "activation": config.activation in OUR_ACTIVATIONS,
        "logit_softcap": config.logit_softcap == 0,
    }
    for name, fits in has.items():
        if not fits:
            raise InputError(
                f"{name}={getattr(config, name)!r}: neither GPT-2 nor Llama nor Qwen3 is a model "
                "with this setting and the others; GPT-2 needs norm=layernorm, Llama norm=rmsnorm, "
                "positions=rotary, activation=swiglu and logit_softcap=0; use --format=gpt_numpy"
            )


def _config_keys(config: GPTConfig, dtype: str) -> dict[str, Any]:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        **{name: getattr(config, ours) for name, ours in SIZES.items()},
        "n_ctx": config.block_size,
        "n_inner": config.n_inner or None,
        "activation_function": OUR_ACTIVATIONS[config.activation],
        "layer_norm_epsilon": config.norm_eps,
        **dict.fromkeys(DROPOUTS, config.dropout),
        "initializer_range": 0.02,
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "reorder_and_upcast_attn": False,
        "add_cross_attention": False,
        "tie_word_embeddings": config.tied,
        # GPT-2's default is 50256, which smaller vocabularies do not have.
        "bos_token_id": 50256 if config.vocab_size > 50256 else None,
        "eos_token_id": 50256 if config.vocab_size > 50256 else None,
        "torch_dtype": dtype,
    }


def _float32(array: Array, name: str, dtype: str) -> Array:
    with np.errstate(over="ignore"):
        narrow = array.astype(np.float32, copy=False)
    largest = np.array([narrow.min(), narrow.max()])
    if not np.isfinite(rounded(largest) if dtype == BF16 else largest).all():
        raise InputError(f"{name} holds numbers beyond the range of {dtype}: it cannot be exported")
    return narrow
