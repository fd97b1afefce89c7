"""Write files atomically, and seal them with a checksum of all their bytes.

A file is written under a temporary name in the same folder, flushed to disk and renamed, so there
is always either the old file or the new one. Then the folder is flushed, where the system can.

The checksum is the SHA-256 of the SHA-256 digests of all 4 MiB blocks; hashing blocks lets two
cores share the work.
"""

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from gpt_numpy.base.errors import InputError

TEMPORARY = ".partial-"
BLOCK = 4 * 2**20
DIGITS = 64
COMMENT = b"sha256 of sha256 of 4 MiB blocks: "
UNSEALED = COMMENT + b"0" * DIGITS  # the end of a file before `seal`


@contextlib.contextmanager
def written_durably(path: Path) -> Iterator[IO[bytes]]:
    """A new file that is flushed to disk and replaces `path` if the block ends without an error.

    Raises `FileExistsError` if `path` is a device, a pipe or a folder: root may replace /dev/null.
    """
    if path.exists() and (not path.is_file() or _is_a_handle(path)):
        raise FileExistsError(errno.EEXIST, "it exists and is not a regular file", str(path))
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


def _is_a_handle(path: Path) -> bool:
    # /dev/stdout is a link, by way of /proc, to what may be a regular file: it would be replaced.
    return path.is_symlink() and os.path.abspath(path).startswith(("/dev/", "/proc/"))


def _flush_folder(folder: Path) -> None:
    # A rename is safe only once the folder is on disk; Windows cannot open a folder to flush it.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            _flush(handle)
        finally:
            os.close(handle)


def _flush(handle: int) -> None:
    """Wait until the data is on disk; on macOS fsync may leave it in the drive's cache."""
    if sys.platform == "darwin":
        import fcntl

        with contextlib.suppress(OSError):  # a file system without this request
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
            return
    os.fsync(handle)


def preserve(path: Path, name: str) -> None:
    """Keep a file that is about to be replaced under a second name, which may exist already.

    Until then both names are hard links to one file, or copies where there are no hard links.
    """
    target, temporary = path.parent / name, path.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        os.link(path, temporary)
    except OSError:
        with open(path, "rb") as source, written_durably(target) as file:
            shutil.copyfileobj(source, file, BLOCK)
        return
    try:
        os.replace(temporary, target)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # os.replace leaves it if both names were the same file


def remove_leftovers(folder: Path) -> None:
    """Remove the partial files that a killed process left behind."""
    for path in folder.glob(f"{TEMPORARY}*"):
        with contextlib.suppress(OSError):
            path.unlink()


def digest_of(file: IO[bytes], size: int) -> bytes:
    """The checksum of the first `size` bytes, as hexadecimal digits."""
    reading = threading.Lock()

    def sha256_of_block(start: int) -> bytes:
        with reading:
            file.seek(start)
            data = file.read(min(BLOCK, size - start))
        return hashlib.sha256(data).digest()

    with ThreadPoolExecutor(2) as pool:
        digests = b"".join(pool.map(sha256_of_block, range(0, size, BLOCK)))
    return hashlib.sha256(digests).hexdigest().encode()


def seal(file: IO[bytes]) -> None:
    """Replace the zeros at the end of UNSEALED by the checksum of everything before them."""
    end = file.seek(0, os.SEEK_END) - DIGITS
    digest = digest_of(file, end)
    file.seek(end)
    file.write(digest)


def verify(path: Path, file: IO[bytes]) -> None:
    """Raise `InputError` unless the file ends in the checksum of everything before it."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - len(UNSEALED), 0))
    end = file.read(len(UNSEALED))
    if size <= len(UNSEALED) or not end.startswith(COMMENT):
        raise InputError(f"{path} is not a gpt_numpy checkpoint, or its end is missing")
    if digest_of(file, size - DIGITS) != end[len(COMMENT) :]:
        raise InputError(f"{path} is damaged: its checksum does not match; use another copy")
