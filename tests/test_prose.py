"""Words that a reader stumbles over do not come back: a plain one is meant by each."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLAIN = {
    r"mend(s|ed|ing)?": "fix",
    r"foret(ell|ells|old)": "predict",
    r"whole numbers?": "integer",
    r"likeliest": "most likely",
    r"none such": "say what is missing",
    r"beside(s)?": "next to, in addition to",
    r"but for": "except",
    r"worked out": "computed",
    r"so many-th": "every n-th",
    r"it is none": "say what it is",
    r"room (for|to|in)": "memory, space",
    r"thereof|therein|whereof": "of it, in it",
    r"spoil(s|t|ed)?": "make wrong",
}
FOLDERS = ("gpt_numpy", "examples", "benchmarks", "tests")
FILES = [
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".md", ".js", ".html") and path != Path(__file__)
] + [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]


def retired(text):
    """The words of a text that have a plainer one, each with it."""
    return [
        f"{found.group(0)!r}: {plain}"
        for word, plain in PLAIN.items()
        for found in re.finditer(rf"(?i)(?<![\w.-]){word}(?![\w-])", text)
    ]


def test_a_retired_word_is_found():
    assert retired("Mend what lies beside it.") == [
        "'Mend': fix",
        "'beside': next to, in addition to",
    ]
    assert retired("amend the inside; mushroom for two") == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_plain_words(path):
    assert retired(path.read_text(encoding="utf-8")) == []
