"""Write a value as `torch.save` does: a zip archive of a pickle and the numbers of each array."""

import math
import zipfile
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.files.pickles import instructions, pickled

_DATE = (1980, 1, 1, 0, 0, 0)  # fixed, so that the same value gives the same bytes


def write_torch(file: IO[bytes], value: Mapping[str, Any]) -> None:
    """Write dictionaries of lists, strings, numbers and float32 arrays for `torch.load`.

    An array that occurs twice (the same object) is written once and shared.
    """
    arrays: list[Array] = []

    def described(part: Any) -> Any:
        if isinstance(part, Mapping):
            return {key: described(inner) for key, inner in part.items()}
        if not isinstance(part, np.ndarray):
            return part
        if not any(part is other for other in arrays):
            arrays.append(part)
        return _tensor(next(key for key, other in enumerate(arrays) if part is other), part)

    members: dict[str, Any] = {"data.pkl": pickled(described(value)), "byteorder": b"little"}
    for key, array in enumerate(arrays):
        members[f"data/{key}"] = np.ascontiguousarray(array, "<f4").reshape(-1).data
    members["version"] = b"3\n"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(f"archive/{name}", _DATE)
            info.file_size = memoryview(content).nbytes  # decides whether sizes take 64 bits
            with archive.open(info, "w") as member:
                member.write(content)


def _tensor(key: int, array: Array) -> bytes:
    """The instructions of the call that makes a tensor of storage `key`."""
    strides = tuple(math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim))
    storage = ("storage", b"ctorch\nFloatStorage\n", str(key), "cpu", array.size)
    no_hooks = b"ccollections\nOrderedDict\n)R"
    view = (instructions(storage) + b"Q", 0, array.shape, strides, False, no_hooks)
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + instructions(view) + b"R"
