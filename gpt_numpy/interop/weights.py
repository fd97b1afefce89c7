"""From the arrays of somebody else's file to the parameters of a model.

A file is first read as a table of `Tensor`s, which costs nothing: names, shapes, types. The table
is compared with what the configuration asks for, and only then is memory allocated and filled. So
no file makes this program allocate more than a small multiple of the file's own size.

The numbers of a file are float32, float64, float16 or bfloat16; the last two are widened. bfloat16
is the upper half of a float32, so that a shift by 16 bits widens it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO

import numpy as np

from gpt_numpy.base.arrays import Array, Shape
from gpt_numpy.base.errors import InputError
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.model.gpt import GPT
from gpt_numpy.model.memory import check_memory
from gpt_numpy.model.stages import parameter_shapes

BLOCK = 1 << 22  # bytes that are read and widened at a time
BF16 = "bfloat16"  # which NumPy does not have
# What the files hold, under the name that messages call it by.
ITEMSIZE = {"float32": 4, "float64": 8, "float16": 2, BF16: 2}


@dataclass(frozen=True)
class Tensor:
    """An array that still lies in its file; `read_into(out)` writes its elements to `out`."""

    shape: Shape
    dtype: str
    read_into: Callable[[Array], None]

    @property
    def nbytes(self) -> int:
        """Its size in the file."""
        return math.prod(self.shape) * ITEMSIZE.get(self.dtype, 1)


def read_elements(file: IO[bytes], dtype: str, out: Array) -> None:
    """Read as many elements of type `dtype` as the contiguous array `out` has, widened to its own.

    Raises `InputError` when the file ends before.
    """
    flat = out.reshape(-1)
    if dtype == flat.dtype.name:
        _read_exactly(file, flat.view(np.uint8).data)
        return
    stored = np.dtype("<u2") if dtype == BF16 else np.dtype(dtype).newbyteorder("<")
    block = np.empty(min(flat.size, BLOCK // stored.itemsize), stored)
    for start in range(0, flat.size, max(len(block), 1)):
        part = block[: flat.size - start]
        _read_exactly(file, part.view(np.uint8).data)
        if dtype == BF16:
            flat[start : start + len(part)] = widened(part)
        else:
            flat[start : start + len(part)] = part


def widened(halves: Array) -> Array:
    """The numbers whose bfloat16 bits are `halves` (uint16), as float32."""
    return (halves.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _read_exactly(file: IO[bytes], view: memoryview) -> None:
    done = 0
    while done < len(view):
        count = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise InputError(f"{len(view) - done} bytes of an array are missing at the end")
        done += count


def check_against(
    config: GPTConfig,
    tensors: Mapping[str, Tensor],
    size: int,
    transposed: Callable[[str], bool],
) -> None:
    """Refuse a table that is not exactly the parameters of the configuration.

    `size` is that of the files, in bytes: no array may share its numbers with another one.
    `transposed` says of which parameters the file holds the transpose. With a tied head the table
    may have `lm_head.weight` as well. Raises `InputError`, naming the first difference.
    """
    if config.n_layer > len(tensors):
        raise InputError(f"n_layer={config.n_layer}, but there are only {len(tensors)} arrays")
    expected = parameter_shapes(config)
    for name in expected:
        if name not in tensors:
            raise InputError(f"the array {name} is missing")
    also = {"lm_head.weight"} if config.tied else set()
    for name, tensor in tensors.items():
        if name not in expected and name not in also:
            raise InputError(f"the array {name} of shape {tensor.shape} is none of GPT-2's")
        shape = expected["wte.weight"] if name in also else expected[name]
        if tensor.shape != (shape[::-1] if transposed(name) else shape):
            raise InputError(f"{name} has shape {tensor.shape}, its configuration says {shape}")
    needed = sum(tensors[name].nbytes for name in expected)
    if needed > size:
        raise InputError(f"its arrays take {needed} bytes, and the files have {size}")
    check_memory(config, 1, itemsize=4, copies=2)


def fill(model: GPT, tensors: Mapping[str, Tensor], transposed: Callable[[str], bool]) -> None:
    """Read every parameter of the model from the table, which `check_against` has accepted.

    Raises `InputError` when numbers are missing, or the two arrays of a tied head differ.
    """
    for name, param in model.params.items():
        _read(tensors[name], param, transposed(name))
    if model.config.tied and "lm_head.weight" in tensors:
        head = np.empty_like(model.params["wte.weight"])
        _read(tensors["lm_head.weight"], head, transposed=False)
        if not np.array_equal(head, model.params["wte.weight"]):
            raise InputError(
                "tie_word_embeddings is true, but lm_head.weight and wte.weight differ: "
                "say false in the configuration to use both"
            )


def _read(tensor: Tensor, out: Array, transposed: bool) -> None:
    if transposed:
        as_stored = np.empty(tensor.shape, out.dtype)
        tensor.read_into(as_stored)
        out[...] = as_stored.T
    else:
        tensor.read_into(out)
