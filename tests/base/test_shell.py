"""A printed command names the folder that it is about, whatever the terminal can show."""

import io
import os
import subprocess
import sys

import pytest

from gpt_numpy.base.shell import quoted
from tests.support.commands import ENVIRONMENT

posix = pytest.mark.skipif(os.name != "posix", reason="quotes as POSIX shells read them")
WORDS = ["run", "r s", "it's", "ä 字", "back\\slash é", "é'1", "é\n2", "-é"]


@posix
@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_a_shell_reads_back_the_word(word, encoding, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    typed = quoted(word)
    typed.encode(encoding)
    shell = ["bash", "-c", f"printf %s {typed}"]
    assert subprocess.run(shell, capture_output=True, check=True).stdout == os.fsencode(word)


@posix
def test_a_word_from_a_locale_without_its_letters(tmp_path):
    program = "import sys; from gpt_numpy.base.shell import quoted; print(quoted(sys.argv[1]))"
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", program, "ä 字"], env=ENVIRONMENT | ascii_only, capture_output=True
    )
    assert done.stdout.decode("ascii") == "$'\\xc3\\xa4 \\xe5\\xad\\x97'\n", done.stderr
