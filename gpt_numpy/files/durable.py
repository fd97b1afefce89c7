"""Files that are there whole or not at all, and that carry a checksum over all their bytes.

A file is written beside its place, flushed to the disk and renamed: at every moment there is either
the old file or the new one. Then the folder is flushed, where the system can.

The checksum is the SHA-256 of the SHA-256 digests of blocks of 4 MiB; of blocks, so that two cores
can work on it.
"""

import contextlib
import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from gpt_numpy.base.errors import InputError

TEMPORARY = ".partial-"
BLOCK = 4 * 2**20
DIGITS = 64
COMMENT = b"sha256 of sha256 of 4 MiB blocks: "
UNSEALED = COMMENT + b"0" * DIGITS  # what a file ends in before `seal`


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[IO[bytes]]:
    """A new file that replaces `path`, flushed to disk, when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{TEMPORARY}{secrets.token_hex(8)}{path.suffix}"
    try:
        with open(temporary, "x+b") as file:
            yield file
            file.flush()
            _flush(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    # The new name is safe only once the folder is on disk; Windows cannot open a folder for that.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            _flush(handle)
        finally:
            os.close(handle)


def _flush(handle: int) -> None:
    """Wait until the disk has what was written; on macOS fsync alone leaves it in the drive."""
    if sys.platform == "darwin":
        import fcntl

        with contextlib.suppress(OSError):  # a file system that does not know the request
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
            return
    os.fsync(handle)


def preserve(path: Path, name: str) -> None:
    """Give the file `path` the second name `name` in its folder, in place of what bears it.

    It is meant for a file that is about to be replaced: until then the two names are one file. A
    file system that cannot do that gets a copy.
    """
    target, temporary = path.parent / name, path.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        os.link(path, temporary)
    except OSError:
        with open(path, "rb") as source, replaced(target) as file:
            shutil.copyfileobj(source, file, BLOCK)
        return
    try:
        os.replace(temporary, target)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # it is still there where both names were this file already


def remove_leftovers(folder: Path) -> None:
    """Remove what a process that was killed left half written."""
    for path in folder.glob(f"{TEMPORARY}*"):
        with contextlib.suppress(OSError):
            path.unlink()


def digest_of(file: IO[bytes], size: int) -> bytes:
    """The checksum of the first `size` bytes, as hexadecimal digits."""

    def blocks() -> Iterator[bytes]:
        file.seek(0)
        for start in range(0, size, BLOCK):
            yield file.read(min(BLOCK, size - start))

    whole = hashlib.sha256()
    workers = 2
    with ThreadPoolExecutor(workers) as pool:
        waiting: list[Any] = []
        for block in blocks():
            waiting.append(pool.submit(lambda data: hashlib.sha256(data).digest(), block))
            if len(waiting) > workers:
                whole.update(waiting.pop(0).result())
        for digest in waiting:
            whole.update(digest.result())
    return whole.hexdigest().encode()


def seal(file: IO[bytes]) -> None:
    """Put the checksum of everything before it in the place of the zeros that UNSEALED ends in."""
    end = file.seek(0, os.SEEK_END) - DIGITS
    digest = digest_of(file, end)
    file.seek(end)
    file.write(digest)


def verify(path: Path, file: IO[bytes]) -> None:
    """Raise `InputError` unless the file ends in the checksum of everything before it."""
    size = file.seek(0, os.SEEK_END)
    tail = len(COMMENT) + DIGITS
    if size > tail:
        file.seek(size - tail)
        if file.read(len(COMMENT)) == COMMENT:
            expected = file.read(DIGITS)
            if digest_of(file, size - DIGITS) == expected:
                return
            raise InputError(f"{path} is damaged: its checksum does not fit; use another copy")
    raise InputError(f"{path} is not a gpt_numpy checkpoint, or its end is missing")
