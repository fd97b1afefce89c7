"""Open zip archives that somebody else wrote, if their list of members can be trusted.

A small file may list a million members, members that expand to terabytes, overlap, or share a name.
Only uncompressed members are accepted, so an archive never yields more bytes than it has.
"""

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

from gpt_numpy.base.errors import InputError

MAX_DIRECTORY = 1 << 20  # bytes of the list of members; enough for 10,000 (GPT-2 has 600 at most)


class _Bounded:
    """A file that refuses to read more than `limit` bytes at once, while that is not None."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.limit: int | None = MAX_DIRECTORY

    def read(self, size: int = -1) -> bytes:
        if self.limit is not None:
            if size < 0:  # read to the end; zipfile asks for that only near the end of the file
                size = os.fstat(self.file.fileno()).st_size - self.file.tell()
            if size > self.limit:
                raise InputError(f"its list of members has {size} bytes: limit {self.limit}")
        return self.file.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@contextmanager
def open_archive(file: IO[bytes]) -> Iterator[zipfile.ZipFile]:
    """The archive in a file, whose members are uncompressed, disjoint and of different names.

    Raises `InputError` for other members, `zipfile.BadZipFile` for something else than an archive.
    """
    bounded = _Bounded(file)
    with zipfile.ZipFile(cast(IO[bytes], bounded)) as archive:
        bounded.limit = None
        _check_members(archive.infolist(), os.fstat(file.fileno()).st_size)
        yield archive


def start_of(file: IO[bytes], member: zipfile.ZipInfo) -> int:
    """The offset of a member's content in the file, to read it without the archive's checksum.

    Raises `InputError` when the list of members is wrong about its place.
    """
    file.seek(member.header_offset)
    header = file.read(30)
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise InputError(f"its member {member.filename!r} is not where it should be")
    # The fixed part ends with the lengths of the name and of an extra field, which follow.
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
            raise InputError(f"its member {item.filename!r} occurs twice")
        names.add(item.filename)
        if item.compress_type != zipfile.ZIP_STORED or item.compress_size != item.file_size:
            raise InputError(f"its member {item.filename!r} is compressed, which is not read")
        if item.header_offset < end:
            raise InputError(f"its member {item.filename!r} overlaps another one")
        # At least a fixed part of 30 bytes and the name precede the content.
        end = item.header_offset + 30 + len(item.filename) + item.file_size
        if end > size:
            raise InputError(f"its member {item.filename!r} goes beyond the end of the file")
