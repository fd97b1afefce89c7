"""A disk that records every call that changes it, fails at one, or forgets as disks do.

`Disk` stands between `gpt_numpy.files.durable` and `os`, and passes everything on. `states` yields
what may be found if the power fails after the last of the calls: data that was not flushed is
missing, half there or zeros, and of the names given since the folder was flushed only the first few
are there.
"""

import contextlib
import io
import os
import stat
from pathlib import Path
from unittest import mock

from gpt_numpy.files import durable

CALLS = ("replace", "link", "unlink", "fsync")


class Disk:
    """Notes the calls on files below `folder`; number `fail_at` (from 0) raises `error` instead."""

    def __init__(self, folder, fail_at=-1, error=28):
        self.folder, self.fail_at, self.error = str(folder), fail_at, error
        self.calls = []
        self.paths = {}  # of open files, by their handles
        self.real = {name: getattr(os, name) for name in CALLS}

    def note(self, kind, *details):
        """A call is about to be made."""
        self.calls.append((kind, *details))
        if len(self.calls) - 1 == self.fail_at:
            raise OSError(self.error, os.strerror(self.error))

    @contextlib.contextmanager
    def between(self):
        """Be there meanwhile."""
        with contextlib.ExitStack() as stack:
            for name in CALLS:
                stack.enter_context(mock.patch.object(os, name, getattr(self, name)))
            stack.enter_context(mock.patch.object(durable, "open", self.open, create=True))
            yield self

    def open(self, path, mode):
        """A file whose every single write passes through `note`."""
        if mode == "rb":
            return open(path, mode)
        self.note("create", str(path))  # or emptied, where it exists and the mode says so
        return io.BufferedRandom(_File(str(path), mode.replace("b", ""), self))

    def replace(self, source, target):
        self.note("replace", str(source), str(target))
        self.real["replace"](source, target)

    def link(self, source, target):
        self.note("link", str(source), str(target))
        self.real["link"](source, target)

    def unlink(self, path, **keywords):
        if str(path).startswith(self.folder):
            self.note("unlink", str(path))
        self.real["unlink"](path, **keywords)

    def fsync(self, handle):
        folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        self.note("flush folder" if folder else "flush", self.paths.get(handle))
        # It is not passed on: that takes milliseconds, and the power stays on.


class _File(io.FileIO):
    def __init__(self, path, mode, disk):
        super().__init__(path, mode)
        self.path, self.disk = path, disk
        disk.paths[self.fileno()] = path

    def write(self, data):
        self.disk.note("write", self.path, self.tell(), bytes(data))
        return super().write(data)

    def truncate(self, size=None):
        self.disk.note("truncate", self.path, self.tell() if size is None else size)
        return super().truncate(size)


def states(before, calls):
    """Every content that the folder may have after a crash behind the last of `calls`.

    `before` : name -> content, all of it safely on the disk. Each state is such a dictionary.
    """
    written = dict(enumerate(before.values()))  # file number -> content
    safe = dict(written)  # what the disk surely has of it
    names = [dict(zip(before, written, strict=True))]  # since the last flush of the folder
    numbers = {}  # of the files that were opened, by the names that they had then
    for kind, *details in calls:
        now = dict(names[-1])
        number = numbers.get(details[0])
        if kind == "create":
            number = now.get(_name(details[0]), len(written))
            numbers[details[0]] = now[_name(details[0])] = number
            safe.setdefault(number, b"")
            written[number] = b""
        elif kind == "write":
            place, data = details[1:]
            content = written[number].ljust(place, b"\0")
            written[number] = content[:place] + data + content[place + len(data) :]
        elif kind == "truncate":
            written[number] = written[number][: details[1]].ljust(details[1], b"\0")
        elif kind == "flush":
            safe[number] = written[number]
        elif kind == "flush folder":
            names = [now]
        elif kind == "replace":
            source = now.pop(_name(details[0]))
            if now.get(_name(details[1])) == source:  # two names of one file: nothing happens
                now[_name(details[0])] = source
            now[_name(details[1])] = source
        elif kind == "link":
            now[_name(details[1])] = now[_name(details[0])]
        elif kind == "unlink":
            now.pop(_name(details[0]), None)
        if now != names[-1]:
            names.append(now)
    yield {name: written[number] for name, number in names[-1].items()}  # only the process died
    for there in names:
        for forget in (_missing, _half, _zeros):
            yield {
                name: written[n] if safe[n] == written[n] else forget(safe[n], written[n])
                for name, n in there.items()
            }


def _name(path):
    return Path(path).name


def _missing(safe, written):
    return safe


def _half(safe, written):
    return written[: len(written) // 2]


def _zeros(safe, written):
    return bytes(len(written))
