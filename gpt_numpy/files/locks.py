"""One run per folder: a lock that the system releases when its process ends, however it ends.

The lock is on an open file (flock; on Windows a locked byte), so it is never stale: a killed
process leaves a file that nobody holds. The file names its holder, for people to read.
"""

import contextlib
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from gpt_numpy.base.errors import InputError
from gpt_numpy.files.reading import os_errors_as_input_errors

NAME = ".lock"
_FAR = 1 << 20  # Windows cannot read a locked byte: lock one beyond the content


@contextlib.contextmanager
def locked(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of an existing folder; `say` reports a file system that has no locks.

    Raises `InputError` when another run holds it, or the folder cannot be written.
    """
    path = folder / NAME
    advice = "choose another folder with --out_dir"
    with os_errors_as_input_errors(f"out_dir={str(folder)!r}: cannot write there", advice):
        handle = _open(path)
    if handle is None:
        holder = ""
        with contextlib.suppress(OSError):
            holder = path.read_text(encoding="utf-8", errors="replace")[:100]
        raise InputError(
            f"out_dir={str(folder)!r}: another run is training there ({holder or 'unknown'}): "
            f"wait until it ends, or {advice}"
        )
    try:
        if handle < 0:
            say(f"{folder} is on a file system without locks: do not start a second run in it")
        yield
    finally:
        if handle >= 0:
            _release(path, handle)


def _open(path: Path) -> int | None:
    """A handle that holds the lock; None if another process holds it; -1 without locks."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            held = _lock(handle)
            # The previous holder may have removed the file after it was opened here.
            with contextlib.suppress(FileNotFoundError):
                if held and os.path.samestat(os.fstat(handle), os.stat(path)):
                    os.ftruncate(handle, 0)
                    os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
                    return handle
        except OSError:
            os.close(handle)
            raise
        os.close(handle)
        if held is None:
            with contextlib.suppress(OSError):
                os.unlink(path)
            return -1
        if not held:
            return None


def _lock(handle: int) -> bool | None:
    """Whether the lock is free, and now held; None on a file system without locks."""
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
        return None
    return True


def _release(path: Path, handle: int) -> None:
    """Remove the file while it is still locked, so that nobody else's is removed."""
    with contextlib.suppress(OSError):
        if os.path.samestat(os.fstat(handle), os.stat(path)):  # else it is another folder by now
            os.unlink(path)
    os.close(handle)
    if sys.platform == "win32":
        with contextlib.suppress(OSError):
            os.unlink(path)
