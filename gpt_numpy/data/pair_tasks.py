"""Pairs of a source and a target that are made on the fly: copy, reverse, addition, date.

Every draw is a pure function of the seed, the stream and the index. A pair is one of training or
one of the test by a hash of what it is about (`PairTask.draw` says what that is), never by when it
was drawn: so no sequence of the test is ever trained on, however long training takes, and nothing
need be stored.
"""

import datetime
import hashlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from gpt_numpy.base.errors import InputError
from gpt_numpy.data.batches import random_words

_TEST_SHARE = 10  # one in so many
_DIGITS, _LETTERS = "0123456789", "abcdefghijklmnopqrstuvwxyz"
_MONTHS = (
    "January February March April May June July August September October November December".split()
)
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
_FIRST_DAY, _LAST_DAY = datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)
_MOST_TRIES = 100_000  # for one pair


class Example(NamedTuple):
    """A pair, and what it is about: pairs about the same thing are all trained on, or none is."""

    source: str
    target: str
    about: str


class PairTask(NamedTuple):
    """A kind of pairs: `draw(words, size)` makes one from random 64-bit words."""

    name: str
    characters: str
    size: int
    longest: tuple[int, int]  # characters of a source, and of a target
    draw: Callable[[Iterator[int], int], Example]


def pair_task(name: str, size: int = 0) -> PairTask:
    """The task of a name; `size` is its longest sequence, or its digits; 0: as usual.

    Raises `InputError` when the task has no size to choose, or the size is too small.
    """
    usual = {"copy": 10, "reverse": 12, "addition": 5, "date": 0}[name]
    if name == "date" and size:
        raise InputError(f"task_size={size}: dates have no size; leave it out")
    if name in ("copy", "reverse") and 0 < size < 4:
        raise InputError(
            f"task_size={size}: too few sequences to keep some for the test; use at least 4"
        )
    size = size or usual
    if name == "copy":
        return PairTask(name, _DIGITS, size, (size, size), _copy)
    if name == "reverse":
        return PairTask(name, _LETTERS, size, (size, size), _reverse)
    if name == "addition":
        return PairTask(name, "+" + _DIGITS, size, (2 * size + 1, size + 1), _addition)
    texts = "".join((*_MONTHS, *_DAYS)) + _DIGITS + " ,.-/"
    characters = "".join(sorted({*texts, *texts.lower()}))
    return PairTask(name, characters, 0, (len("wednesday, september 30, 2099"), 10), _date)


def draw_pairs(
    task: PairTask, count: int, *, seed: int, stream: int, index: int, test: bool
) -> list[tuple[str, str]]:
    """Pairs of training, or of the test; a pure function of all arguments."""
    words = random_words(seed, stream, index)
    found: list[tuple[str, str]] = []
    tries = 0
    while len(found) < count:
        example = task.draw(words, task.size)
        tries += 1
        if _is_test(example) == test:
            found.append((example.source, example.target))
            tries = 0
        elif tries > _MOST_TRIES:
            raise InputError(
                f"task_size={task.size}: {task.name} has too few different pairs; make it larger"
            )
    return found


def _is_test(example: Example) -> bool:
    digest = hashlib.sha256(example.about.encode()).digest()
    return int.from_bytes(digest[:8], "little") % _TEST_SHARE == 0


def _sequence(words: Iterator[int], alphabet: str, length: int) -> str:
    # A word of 64 bits holds several draws; their bias is at most 2^-28 for 12 letters.
    letters: list[str] = []
    while len(letters) < length:
        word = next(words)
        for _ in range(min(8, length - len(letters))):
            word, letter = divmod(word, len(alphabet))
            letters.append(alphabet[letter])
    return "".join(letters)


def _copy(words: Iterator[int], size: int) -> Example:
    """`size` digits, and the same again: the first task of the Annotated Transformer."""
    text = _sequence(words, _DIGITS, size)
    return Example(text, text, text)


def _reverse(words: Iterator[int], size: int) -> Example:
    """From size / 2 to size letters, and the same from the last to the first."""
    shortest = size // 2
    text = _sequence(words, _LETTERS, shortest + next(words) % (size - shortest + 1))
    return Example(text, text[::-1], text)


def _addition(words: Iterator[int], size: int) -> Example:
    """Two numbers of `size` digits, and their sum from its last digit on, as one adds on paper.

    Numbers have leading zeros, so that a digit's place says what it is worth: 12345+00678 is
    320310. a + b and b + a are about the same.
    """
    a, b = (int(_sequence(words, _DIGITS, size)) for _ in range(2))
    total = f"{a + b:0{size + 1}}"
    return Example(f"{a:0{size}}+{b:0{size}}", total[::-1], f"{min(a, b)}+{max(a, b)}")


def _date(words: Iterator[int], _: int) -> Example:
    """A day between 1900 and 2099 as people write it, and as ISO 8601 does."""
    days = (_LAST_DAY - _FIRST_DAY).days + 1
    date = _FIRST_DAY + datetime.timedelta(days=next(words) % days)
    month, weekday = _MONTHS[date.month - 1], _DAYS[date.weekday()]
    day, year = date.day, date.year
    forms = (
        f"{day} {month} {year}",
        f"{month} {day}, {year}",
        f"{weekday}, {month} {day}, {year}",
        f"{weekday} {day} {month} {year}",
        f"{day} {month[:3]} {year}",
        f"{month[:3]} {day}, {year}",
        f"{weekday[:3]} {day} {month[:3]} {year}",
        f"{day}.{date.month}.{year}",
        f"{year}/{date.month:02}/{day:02}",
    )
    choice, lower = divmod(next(words), 2)
    text = forms[choice % len(forms)]
    return Example(text.lower() if lower else text, date.isoformat(), date.isoformat())
