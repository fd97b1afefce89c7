"""Read files that somebody else wrote: bounded in size, and every failure an `InputError`."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from gpt_numpy.base.checks import shown
from gpt_numpy.base.errors import InputError

WRITABLE = "free disk space, or work in a folder that can be written"


@contextlib.contextmanager
def os_errors_as_input_errors(what: str, advice: str = "") -> Iterator[None]:
    """Turn an `OSError` in the block into an `InputError`: `what`, the reason, and `advice`."""
    try:
        yield
    except OSError as error:
        message = f"{what}: {error.strerror or error}"
        raise InputError(f"{message}; {advice}" if advice else message) from error


def is_open_pipe(path: str | Path) -> bool:
    """Whether a path is that of a pipe that this process holds open, as `<(command)` gives it."""
    return str(path).startswith(("/dev/", "/proc/")) and Path(path).is_fifo()


def read_bounded(path: Path, limit: int) -> bytes:
    """The content of a file; `InputError` if it has more than `limit` bytes."""
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise InputError(f"{path} has more than {limit} bytes, which is the limit")
    return data


def read_json(path: Path, limit: int) -> dict[str, Any]:
    """The object in a JSON file of at most `limit` bytes; `InputError` if there is none."""
    if not path.is_file():  # opening a pipe would wait for a writer
        raise InputError(f"there is no file {path}")
    data = read_bounded(path, limit)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:  # also bytes that are not UTF-8
        raise InputError(f"{path} is not JSON: {shown(str(error))}") from None
    if not isinstance(value, dict):
        raise InputError(f"{path} is not a JSON object")
    return value


def read_into(file: IO[bytes], view: memoryview) -> int:
    """Fill `view` from the file; the number of bytes that are missing at its end (normally 0)."""
    while len(view):
        count = file.readinto(view)  # type: ignore[attr-defined]
        if not count:
            break
        view = view[count:]
    return len(view)
