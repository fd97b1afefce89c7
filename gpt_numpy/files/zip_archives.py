"""Zip archives from outside: opened only when their list of members can be trusted.

A small file may claim a million members, or members that expand to terabytes, that lie over one
another or that bear the same name twice. What is read here was stored without compression, so that
an archive never gives more bytes than it has.
"""

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

from gpt_numpy.base.errors import InputError

MAX_DIRECTORY = 1 << 20  # bytes of the list of members: 10,000 of them, GPT-2's largest has 600


class _Bounded:
    """A file that refuses to read much at once while its list of members is parsed."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.limit: int | None = MAX_DIRECTORY

    def read(self, size: int = -1) -> bytes:
        if self.limit is not None:
            if size < 0:  # to the end, to which there is not far when this is asked for
                size = os.fstat(self.file.fileno()).st_size - self.file.tell()
            if size > self.limit:
                raise InputError(f"its list of members has {size} bytes: at most {self.limit}")
        return self.file.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@contextmanager
def opened(file: IO[bytes]) -> Iterator[zipfile.ZipFile]:
    """The archive in a file: each member once, uncompressed, and none of them over another.

    Raises `InputError` when it has other members; `zipfile.BadZipFile` when it is no archive.
    """
    bounded = _Bounded(file)
    with zipfile.ZipFile(cast(IO[bytes], bounded)) as archive:
        bounded.limit = None
        _check_members(archive.infolist(), os.fstat(file.fileno()).st_size)
        yield archive


def start_of(file: IO[bytes], member: zipfile.ZipInfo) -> int:
    """Where in the file the content of a member starts, for whoever reads it without the archive.

    Raises `InputError` when there is no member at the place that the list says.
    """
    file.seek(member.header_offset)
    header = file.read(30)
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise InputError(f"its member {member.filename!r} is not where it should be")
    # After the fixed part come the name and an extra field, whose lengths stand at its end.
    lengths = int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little")
    start = member.header_offset + 30 + sum(lengths)
    if start + member.file_size > os.fstat(file.fileno()).st_size:
        raise InputError(f"its member {member.filename!r} goes beyond the end of the file")
    return start


def _check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    names: set[str] = set()
    end = 0
    for item in sorted(members, key=lambda item: item.header_offset):
        if item.filename in names:
            raise InputError(f"its member {item.filename!r} is there twice")
        names.add(item.filename)
        if item.compress_type != zipfile.ZIP_STORED or item.compress_size != item.file_size:
            raise InputError(f"its member {item.filename!r} is compressed, as none should be")
        if item.header_offset < end:
            raise InputError(f"its member {item.filename!r} lies over another one")
        # 30 bytes and the name are the least that stands before the content.
        end = item.header_offset + 30 + len(item.filename) + item.file_size
        if end > size:
            raise InputError(f"its member {item.filename!r} goes beyond the end of the file")
