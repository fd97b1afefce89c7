"""Collects the clues for a layer or a model: arrays in reach, and numbers that may be factors."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.config.transformer import PAD, TransformerConfig
from gpt_numpy.gradients.diagnosis.wrong_gradient import Clues


def layer_clues(arrays: Mapping[str, Any]) -> Clues:
    """The clues to the gradients of a layer, from its arguments, `out` and `dout`, by flat name."""
    numbers: dict[str, float] = {}
    dout = arrays["dout"]
    if dout.ndim > 1:
        rows = math.prod(dout.shape[:-1])
        numbers |= {"number of rows": rows, "number of channels": dout.shape[-1]}
    for k, size in enumerate(dout.shape[:-1]):
        numbers[f"length of axis {k} of out"] = size
    for name, value in arrays.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "iu":
            numbers[f"size of {name}"] = value.size
            if value.size and value.min() < 0:
                numbers[f"number of {name} that count"] = int((value >= 0).sum())
    fields = {name.rpartition(".")[2]: value for name, value in arrays.items()}
    n_head = int(fields.get("n_head", 0) or 0)
    channels = dout.shape[-1] if dout.ndim else 0
    if "qkv" in fields:
        channels = fields["qkv"].shape[-1] // 3
    if n_head:
        numbers |= {"n_head": n_head, "head size": channels / n_head, "n_embd": channels}
    rate = float(fields.get("rate", 0) or 0)
    if 0 < rate < 1:
        numbers["1 - rate of dropout"] = 1 - rate
    given = {name: value for name, value in arrays.items() if value is not None}
    return Clues(arrays=given, numbers=numbers, n_head=n_head)


def model_clues(
    config: GPTConfig | TransformerConfig, tokens: Array, targets: Array, name: str
) -> Clues:
    """The clues to the gradient of one parameter of a model."""
    numbers: dict[str, float] = {
        "n_head": config.n_head,
        "head size": config.head_size,
        "n_embd": config.n_embd,
    }
    arrays = {}
    if isinstance(config, GPTConfig):
        B, T = tokens.shape
        kept = int((targets >= 0).sum())
        numbers |= {"number of sequences": B, "number of positions": T, "number of tokens": B * T}
        numbers["number of targets that count"] = kept
        arrays = {"tokens": tokens} if name == "wte.weight" else {}
    else:
        B, S = tokens.shape
        numbers |= {
            "scale of the embedding": math.sqrt(config.n_embd),
            "number of sequences": B,
            "number of positions of the source": S,
            "number of positions of the target": targets.shape[1] - 1,
            "number of targets that count": int((targets[:, 1:] != PAD).sum()),
        }
    if config.dropout:
        numbers["1 - rate of dropout"] = 1 - config.dropout
    tables = {"wte.weight": "token", "wpe.weight": "position", "lm_head.weight": "token"}
    axes: tuple[str, ...] = ("channel",) if "ln_" in name else ()
    if name in tables:
        axes = (tables[name], "channel")
    heads = config.n_head if "c_attn" in name else 0
    return Clues(arrays, numbers, n_head=heads, whole="the losses", axes=axes)
