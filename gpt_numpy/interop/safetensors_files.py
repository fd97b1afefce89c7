"""The .safetensors format: eight bytes with the length of a header, the header, the numbers.

The header is JSON: {name: {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...}.

The library is not used: for bfloat16 it needs PyTorch, it accepts headers of 100 MB, and maps the
file, so that truncating the file kills the process. What is written here is what it writes.
Source: https://github.com/huggingface/safetensors, "Format".
"""

import functools
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.errors import InputError
from gpt_numpy.files.durable import written_durably
from gpt_numpy.interop.weights import BF16, ITEMSIZE, Tensor, is_size, read_elements
from gpt_numpy.reference.bfloat16 import stored

ALIGNMENT = 8  # bytes: where the numbers begin
_BLOCK = 1 << 20  # elements converted and written at a time
MAX_HEADER = 1 << 20  # bytes; enough for 9,000 arrays (GPT-2 has 580 at most)
_FLOATS = {"F32": "float32", "F64": "float64", "F16": "float16", "BF16": BF16}
# Types of arrays that are not read, such as the masks in GPT-2's own file.
_OTHERS = {"BOOL": 1, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "U32": 4, "I32": 4, "U64": 8, "I64": 8}
_ITEMSIZE = {key: ITEMSIZE[name] for key, name in _FLOATS.items()} | _OTHERS


def read_safetensors(file: IO[bytes]) -> dict[str, Tensor]:
    """The arrays of a file, by name, which can be read while it is open.

    Raises `InputError` unless the header describes every byte of the file exactly once.
    """
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or not 2 <= length <= min(MAX_HEADER, size - 8):
        raise InputError(
            f"not a .safetensors file: a header of {length} bytes in {size}; "
            f"at most {MAX_HEADER} are read"
        )
    try:
        header = json.loads(file.read(length), object_pairs_hook=_without_duplicates)
    except RecursionError:
        raise InputError("its header is nested too deeply") from None
    if not isinstance(header, dict):
        raise InputError("its header is not a JSON object")
    header.pop("__metadata__", None)
    places = {name: _place(name, entry) for name, entry in header.items()}
    end = 0
    for name, (begin, stop) in sorted(places.items(), key=lambda item: item[1]):
        if begin != end:
            raise InputError(f"the array {name} begins at {begin} and not at {end}")
        end = stop
    start = 8 + length
    if end != size - start:
        raise InputError(f"its arrays have {end} bytes, the file has {size - start} for them")
    table = {}
    for name, entry in header.items():
        dtype = _FLOATS.get(entry["dtype"], entry["dtype"])
        read_into = functools.partial(_read_at, file, start + places[name][0], dtype)
        table[name] = Tensor(tuple(entry["shape"]), dtype, read_into)
    return table


def write_safetensors(path: Path, arrays: Mapping[str, Array], *, dtype: str = "float32") -> None:
    """Write float32 arrays for transformers, as they are or in bfloat16, whole or not at all.

    `dtype` is "float32" or "bfloat16": rounded to the nearest, of two equally near ones to the even
    one, and denormal numbers to 0 (reference/bfloat16.py).
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    kind, end = {theirs: key for key, theirs in _FLOATS.items()}[dtype], 0
    for name in sorted(arrays):
        begin, end = end, end + arrays[name].size * ITEMSIZE[dtype]
        shape = list(arrays[name].shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    with written_durably(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in sorted(arrays):
            flat = arrays[name].reshape(-1)
            for start in range(0, flat.size, _BLOCK):
                part = flat[start : start + _BLOCK]
                numbers = stored(part).astype("<u2") if dtype == BF16 else part.astype("<f4")
                file.write(numbers.data)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise InputError("its header has a key twice")
    return values


def _place(name: str, entry: Any) -> tuple[int, int]:
    """Where an array begins and ends; `InputError` unless its entry is complete and consistent."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise InputError(f"the entry of {name[:80]!r} is not a dtype, a shape and data_offsets")
    shape, offsets, dtype = entry["shape"], entry["data_offsets"], entry["dtype"]
    for numbers, most in ((shape, 8), (offsets, 2)):
        if not isinstance(numbers, list) or len(numbers) > most or not all(map(is_size, numbers)):
            raise InputError(f"{name[:80]!r}: its shape or its offsets are not lists of sizes")
    if not isinstance(dtype, str) or dtype not in _ITEMSIZE:
        raise InputError(f"{name[:80]!r} is of type {str(dtype)[:20]!r}, which is not read")
    if len(offsets) != 2 or offsets[1] - offsets[0] != math.prod(shape) * _ITEMSIZE[dtype]:
        raise InputError(f"{name[:80]!r}: its offsets and its shape give different sizes")
    return offsets[0], offsets[1]


def _read_at(file: IO[bytes], position: int, dtype: str, out: Array) -> None:
    file.seek(position)
    read_elements(file, dtype, out)
