"""Llama's and Qwen3's folders of Hugging Face's transformers: names, layouts and configurations.

A model of this project is a Llama if it has RMSNorm, rotary positions, SwiGLU and no soft cap; with
QK norm it is a Qwen3. Theirs are apart what is side by side here, and linear weights are (out, in):

    q_proj, k_proj, v_proj      h.{i}.attn.c_attn, transposed       gate_proj, up_proj   mlp.c_fc
    o_proj                      h.{i}.attn.c_proj                   down_proj            mlp.c_proj

Source: transformers, `models/llama` and `models/qwen3`, configuration and modeling.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.errors import InputError
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.interop.config_keys import ConfigKeys
from gpt_numpy.interop.weights import Tensor

LLAMA, QWEN3 = "llama", "qwen3"
CLASSES = {LLAMA: "LlamaForCausalLM", QWEN3: "Qwen3ForCausalLM"}
SIZES = {
    "vocab_size": "vocab_size",
    "max_position_embeddings": "block_size",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "hidden_size": "n_embd",
    "intermediate_size": "n_inner",
}
# Keys that change the mathematics, and the values that this project supports; the first is assumed
# for a missing key.
FIXED: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu",),
    "pretraining_tp": (1,),
    "rope_scaling": (None,),
    "use_sliding_window": (False,),
    "quantization_config": (None,),
}


class Piece(NamedTuple):
    """An array of theirs: a part of the columns of one of ours, transposed if it is a matrix."""

    ours: str
    start: int
    stop: int


def model_type(config: GPTConfig) -> str | None:
    """What transformers calls a model of this configuration; None: neither Llama nor Qwen3."""
    needed = {"norm": "rmsnorm", "positions": "rotary", "activation": "swiglu", "logit_softcap": 0}
    if any(getattr(config, name) != value for name, value in needed.items()):
        return None
    return QWEN3 if config.qk_norm else LLAMA


def config_keys(config: GPTConfig, dtype: str) -> dict[str, Any]:
    """The content of config.json; `dtype` is that of the weights.

    Raises
    ------
    InputError : a Qwen3 with biases; it has none in the MLP.
    """
    kind = model_type(config)
    assert kind is not None
    if kind == QWEN3 and config.bias:
        raise InputError("bias=True with qk_norm=True: Qwen3's MLP has no biases; train with none")
    keys = {theirs: getattr(config, ours) for theirs, ours in SIZES.items()}
    return keys | {
        "architectures": [CLASSES[kind]],
        "model_type": kind,
        "intermediate_size": config.n_hidden,
        "num_key_value_heads": config.n_groups,
        "head_dim": config.head_size,
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_base,  # of transformers before 5
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_base},
        "attention_bias": config.bias,
        "mlp_bias": config.bias,
        "attention_dropout": config.dropout,
        "initializer_range": 0.02,
        "tie_word_embeddings": config.tied,
        "bos_token_id": None,
        "eos_token_id": None,
        "torch_dtype": dtype,
    }


def read_keys(keys: ConfigKeys, dropout: float | None) -> GPTConfig:
    """The configuration that the content of a config.json means.

    Raises
    ------
    InputError : a key with a value that this project does not support, by name.
    """
    keys.check_fixed(FIXED)
    sizes: dict[str, Any] = {ours: keys.integer(theirs) for theirs, ours in SIZES.items()}
    heads, channels = sizes["n_head"], sizes["n_embd"]
    if heads < 1 or channels % heads:
        raise keys.refused("num_attention_heads", f"a divisor of hidden_size={channels}")
    if keys.get("head_dim", channels // heads) not in (None, channels // heads):
        raise keys.refused("head_dim", f"hidden_size / num_attention_heads = {channels // heads}")
    groups = keys.integer("num_key_value_heads", least=1, default=heads)
    qwen3, bias = keys.get("model_type") == QWEN3, keys.flag("attention_bias", False)
    if bias != (keys.flag("mlp_bias", False) and not qwen3):
        raise keys.refused(
            "attention_bias", "the same as mlp_bias: there are biases everywhere or none"
        )
    config = GPTConfig(
        **sizes, n_kv_head=0 if groups == heads else groups, bias=bias,
        dropout=keys.number("attention_dropout", 0.0) if dropout is None else dropout,
        norm="rmsnorm", norm_eps=keys.number("rms_norm_eps", 1e-6),
        positions="rotary", rope_base=_base(keys), qk_norm=qwen3,
        activation="swiglu", tied=keys.flag("tie_word_embeddings", False),
    )  # fmt: skip
    usual = dataclasses.replace(config, n_inner=0)
    return usual if usual.n_hidden == config.n_hidden else config


def _base(keys: ConfigKeys) -> float:
    """The base of the angles, from either place where transformers writes it."""
    rope = keys.get("rope_parameters") or {}
    if not isinstance(rope, dict) or rope.get("rope_type", "default") != "default":
        raise keys.refused("rope_parameters", "of rope_type default, the only one supported here")
    older = {"rope_theta": keys.get("rope_theta", 10000.0)}
    return ConfigKeys(older | rope).number("rope_theta", 10000.0)


def array_pieces(config: GPTConfig) -> dict[str, Piece]:
    """Every array of theirs by name, and what of ours it is."""
    C, D, F = config.n_embd, config.head_size, config.n_hidden
    turn = C + config.n_groups * D
    linear = {
        "attn.c_attn": (("q_proj", 0, C), ("k_proj", C, turn), ("v_proj", turn, 2 * turn - C)),
        "attn.c_proj": (("o_proj", 0, C),),
        "mlp.c_fc": (("gate_proj", 0, F), ("up_proj", F, 2 * F)),
        "mlp.c_proj": (("down_proj", 0, C),),
    }
    found = {"model.embed_tokens.weight": Piece("wte.weight", 0, 0)}
    for i in range(config.n_layer):
        theirs, ours = f"model.layers.{i}", f"h.{i}"
        found[f"{theirs}.input_layernorm.weight"] = Piece(f"{ours}.ln_1.weight", 0, 0)
        found[f"{theirs}.post_attention_layernorm.weight"] = Piece(f"{ours}.ln_2.weight", 0, 0)
        for letter in "qk" if config.qk_norm else "":
            norm = f"attn.{letter}_norm.weight"
            found[f"{theirs}.self_{norm}"] = Piece(f"{ours}.{norm}", 0, 0)
        for name, parts in linear.items():
            place = "self_attn" if name.startswith("attn") else "mlp"
            for part, start, stop in parts:
                for kind in ("weight", "bias") if config.bias else ("weight",):
                    piece = Piece(f"{ours}.{name}.{kind}", start, stop)
                    found[f"{theirs}.{place}.{part}.{kind}"] = piece
    found["model.norm.weight"] = Piece("ln_f.weight", 0, 0)
    if not config.tied:
        found["lm_head.weight"] = Piece("lm_head.weight", 0, 0)
    return found


def their_arrays(params: Mapping[str, Array], config: GPTConfig) -> Iterator[tuple[str, Array]]:
    """Every array of the file of weights, by name."""
    for name, (ours, start, stop) in array_pieces(config).items():
        array = params[ours]
        if stop:
            array = array[..., start:stop]
            array = array.T if array.ndim == 2 else array
        yield name, array


def our_tensors(tensors: Mapping[str, Tensor], config: GPTConfig) -> dict[str, Tensor]:
    """Their arrays, still in the files, as ours; those of no meaning here stay as they are.

    Raises
    ------
    InputError : an array is missing, or does not have the shape that the configuration says.
    """
    rest = {n: tensor for n, tensor in tensors.items() if not n.endswith("rotary_emb.inv_freq")}
    parts: dict[str, list[tuple[Piece, Tensor]]] = {}
    for name, piece in array_pieces(config).items():
        if name not in rest:
            raise InputError(f"the array {name} is missing")
        parts.setdefault(piece.ours, []).append((piece, rest.pop(name)))
    return {ours: _joined(ours, some) for ours, some in parts.items()} | rest


def _joined(name: str, parts: list[tuple[Piece, Tensor]]) -> Tensor:
    """One of our arrays from the pieces of it in the files."""
    (piece, first), *_ = parts
    if not piece.stop:
        return first
    widths = [p.stop - p.start for p, _ in parts]
    inner = first.shape[1:]
    for (_, tensor), width in zip(parts, widths, strict=True):
        if tensor.shape != (width, *inner) or tensor.dtype != first.dtype:
            raise InputError(
                f"a part of {name} has shape {tensor.shape} and type {tensor.dtype}, its "
                f"configuration says {(width, *inner)}, all of one type"
            )
    return Tensor((*inner, sum(widths)), first.dtype, functools.partial(_read_joined, parts))


def _read_joined(parts: list[tuple[Piece, Tensor]], out: Array) -> None:
    """Read every piece and bring it to its columns."""
    for piece, tensor in parts:
        whole = np.empty(math.prod(tensor.shape), out.dtype).reshape(tensor.shape)
        tensor.read_into(whole)
        out[..., piece.start : piece.stop] = whole.T if whole.ndim == 2 else whole
