"""Named views of one flat buffer, and the tables that say which parameters a GPT has.

A table is a plain dictionary, name -> shape, in the order of the data. `NamedArrays` lays such a
table out in one buffer: an optimizer or a checksum sees `flat`, everybody else sees names.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gpt_numpy.config import GPTConfig
from gpt_numpy.errors import InputError, did_you_mean

Array: TypeAlias = NDArray[Any]
Shape: TypeAlias = tuple[int, ...]

ALIGNMENT = 64  # bytes: one cache line, and the widest vector of current processors


def aligned_empty(size: int, dtype: DTypeLike) -> Array:
    """An uninitialised vector of `size` elements whose first one lies on a cache line."""
    dtype = np.dtype(dtype)
    raw = np.empty(size * dtype.itemsize + ALIGNMENT, dtype=np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size * dtype.itemsize].view(dtype)


def as_array(name: str, values: Any) -> Array:
    """What a user passed as `name`, as an array.

    Raises
    ------
    InputError : it is none, such as rows of unequal lengths.
    """
    try:
        return np.asarray(values)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{name} cannot be an array of integers: {error}") from None


def aligned_zeros(size: int, dtype: DTypeLike) -> Array:
    """A vector of zeros like that of `aligned_empty`; it takes no time until it is written to."""
    dtype = np.dtype(dtype)
    raw = np.zeros(size * dtype.itemsize + ALIGNMENT, dtype=np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size * dtype.itemsize].view(dtype)


class NamedArrays(Mapping[str, Array]):
    """A read-only mapping of names to views of one flat buffer.

    The arrays themselves are written in place: `arrays["wte.weight"][...] = value`.

    Parameters
    ----------
    shapes : mapping of name to shape; the views lie in the buffer in this order.
    dtype : the type of all elements.
    buffer : a vector to lay the views in, at least as long as all of them; a new one by default.
    """

    def __init__(
        self, shapes: Mapping[str, Shape], dtype: DTypeLike, buffer: Array | None = None
    ) -> None:
        size = sum(math.prod(shape) for shape in shapes.values())
        self.flat = aligned_empty(size, dtype) if buffer is None else buffer[:size]
        self._views: dict[str, Array] = {}
        start = 0
        for name, shape in shapes.items():
            stop = start + math.prod(shape)
            self._views[name] = self.flat[start:stop].reshape(shape)
            start = stop

    def __getitem__(self, name: str) -> Array:
        try:
            return self._views[name]
        except KeyError:
            raise KeyError(f"no array {name!r}: {did_you_mean(name, self._views)}") from None

    def get(self, name: str, default: Any = None) -> Any:
        """The array of this name, or `default` where there is none (without a search for it)."""
        return self._views.get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def __repr__(self) -> str:
        return f"NamedArrays({len(self)} arrays, {self.flat.size:,} x {self.flat.dtype})"


def parameter_shapes(config: GPTConfig) -> dict[str, Shape]:
    """The shape of every parameter, under GPT-2's own names and in GPT-2's own layout.

    Weights are (in, out), as in `x @ weight + bias`; the two embeddings and an untied head are
    (rows, C). Source: the state dictionary of GPT-2 as published by Hugging Face.
    """
    C, F, V = config.n_embd, config.n_hidden, config.vocab_size
    shapes: dict[str, Shape] = {"wte.weight": (V, C)}
    if config.positions == "learned":
        shapes["wpe.weight"] = (config.block_size, C)
    for i in range(config.n_layer):
        block = f"h.{i}"
        shapes[f"{block}.ln_1.weight"] = (C,)
        shapes[f"{block}.ln_1.bias"] = (C,)
        shapes[f"{block}.attn.c_attn.weight"] = (C, 3 * C)
        shapes[f"{block}.attn.c_attn.bias"] = (3 * C,)
        shapes[f"{block}.attn.c_proj.weight"] = (C, C)
        shapes[f"{block}.attn.c_proj.bias"] = (C,)
        shapes[f"{block}.ln_2.weight"] = (C,)
        shapes[f"{block}.ln_2.bias"] = (C,)
        shapes[f"{block}.mlp.c_fc.weight"] = (C, F)
        shapes[f"{block}.mlp.c_fc.bias"] = (F,)
        shapes[f"{block}.mlp.c_proj.weight"] = (F, C)
        shapes[f"{block}.mlp.c_proj.bias"] = (C,)
    shapes["ln_f.weight"] = (C,)
    shapes["ln_f.bias"] = (C,)
    if not config.tied:
        shapes["lm_head.weight"] = (V, C)
    if not config.bias:
        shapes = {name: s for name, s in shapes.items() if not name.endswith(".bias")}
    return shapes


def activation_shapes(config: GPTConfig, batch: int, length: int) -> dict[str, Shape]:
    """The shape of every activation of a batch of `batch` sequences of `length` positions.

    The names follow the parameters: `h.2.attn.out` is what the attention of block 2 computes from
    `h.2.attn.qkv`; `h.2.resid_mid` and `h.2.resid_post` are the residual stream after its two
    sublayers.
    """
    B, T, C, H = batch, length, config.n_embd, config.n_head
    shapes: dict[str, Shape] = {"embedding.out": (B, T, C)}
    for i in range(config.n_layer):
        block = f"h.{i}"
        shapes[f"{block}.ln_1.mean"] = (B, T)
        shapes[f"{block}.ln_1.rstd"] = (B, T)
        shapes[f"{block}.ln_1.out"] = (B, T, C)
        shapes[f"{block}.attn.qkv"] = (B, T, 3 * C)
        shapes[f"{block}.attn.lse"] = (B, H, T)
        shapes[f"{block}.attn.out"] = (B, T, C)
        shapes[f"{block}.resid_mid"] = (B, T, C)
        shapes[f"{block}.ln_2.mean"] = (B, T)
        shapes[f"{block}.ln_2.rstd"] = (B, T)
        shapes[f"{block}.ln_2.out"] = (B, T, C)
        shapes[f"{block}.mlp.fc"] = (B, T, config.n_hidden)
        shapes[f"{block}.mlp.act"] = (B, T, config.n_hidden)
        shapes[f"{block}.resid_post"] = (B, T, C)
    shapes["ln_f.mean"] = (B, T)
    shapes["ln_f.rstd"] = (B, T)
    shapes["ln_f.out"] = (B, T, C)
    shapes["logits"] = (B, T, config.vocab_size)
    shapes["lse"] = (B, T)
    shapes["losses"] = (B, T)
    return shapes
