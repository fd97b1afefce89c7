"""Write a value as `torch.save` does: a zip archive of a pickle and of the numbers beside it."""

import math
import zipfile
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.files import pickles

FOLDER = "archive"
_DATE = (1980, 1, 1, 0, 0, 0)  # a fixed one: the same value gives the same bytes


def write_torch(file: IO[bytes], value: Mapping[str, Any]) -> None:
    """Write dictionaries, lists, tuples, texts, numbers and float32 arrays for `torch.load`.

    An array that occurs twice, the same object, is written once and shared.
    """
    arrays: list[Array] = []

    def reference(part: object) -> bytes:
        if not isinstance(part, np.ndarray):
            raise TypeError(f"a value of type {type(part).__name__}")
        keys = [key for key, other in enumerate(arrays) if other is part]
        if not keys:
            arrays.append(part)
        return _tensor(keys[0] if keys else len(arrays) - 1, part)

    pickled = pickles.pickled(value, reference)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "data.pkl", pickled)
        _add(archive, "byteorder", b"little")
        for key, array in enumerate(arrays):
            _add(archive, f"data/{key}", np.ascontiguousarray(array, "<f4").reshape(-1).data)
        _add(archive, "version", b"3\n")


def _add(archive: zipfile.ZipFile, name: str, content: Any) -> None:
    info = zipfile.ZipInfo(f"{FOLDER}/{name}", _DATE)
    info.file_size = memoryview(content).nbytes  # decides whether its sizes take 64 bits
    with archive.open(info, "w") as member:
        member.write(content)


def _tensor(key: int, array: Array) -> bytes:
    """The instructions of the call that makes a tensor of storage `key`."""
    storage = _tuple("storage", _Global("torch", "FloatStorage"), str(key), "cpu", array.size)
    strides = tuple(math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim))
    view = b"".join(map(pickles.instructions, (0, array.shape, strides, False)))
    hooks = _Global("collections", "OrderedDict").code + b")R"
    call = _Global("torch._utils", "_rebuild_tensor_v2").code
    return call + b"(" + storage + b"Q" + view + hooks + b"tR"


class _Global:
    """Something that the reader is to look up by name."""

    def __init__(self, module: str, name: str) -> None:
        self.code = f"c{module}\n{name}\n".encode()


def _tuple(*parts: Any) -> bytes:
    codes = (p.code if isinstance(p, _Global) else pickles.instructions(p) for p in parts)
    return b"(" + b"".join(codes) + b"t"
