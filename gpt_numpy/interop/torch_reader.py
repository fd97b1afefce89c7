"""PyTorch's files, in and out, without PyTorch and without running anything.

`torch.save` writes a zip archive: `NAME/data.pkl` is a pickle of the whole value, in which each
tensor is a call of `torch._utils._rebuild_tensor_v2` on a reference to a storage, and `NAME/data/K`
are the numbers of storage K. The calls are not made: the handful of names that occur in the file of
a model stand for instructions of the reader below, and every other name is refused.

The reader knows plain values, dictionaries, and tensors; optimizers and settings are made of those.
"""

import math
import zipfile
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from gpt_numpy.base.arrays import Array, Shape
from gpt_numpy.base.errors import InputError
from gpt_numpy.files import pickles
from gpt_numpy.interop.weights import BF16, ITEMSIZE, Tensor, read_elements

ORDERED = "collections OrderedDict"
REBUILD = "torch._utils _rebuild_tensor_v2"
PARAMETER = "torch._utils _rebuild_parameter"
STORAGES = {
    "torch FloatStorage": "float32",
    "torch DoubleStorage": "float64",
    "torch HalfStorage": "float16",
    "torch BFloat16Storage": BF16,
}
# Those of whole numbers are recognised, so that a mask beside the weights does no harm.
OTHER_STORAGES = {f"torch {kind}Storage": 1 for kind in ("Bool", "Byte", "Char")}
OTHER_STORAGES |= {"torch ShortStorage": 2, "torch IntStorage": 4, "torch LongStorage": 8}
OLD = "written by a PyTorch before 1.6: load it and save it again there, or use model.safetensors"


@dataclass(frozen=True)
class Name:
    """What a file names to be called."""

    text: str


@dataclass(frozen=True)
class Storage:
    """A row of numbers in a member of the archive."""

    dtype: str
    key: str
    count: int


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A view of a storage, as `torch.Tensor.as_strided` makes it."""

    storage: Storage
    offset: int
    shape: Shape
    strides: Shape


class TorchMachine(pickles.PickleMachine):
    """The reader of plain values, with dictionaries that keep their order, and tensors."""

    def run(self, name: str, argument: Any) -> bool:
        """Execute one instruction; False when this machine has none of that name."""
        if name == "GLOBAL":
            self.stack.append(_known(argument))
        elif name == "STACK_GLOBAL":
            module, attribute = self.pop(2)
            self.stack.append(_known(f"{module} {attribute}"))
        elif name == "BINPERSID":
            self.stack.append(_storage(self.pop(1)[0]))
        elif name == "REDUCE":
            function, arguments = self.pop(2)
            self.stack.append(_called(function, arguments))
        elif name == "BUILD":  # PyTorch notes versions of its modules in their dictionaries
            self.pop(1)
            self.top(dict)
        else:
            return super().run(name, argument)
        return True


def read(file: IO[bytes], archive: zipfile.ZipFile) -> object:
    """The value that `torch.save` wrote; tensors are `StoredTensor`s.

    Raises `InputError` when the archive is not such a file, or holds anything else.
    """
    names = archive.namelist()
    pickled = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickled) != 1:
        raise InputError("not PyTorch's: it has to have one member NAME/data.pkl")
    order = pickled[0].replace("data.pkl", "byteorder")
    if order in names and archive.getinfo(order).file_size == 3:  # "big", not "little"
        raise InputError("its numbers are big-endian, which is not read")
    if archive.getinfo(pickled[0]).file_size > pickles.MAX_BYTES:
        raise InputError(f"its data.pkl has more than {pickles.MAX_BYTES} bytes")
    return pickles.read_pickle(archive.read(pickled[0]), TorchMachine())


def tensor_of(archive: zipfile.ZipFile, value: object) -> Tensor | None:
    """The array of a file that `read` described; None for what is no tensor.

    Raises `InputError` when it does not lie within its storage.
    """
    if not isinstance(value, StoredTensor):
        return None
    storage = value.storage
    folder = next(name for name in archive.namelist() if name.endswith("/data.pkl"))[:-8]
    member = f"{folder}data/{storage.key}"
    itemsize = ITEMSIZE.get(storage.dtype) or OTHER_STORAGES[storage.dtype]
    if member not in archive.NameToInfo:
        raise InputError(f"the storage {storage.key[:40]!r} of a tensor is missing")
    if archive.getinfo(member).file_size != storage.count * itemsize:
        raise InputError(f"the storage {storage.key!r} does not have {storage.count} numbers")
    if value.offset or storage.count != math.prod(value.shape) or not _dense(value):
        raise InputError(
            f"a tensor of shape {value.shape} is a part of a storage of {storage.count} numbers, "
            "which is not read: save a clone() of it"
        )

    def read_into(out: Array) -> None:
        if storage.dtype not in ITEMSIZE:
            raise InputError("an array of whole numbers cannot be a parameter")
        # The strides in falling order: the shape in which the numbers lie in the storage.
        order = sorted(range(out.ndim), key=lambda axis: -value.strides[axis])
        as_stored = out.transpose(order)
        row = as_stored if as_stored.flags.c_contiguous else np.empty(as_stored.shape, out.dtype)
        with archive.open(member) as file:  # which compares the archive's checksum at the end
            read_elements(file, storage.dtype, row)
        if row is not as_stored:
            as_stored[...] = row

    return Tensor(value.shape, storage.dtype, read_into)


def _known(name: str) -> Name:
    if name not in {ORDERED, REBUILD, PARAMETER, *STORAGES, *OTHER_STORAGES}:
        raise InputError(f"it names {name[:80]!r}: nothing is imported, and nothing is executed")
    return Name(name)


def _called(function: object, arguments: object) -> object:
    """What the call of one of the known names stands for."""
    match function, arguments:
        case Name(text), () if text == ORDERED:
            return {}
        case Name(text), (StoredTensor() as tensor, *_) if text == PARAMETER:
            return tensor
        case Name(text), (Storage() as storage, int(offset), tuple(shape), tuple(strides), *_) if (
            text == REBUILD
        ):
            sizes = (offset, *shape, *strides)
            if len(shape) != len(strides) or len(shape) > 8 or not all(map(_is_size, sizes)):
                raise InputError("a tensor's shape, strides or offset are not sizes")
            return StoredTensor(storage, offset, shape, strides)
    raise InputError("a call that is none of those that PyTorch writes for a model")


def _storage(reference: object) -> Storage:
    match reference:
        case ("storage", Name(kind), str(key), str(), int(count)) if kind in {
            *STORAGES,
            *OTHER_STORAGES,
        } and _is_size(count):
            return Storage(STORAGES.get(kind, kind), key, count)
    raise InputError("a reference that is none to a storage of numbers")


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**48  # so that products of them stay small


def _dense(value: StoredTensor) -> bool:
    """Whether the elements are those of a storage without gaps, in the order of some axes."""
    expected = 1
    for step, count in sorted(zip(value.strides, value.shape, strict=True)):
        if count > 1 and step != expected:
            return False
        expected *= max(count, 1)
    return True
