"""From the arrays of another program's files to the parameters of a model.

A file is first read as a table of `Tensor`s (names, shapes and types), which costs nothing. The
table is compared with the configuration, and only then memory is allocated and filled. So no file
makes this program allocate more than a small multiple of the file's own size.

Arrays are float32, float64, float16 or bfloat16; the last two are widened. bfloat16 is the upper
half of a float32, so shifting it by 16 bits widens it.
"""

import math
import re
from collections.abc import Callable, Iterable
from typing import IO, NamedTuple

import numpy as np

from gpt_numpy.base.arrays import Array, Shape
from gpt_numpy.base.errors import InputError
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.files.reading import read_into
from gpt_numpy.model.gpt import GPT
from gpt_numpy.model.memory import check_memory
from gpt_numpy.model.stages import parameter_shapes

BF16 = "bfloat16"  # NumPy does not have it
# The element types that are read, under their names in messages, and their sizes in bytes.
ITEMSIZE = {"float32": 4, "float64": 8, "float16": 2, BF16: 2}
_BLOCK = 1 << 22  # bytes read and widened at a time
# torch.compile and transformers put prefixes before GPT-2's names.
_PREFIXES = re.compile(r"(_orig_mod\.)?(transformer\.)?")
_MASKS = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")


class Tensor(NamedTuple):
    """An array that is still in its file; `read_into(out)` writes its elements to `out`."""

    shape: Shape
    dtype: str
    read_into: Callable[[Array], None]


class StoredModel(NamedTuple):
    """A model that is still in another program's files, of `size` bytes together."""

    config: GPTConfig
    tensors: dict[str, Tensor]  # its parameters, under this project's names
    size: int


def parameter_table(named: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors under this project's names, without the causal masks, which are no parameters.

    Raises `InputError` when two have the same name.
    """
    table: dict[str, Tensor] = {}
    for name, tensor in named:
        name = _PREFIXES.sub("", name, count=1)
        if name in table:
            raise InputError(f"the array {name[:80]!r} occurs twice")
        table[name] = tensor
    return {name: tensor for name, tensor in table.items() if not _MASKS.fullmatch(name)}


def is_size(value: object) -> bool:
    """Whether a value from a file is an integer that can be the size of something in it."""
    return type(value) is int and 0 <= value < 2**48


def read_elements(file: IO[bytes], dtype: str, out: Array) -> None:
    """Fill the contiguous array `out` with elements of type `dtype`, converted to its own type.

    Raises `InputError` when the file ends too early, or its elements are no floating-point numbers.
    """
    if dtype not in ITEMSIZE:
        raise InputError("an array of integers cannot be a parameter")
    flat = out.reshape(-1)
    stored = np.dtype("<u2") if dtype == BF16 else np.dtype(dtype).newbyteorder("<")
    block = np.empty(min(flat.size, _BLOCK // stored.itemsize), stored)
    for start in range(0, flat.size, max(len(block), 1)):
        part = block[: flat.size - start]
        missing = read_into(file, part.view(np.uint8).data)
        if missing:
            raise InputError(f"the file ends {missing} bytes before the end of an array")
        if dtype == BF16:
            part = (part.astype(np.uint32) << np.uint32(16)).view(np.float32)
        flat[start : start + len(part)] = part


def check_stored(stored: StoredModel) -> None:
    """Refuse a model whose tensors are not exactly the parameters of its configuration.

    No two arrays may share numbers in the files. With a tied head there may be `lm_head.weight`,
    too. Raises `InputError`, naming the first difference.
    """
    config, tensors = stored.config, stored.tensors
    if config.n_layer > len(tensors):
        raise InputError(f"n_layer={config.n_layer}, but there are only {len(tensors)} arrays")
    expected = parameter_shapes(config)
    for name in expected:
        if name not in tensors:
            raise InputError(f"the array {name} is missing")
    allowed = {"lm_head.weight": expected["wte.weight"]} | expected if config.tied else expected
    for name, tensor in tensors.items():
        if name not in allowed:
            raise InputError(f"the array {name} of shape {tensor.shape} is not one of the model's")
        if tensor.shape != allowed[name]:
            raise InputError(
                f"{name} has shape {tensor.shape}, its configuration says {allowed[name]}"
            )
    used = (tensors[name] for name in expected)
    needed = sum(math.prod(tensor.shape) * ITEMSIZE.get(tensor.dtype, 1) for tensor in used)
    if needed > stored.size:
        raise InputError(f"its arrays take {needed} bytes, and the files have {stored.size}")
    check_memory(config, 1, itemsize=4, copies=2)


def load_parameters(model: GPT, stored: StoredModel) -> None:
    """Read all parameters from files that `check_stored` has accepted.

    Raises `InputError` when numbers are missing, or the two arrays of a tied head differ.
    """
    for name, param in model.params.items():
        stored.tensors[name].read_into(param)
    if model.config.tied and "lm_head.weight" in stored.tensors:
        head = np.empty_like(model.params["wte.weight"])
        stored.tensors["lm_head.weight"].read_into(head)
        if not np.array_equal(head, model.params["wte.weight"]):
            raise InputError(
                "tie_word_embeddings is true, but lm_head.weight and wte.weight differ: "
                "set it to false in the configuration to use both"
            )
