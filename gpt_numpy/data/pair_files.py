"""Pairs from the user's files: two text files, line by line, or gettext's catalogues."""

import os
from pathlib import Path

from gpt_numpy.base.checks import shown
from gpt_numpy.base.errors import InputError
from gpt_numpy.data.message_catalogues import read_catalogue
from gpt_numpy.files.reading import is_open_pipe, os_errors_as_input_errors

Pair = tuple[str, str]


def pairs_of_lines(source: str, target: str) -> list[Pair]:
    """A pair for each line of the two files.

    Raises `InputError` when one cannot be read, has an empty line, or they have unequal numbers.
    """
    sources, targets = _lines("source", source), _lines("target", target)
    if len(sources) != len(targets):
        raise InputError(
            f"source={source!r} has {len(sources)} lines, target={target!r} has {len(targets)}: "
            "line n of one is the translation of line n of the other; they must have equally many"
        )
    for name, path, lines in (("source", source, sources), ("target", target, targets)):
        for number, line in enumerate(lines, 1):
            if not line.strip():
                raise InputError(
                    f"{name}={path!r}: line {number} is empty: take it out, and line {number} of "
                    "the other file"
                )
    return list(zip(sources, targets, strict=True))


def _lines(name: str, path: str) -> list[str]:
    """The lines of a UTF-8 file, without their ends and white space around them."""
    given = f"{name}={path!r}"
    if not os.path.exists(path):
        raise InputError(f"{given}: there is no such file (in the folder {os.getcwd()})")
    if not os.path.isfile(path) and not is_open_pipe(path):
        raise InputError(f"{given} is not a regular file: name a text file, a sentence in a line")
    with os_errors_as_input_errors(f"{given} cannot be read"):
        content = Path(path).read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{given} is not UTF-8 at byte {error.start}: convert it to UTF-8 first"
        ) from None
    if not text.strip():
        raise InputError(f"{given} is empty: name a file with a sentence in each line")
    # Not splitlines, which also splits at characters that occur within sentences.
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    return [line.strip() for line in lines]


def pairs_of_catalogues(place: str) -> list[Pair]:
    """The plain messages of all .mo and .po files in a folder and below it, or of one file.

    A file of a programme's .mo and of its .po has the same messages: each pair counts once.

    Raises `InputError` when there is no such file, one is damaged, or none has plain messages.
    """
    root, given = Path(place), f"mo={shown(place)}"
    if not root.exists():
        raise InputError(f"{given}: there is no such file or folder (in the folder {os.getcwd()})")
    files = [root]
    if root.is_dir():
        files = sorted(path for path in root.rglob("*.[mp]o") if path.is_file())
    if not files or any(path.suffix not in (".mo", ".po") for path in files):
        raise InputError(
            f"{given} has no .mo or .po file: name a folder of one language, such as "
            "/usr/share/locale/es/LC_MESSAGES"
        )
    found: dict[Pair, None] = {}
    for path in files:
        for message, translation in read_catalogue(path):
            pair = (" ".join(message.split()), " ".join(translation.split()))
            if all(pair):
                found[pair] = None
    if not found:
        raise InputError(
            f"{given}: its {len(files)} file{'s' if len(files) > 1 else ''} hold no plain pair of "
            "a message and its translation: name the folder of another language"
        )
    return list(found)
