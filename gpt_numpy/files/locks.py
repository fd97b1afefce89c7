"""One run in one folder: a lock that the system takes back when its process ends, however it ends.

The lock is on an open file (flock; on Windows a locked byte), so it is never stale: what a killed
process leaves is a file that nobody holds. The file says who holds it, for people to read.
"""

import contextlib
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from gpt_numpy.base.errors import InputError

NAME = ".lock"
_FAR = 1 << 20  # on Windows a locked byte cannot be read; this one holds nothing


@contextlib.contextmanager
def locked(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of an existing folder; `say` is told if its file system has no locks.

    Raises
    ------
    InputError : another run holds it, or the folder cannot be written.
    """
    path = folder / NAME
    try:
        handle = _open(path)
    except OSError as error:
        raise InputError(
            f"out_dir={str(folder)!r}: cannot write there: {error.strerror or error}; "
            "choose another folder with --out_dir"
        ) from error
    if handle is None:
        raise InputError(
            f"out_dir={str(folder)!r}: another run is training there ({_holder(path)}): "
            "wait for its end, or choose another folder with --out_dir"
        )
    try:
        if handle < 0:
            say(f"{folder} is on a file system without locks: start no second run in it")
        yield
    finally:
        if handle >= 0:
            _give_back(path, handle)


def _open(path: Path) -> int | None:
    """A handle that holds the lock, None if somebody else does, -1 where there are no locks."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not _take(handle):
                os.close(handle)
                return None
            # The one before may have removed the file between our opening and our locking it.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), os.stat(path)):
                    os.ftruncate(handle, 0)
                    os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
                    return handle
            os.close(handle)
        except _NoLocksError:
            os.close(handle)
            with contextlib.suppress(OSError):
                os.unlink(path)
            return -1
        except OSError:
            os.close(handle)
            raise


class _NoLocksError(Exception):
    pass


def _take(handle: int) -> bool:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(handle, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        os.lseek(handle, 0, os.SEEK_SET)
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        raise _NoLocksError from None
    return True


def _give_back(path: Path, handle: int) -> None:
    """Remove the file while it is still held, so that nobody's lock is removed; Windows cannot."""
    with contextlib.suppress(OSError):
        if os.path.samestat(os.fstat(handle), os.stat(path)):  # else the folder was made anew
            os.unlink(path)
    os.close(handle)
    if sys.platform == "win32":
        with contextlib.suppress(OSError):
            os.unlink(path)


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")[:100] or "unknown"
    except OSError:
        return "unknown"
