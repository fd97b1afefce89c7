"""Messages and their translations in gettext's files, .mo (compiled) and .po (text).

Plain pairs are read: no header, no message with plural forms (its form depends on a number), none
in a context, and of a .po file nothing that is marked fuzzy or obsolete.

Source: the manual of GNU gettext, sections "The Format of GNU MO Files" and "The Format of PO
Files". The standard library's `gettext` reads a .mo file too, but hands out single messages, not
all that there are.
"""

import re
import struct
from collections.abc import Iterator
from pathlib import Path

from gpt_numpy.base.errors import InputError
from gpt_numpy.files.reading import os_errors_as_input_errors, read_bounded

FILE_LIMIT = 1 << 26  # bytes; the largest on a Linux desktop has some millions
_MAGIC = 0x950412DE
_CHARSET = re.compile(rb"charset=([\w.-]+)")
_STRING = re.compile(r'^(msgctxt|msgid_plural|msgid|msgstr(?:\[\d+\])?)?\s*"(.*)"\s*$')
_ESCAPE = re.compile(r'\\([abfnrtv"\\])')
_ESCAPES = dict(zip('abfnrtv"\\', '\a\b\f\n\r\t\v"\\', strict=True))


def read_catalogue(path: Path) -> list[tuple[str, str]]:
    """The plain messages of a .mo or .po file, each with its translation.

    Raises `InputError` when it is damaged, or its text is not of the character set it names.
    """
    with os_errors_as_input_errors(f"{path} cannot be read"):
        data = read_bounded(path, FILE_LIMIT)
    try:
        return list(_compiled(data) if path.suffix == ".mo" else _written(data))
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not {error.encoding} at byte {error.start}") from None
    except (struct.error, LookupError, ValueError) as error:
        what = "compiled messages" if path.suffix == ".mo" else "messages"
        raise InputError(f"{path} is not a file of gettext's {what}: {error}") from None


def _compiled(data: bytes) -> Iterator[tuple[str, str]]:
    """A .mo file: a header of seven numbers, then two tables of (length, place)."""
    order = "<" if data[:4] == struct.pack("<I", _MAGIC) else ">"
    magic, revision, count, originals, translations = struct.unpack_from(f"{order}5I", data)
    if magic != _MAGIC or revision >> 16 > 1:
        raise ValueError(f"it begins with {data[:8]!r}")
    if count > len(data) // 16:
        raise ValueError(f"it has {len(data)} bytes and names {count} messages")
    pairs = []
    for k in range(count):
        pair = []
        for table in (originals, translations):
            length, place = struct.unpack_from(f"{order}2I", data, table + 8 * k)
            if place + length > len(data):
                raise ValueError(f"message {k} lies beyond its end")
            pair.append(data[place : place + length])
        pairs.append(pair)
    encoding = _encoding(b"".join(header for message, header in pairs if not message))
    for message, translation in pairs:
        # \0 separates plural forms, \4 a context from its message.
        if message and translation and b"\0" not in message and b"\4" not in message:
            yield message.decode(encoding), translation.decode(encoding)


def _written(data: bytes) -> Iterator[tuple[str, str]]:
    """A .po file: entries of comments, msgid "..." and msgstr "...", each on lines of its own."""
    text = data.decode(_encoding(data[:4096])).removeprefix("\ufeff")
    entry: dict[str, str] = {}
    fuzzy, key = False, ""
    for line in [*text.replace("\r\n", "\n").split("\n"), ""]:
        found = _STRING.match(line.strip())
        if found and found[1] in ("msgid", "msgctxt") and "msgstr" in "".join(entry):
            yield from _plain(entry, fuzzy)
            entry, fuzzy = {}, False
        if found:
            key = found[1] or key
            if not key:
                raise ValueError(f"a string without a name: {line[:60]!r}")
            entry[key] = entry.get(key, "") + _ESCAPE.sub(lambda m: _ESCAPES[m[1]], found[2])
        elif not line.strip() or line.startswith("#"):
            if "msgstr" in "".join(entry):
                yield from _plain(entry, fuzzy)
                entry, fuzzy, key = {}, False, ""
            fuzzy |= line.startswith("#,") and "fuzzy" in line
        else:
            raise ValueError(f"neither a comment nor a string: {line[:60]!r}")
    yield from _plain(entry, fuzzy)


def _plain(entry: dict[str, str], fuzzy: bool) -> Iterator[tuple[str, str]]:
    if entry.keys() == {"msgid", "msgstr"} and all(entry.values()) and not fuzzy:
        yield entry["msgid"], entry["msgstr"]


def _encoding(header: bytes) -> str:
    found = _CHARSET.search(header)
    name = found[1].decode("ascii") if found else "utf-8"
    return "utf-8" if name == "CHARSET" else name  # a template that nobody has filled in
