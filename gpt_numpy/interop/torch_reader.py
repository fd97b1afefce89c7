"""Read PyTorch's files, without PyTorch and without running anything.

`torch.save` writes a zip archive: `NAME/data.pkl` is a pickle of the value, in which each tensor is
a call of `torch._utils._rebuild_tensor_v2` with a reference to a storage, and `NAME/data/K` holds
the numbers of storage K. The calls are not made: the few names that occur in the file of a model
are instructions of the reader below, and all other names are refused.
"""

import math
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np

from gpt_numpy.base.arrays import Array, Shape
from gpt_numpy.base.errors import InputError
from gpt_numpy.files import pickles
from gpt_numpy.files.zip_archives import open_archive, start_of
from gpt_numpy.interop.weights import BF16, ITEMSIZE, Tensor, is_size, read_elements

ORDERED = "collections OrderedDict"
REBUILD = "torch._utils _rebuild_tensor_v2"
PARAMETER = "torch._utils _rebuild_parameter"
_DTYPES = {"Float": "float32", "Double": "float64", "Half": "float16", "BFloat16": BF16}
# Integers are recognised, so that a file may contain masks in addition to the parameters.
_DTYPES |= {"Bool": "bool", "Byte": "uint8", "Char": "int8"}
_DTYPES |= {"Short": "int16", "Int": "int32", "Long": "int64"}
_BLOCK = 1 << 20  # bytes read at a time
STORAGES = {f"torch {kind}Storage": dtype for kind, dtype in _DTYPES.items()}
KNOWN_NAMES = {ORDERED, REBUILD, PARAMETER, *STORAGES}


class Name(NamedTuple):
    """A function or class that the file refers to by name."""

    text: str


class Storage(NamedTuple):
    """The numbers in one member of the archive."""

    dtype: str
    key: str
    size: int


class StoredTensor(NamedTuple):
    """A view of a storage, as `torch.Tensor.as_strided` makes it."""

    storage: Storage
    offset: int
    shape: Shape
    strides: Shape


class TorchMachine(pickles.PickleMachine):
    """The reader of plain values, extended by ordered dictionaries and tensors: all that occurs."""

    def run(self, name: str, argument: Any) -> None:
        """Execute one instruction; `InputError` if this machine does not have it."""
        if name in ("GLOBAL", "STACK_GLOBAL"):
            if name == "STACK_GLOBAL":  # a list may be too large to print
                argument = " ".join(part for part in self.pop(2) if isinstance(part, str))
            if argument not in KNOWN_NAMES:
                raise InputError(f"it names {argument[:80]!r}: nothing is executed or imported")
            self.stack.append(Name(argument))
        elif name == "BINPERSID":
            self.stack.append(_storage(self.pop(1)[0]))
        elif name == "REDUCE":
            function, arguments = self.pop(2)
            self.stack.append(_called(function, arguments))
        elif name == "BUILD":  # PyTorch notes versions of its modules in their dictionaries
            self.pop(1)
            self.top(dict)
        else:
            super().run(name, argument)


@contextmanager
def open_torch(path: Path) -> Iterator[tuple[zipfile.ZipFile, dict[Any, Any]]]:
    """The archive that `torch.save` wrote, and its value, in which tensors are `StoredTensor`s.

    Raises `InputError` when the file is something else, or holds no dictionary or other values.
    """
    with path.open("rb", buffering=0) as file:
        if file.read(4) != b"PK\x03\x04":
            raise InputError(
                f"{path.name} is not a zip archive: if a PyTorch before 1.6 wrote it, load and "
                "save it with a newer one, or use model.safetensors"
            )
        with open_archive(file) as archive:
            names = archive.namelist()
            found = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
            if len(found) != 1:
                raise InputError("not PyTorch's: it must have exactly one member NAME/data.pkl")
            order = found[0].replace("data.pkl", "byteorder")
            if order in names and archive.getinfo(order).file_size == 3:  # "big", not "little"
                raise InputError("its numbers are big-endian, which is not read")
            if archive.getinfo(found[0]).file_size > pickles.MAX_BYTES:
                raise InputError(f"its data.pkl has more than {pickles.MAX_BYTES} bytes")
            value = pickles.read_pickle(archive.read(found[0]), TorchMachine())
            if not isinstance(value, dict):
                raise InputError(f"{path.name} does not hold a dictionary")
            yield archive, value


def torch_turns(name: str) -> bool:
    """Whether a parameter is the matrix of one of PyTorch's linear layers: (out, in)."""
    return name.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight"))


def tensors_of(
    archive: zipfile.ZipFile,
    state: dict[Any, Any],
    turned: Callable[[str], bool] = lambda name: False,
) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a dictionary in the archive, by name, which can be read while it is open.

    Matrices of the names for which `turned` is true are read as their transpose. Raises
    `InputError`, naming the tensor, for anything else in the dictionary.
    """
    verified: set[str] = set()
    for name, value in state.items():
        if not isinstance(value, StoredTensor):
            raise InputError(f"{str(name)[:80]!r} is not a tensor")
        if turned(str(name)):
            value = value._replace(shape=value.shape[::-1], strides=value.strides[::-1])
        try:
            yield str(name), _tensor(archive, value, verified)
        except InputError as error:
            raise InputError(f"{str(name)[:80]}: {error}") from None


def _tensor(archive: zipfile.ZipFile, value: StoredTensor, verified: set[str]) -> Tensor:
    """A tensor of the archive: any view of its storage; `verified` are storages read in full."""
    storage = value.storage
    folder = next(name for name in archive.namelist() if name.endswith("/data.pkl"))[:-8]
    member = f"{folder}data/{storage.key}"
    itemsize = ITEMSIZE.get(storage.dtype) or np.dtype(storage.dtype).itemsize
    if member not in archive.NameToInfo:
        raise InputError(f"the storage {storage.key[:40]!r} of a tensor is missing")
    if archive.getinfo(member).file_size != storage.size * itemsize:
        raise InputError(f"the storage {storage.key!r} does not have {storage.size} numbers")
    size = math.prod(value.shape)
    steps = zip(value.shape, value.strides, strict=True)
    end = value.offset + (1 + sum((count - 1) * step for count, step in steps) if size else 0)
    if end > storage.size:
        raise InputError(
            f"of shape {value.shape}, strides {value.strides} and offset {value.offset}: "
            f"it goes beyond its storage of {storage.size} numbers"
        )

    def read_into(out: Array) -> None:
        if value.offset == 0 and size == storage.size and _dense(value):
            _read_whole(archive, member, value, out)
        else:
            if member not in verified:
                with archive.open(member) as file:
                    while file.read(_BLOCK):
                        pass  # to the end, where the archive's checksum is compared
                verified.add(member)
            numbers = _read_part(archive, member, value, end)
            steps = [step * numbers.itemsize for step in value.strides]
            out[...] = np.lib.stride_tricks.as_strided(numbers, value.shape, steps)

    return Tensor(value.shape, storage.dtype, read_into)


def _read_whole(archive: zipfile.ZipFile, member: str, value: StoredTensor, out: Array) -> None:
    """Fill `out` from a storage that it fills, in the order of some permuted axes."""
    # The axes by decreasing stride: in this shape the numbers are contiguous in the storage.
    order = sorted(range(out.ndim), key=lambda axis: -value.strides[axis])
    as_stored = out.transpose(order)
    dense = np.ascontiguousarray(as_stored)  # itself or a copy
    with archive.open(member) as file:  # compares the archive's checksum at the end
        read_elements(file, value.storage.dtype, dense)
    as_stored[...] = dense


def _read_part(archive: zipfile.ZipFile, member: str, value: StoredTensor, end: int) -> Array:
    """The numbers of a storage from the view's offset to `end`."""
    dtype, file = value.storage.dtype, cast(IO[bytes], archive.fp)
    start = start_of(file, archive.getinfo(member))
    file.seek(start + value.offset * ITEMSIZE.get(dtype, 1))
    numbers = np.empty(end - value.offset, np.float64 if dtype == "float64" else np.float32)
    read_elements(file, dtype, numbers)
    return numbers


def _called(function: object, arguments: object) -> object:
    """The value of the call of a known name."""
    match function, arguments:
        case Name(text), () if text == ORDERED:
            return {}
        case Name(text), (StoredTensor() as tensor, *_) if text == PARAMETER:
            return tensor
        case Name(text), (Storage() as storage, int(offset), tuple(shape), tuple(strides), *_) if (
            text == REBUILD
        ):
            sizes = (offset, *shape, *strides)
            if len(shape) != len(strides) or len(shape) > 8 or not all(map(is_size, sizes)):
                raise InputError("a tensor's shape, strides or offset are not sizes")
            return StoredTensor(storage, offset, shape, strides)
    raise InputError("a call that PyTorch does not write for a model")


def _storage(reference: object) -> Storage:
    match reference:
        case ("storage", Name(kind), str(key), str(), int(size)) if is_size(size):
            if kind in STORAGES:
                return Storage(STORAGES[kind], key, size)
    raise InputError("a reference to something else than a storage of numbers")


def _dense(value: StoredTensor) -> bool:
    """Whether the elements fill a storage without gaps, in the order of some permuted axes."""
    expected = 1
    for step, count in sorted(zip(value.strides, value.shape, strict=True)):
        if count > 1 and step != expected:
            return False
        expected *= max(count, 1)
    return True
