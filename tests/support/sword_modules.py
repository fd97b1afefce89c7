"""Packages of Debian with modules of SWORD, and an apt-get that gives them."""

import hashlib
import io
import struct
import subprocess
import tarfile
import zlib
from pathlib import Path
from types import SimpleNamespace

from gpt_numpy.data import verses
from gpt_numpy.files.downloads import Pin

HEADINGS = ["", '<milestone n="$Rev$"/>', '<chapter n="1"/> <title>Genesis</title> ']


def files_of_testament(entries, a_block):
    """The three files of a testament, `a_block` entries in a block, as the format says."""
    numbers, blocks, compressed = b"", b"", b""
    for first in range(0, len(entries), a_block):
        text = b""
        for entry in entries[first : first + a_block]:
            data = entry.encode()
            numbers += struct.pack("<IIH", len(blocks) // 12, len(text), len(data))
            text += data
        packed = zlib.compress(text)
        blocks += struct.pack("<3I", len(compressed), len(packed), len(text))
        compressed += packed
    return {"bzv": numbers, "bzs": blocks, "bzz": compressed}


def package_of(files):
    """A .deb: an ar archive of three members, the last with the files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as archive:
        for path, content in files.items():
            info = tarfile.TarInfo(f"./{path}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.xz": b"odd",
        "data.tar.xz": packed.getvalue(),
    }
    out = b"!<arch>\n"
    for name, content in members.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode() + content
        out += b"\n" * (len(content) % 2)
    return out


def module_package(folder, old, new):
    parts = {"ot": files_of_testament(old, 3), "nt": files_of_testament(new, 2)}
    files = {
        f"{folder}/{t}.{kind}": data for t, part in parts.items() for kind, data in part.items()
    }
    return package_of({"usr/share/doc/copyright": b"public domain", **files})


def pinned(monkeypatch, english, spanish, pairs=None):
    """Pins of these two packages, and of the pairs in them; apt-get gives what is pinned."""
    content = {}
    for name, package, data in (
        ("ENGLISH", verses.ENGLISH, english),
        ("SPANISH", verses.SPANISH, spanish),
    ):
        pin = Pin(len(data), hashlib.sha256(data).hexdigest())
        monkeypatch.setattr(verses, name, package._replace(pin=pin))
        content[package.name] = package.filename, data
    if pairs is not None:
        data = "".join(f"{a}\t{b}\n" for a, b in pairs).encode()
        monkeypatch.setattr(verses, "PIN", Pin(len(data), hashlib.sha256(data).hexdigest()))
    return apt(monkeypatch, content)


def apt(monkeypatch, content, status=0, stderr=""):
    """Make apt-get write these files and exit; returns a list of the commands."""
    calls = []

    def run(command, *, cwd, **options):
        calls.append(command)
        name, _, _ = command[-1].partition("=")
        if name in content:
            filename, data = content[name]
            (Path(cwd) / filename).write_bytes(data)
        return SimpleNamespace(returncode=status, stderr=stderr)

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def packages_of(sources, targets):
    """The two packages with these verses, and the first two of them once more."""
    return [
        module_package(folder, [*HEADINGS, *texts], texts[:2])
        for folder, texts in ((verses.ENGLISH_MODULE, sources), (verses.SPANISH_MODULE, targets))
    ]


def pretend_verses(monkeypatch, pairs):
    """Make `verses` these pairs, from packages that apt-get gives."""
    packages = packages_of(*zip(*pairs, strict=True))
    return pinned(monkeypatch, *packages, [*pairs, *pairs[:2]])
