"""Tokens that stay in their file and are read when needed.

If a mapped file (`np.memmap`) is truncated, its reader is killed by SIGBUS without a message. Here
every batch opens the file, checks that it has not changed, and reads its few windows: that takes
microseconds, constant memory, and fails with a proper error.
"""

import os
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import DTypeLike

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.errors import InputError
from gpt_numpy.files.reading import read_into


class ChangedFileError(InputError):
    """A file of tokens has changed since it was opened."""


class TokenFile:
    """The tokens of a file, (n,), which are never all in memory.

    It has `len` and `dtype`; slices and `windows` read from the file, `numpy.asarray` reads all of
    it. Raises `OSError` when the file cannot be opened, and `ChangedFileError` on reading when it
    has changed or is gone.
    """

    def __init__(self, path: Path, dtype: DTypeLike) -> None:
        self.path, self.dtype = path, np.dtype(dtype)
        with open(path, "rb") as file:
            self._state = _state(file)
        self._length = self._state[0] // self.dtype.itemsize

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice) -> Array:
        start, stop, step = part.indices(self._length)
        if step != 1:
            raise InputError(f"a step of {step}: tokens of a file are read in order")
        return self.windows(np.array([start]), max(0, stop - start))[0]

    def __array__(self, dtype: object = None, copy: bool | None = None) -> Array:
        return np.asarray(self[:], dtype)  # type: ignore[call-overload]

    def windows(self, starts: Array, length: int) -> Array:
        """The `length` tokens from each of `starts`: (B, length)."""
        out = np.empty((len(starts), length), self.dtype)
        try:
            with open(self.path, "rb", buffering=0) as file:
                if _state(file) != self._state:
                    raise self._changed("has changed")
                for window, start in zip(out.view(np.uint8), starts.tolist(), strict=True):
                    file.seek(start * self.dtype.itemsize)
                    if read_into(file, window.data):
                        raise self._changed("was truncated")
        except OSError as error:
            raise self._changed(f"cannot be read any more: {error.strerror or error},") from None
        return out

    def _changed(self, what: str) -> ChangedFileError:
        return ChangedFileError(
            f"{self.path} {what} while it was in use: restore it as it was "
            f"({self._state[0]} bytes), then continue with --init_from=resume"
        )


def _state(file: IO[bytes]) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


Tokens = Array | TokenFile
