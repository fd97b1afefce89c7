"""Tokens that stay in their file and are read as they are needed.

A mapped file (`np.memmap`) that somebody shortens kills the process that reads it, with SIGBUS and
without a word. Here every batch opens the file, looks whether it is still the same, and reads its
few windows: some microseconds each, in constant memory, and an error that can be read.
"""

import io
import os
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.errors import InputError


class ChangedFileError(InputError):
    """A file of tokens is no longer what it was when it was opened."""


class TokenFile:
    """A row of tokens in a file, (n,), that is never in memory as a whole.

    It has `len` and `dtype`; `row[start:stop]` and `windows` read from the file, `numpy.asarray`
    reads all of it.

    Raises
    ------
    OSError : the file cannot be opened.
    ChangedFileError : on reading, if the file has changed since, or is gone.
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
            raise InputError(f"a step of {step}: tokens in a file are read one after the other")
        return self.windows(np.array([start]), max(0, stop - start))[0]

    def __array__(self, dtype: object = None, copy: bool | None = None) -> Array:
        return np.asarray(self[:], dtype)  # type: ignore[call-overload]

    def windows(self, starts: Array, length: int) -> Array:
        """The `length` tokens from each of `starts` on: (B, length)."""
        out = np.empty((len(starts), length), self.dtype)
        rows = out.view(np.uint8)
        try:
            with open(self.path, "rb", buffering=0) as file:
                if _state(file) != self._state:
                    raise self._changed("has changed")
                for row, start in zip(rows, starts.tolist(), strict=True):
                    file.seek(start * self.dtype.itemsize)
                    _fill(file, row)
        except EOFError:
            raise self._changed("was shortened") from None
        except OSError as error:
            raise self._changed(f"cannot be read any more: {error.strerror or error},") from None
        return out

    def _changed(self, what: str) -> ChangedFileError:
        return ChangedFileError(
            f"{self.path} {what} while it was in use: prepare it again as it was "
            f"({self._state[0]} bytes), then go on with --init_from=resume"
        )


def _state(file: io.IOBase) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _fill(file: io.FileIO, row: Array) -> None:
    """Read until `row`, of bytes, is full."""
    rest = row.data
    while len(rest):
        count = file.readinto(rest)
        if not count:
            raise EOFError
        rest = rest[count:]


Tokens = Array | TokenFile
