"""The bar, the lines above it and the time left."""

import io
import re
import subprocess
import sys

import pytest

from gpt_numpy.base.progress import Progress, duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_time_left_is_for_people():
    said = [duration(s) for s in (0.2, 59.4, 59.6, 125, 3600, 12_000, 86_400 * 9)]
    assert said == ["0 s", "59 s", "1 min 00 s", "2 min 05 s", "1 h 00 min", "3 h 20 min", "9 days"]


def count_to_ten(progress):
    with progress:
        assert progress.left() == "unknown time"
        for i in range(4, 10):
            progress.say(f"iter {i}")
            progress.advance()
    assert progress.left() == "0 s"


def test_the_pace_is_that_of_all_units_but_the_first(monkeypatch):
    clock = iter([100.0, 103.0])  # when the first unit was done, and at the question
    monkeypatch.setattr("gpt_numpy.base.progress.time.perf_counter", lambda: next(clock))
    with Progress(10) as progress:
        for _ in range(4):
            progress.advance()
        assert progress.left() == "6 s"  # three units took three seconds, six are left


LINES = [f"iter {i}" for i in range(4, 10)]


def test_lines_on_a_terminal_are_whole_above_the_bar(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", screen)
    count_to_ten(Progress(10, done=4))
    shown = [re.split(r"\r|\x1b\[K", line)[-1] for line in screen.getvalue().split("\n")]
    assert [line for line in shown if line.startswith("iter")] == LINES
    assert "/10" in screen.getvalue() and "it/s" in screen.getvalue()


def test_lines_in_a_file_are_whole_while_the_bar_is_on_the_terminal(monkeypatch):
    file, screen = io.StringIO(), Terminal()
    monkeypatch.setattr(sys, "stdout", file)
    monkeypatch.setattr(sys, "stderr", screen)
    count_to_ten(Progress(10, done=4))
    assert file.getvalue().splitlines() == LINES
    assert "/10" in screen.getvalue() and "iter" not in screen.getvalue()


@pytest.mark.parametrize("stderr", [io.StringIO(), None], ids=["a file", "closed"])
def test_there_is_no_bar_without_a_terminal(capsys, monkeypatch, stderr):
    monkeypatch.setattr(sys, "stderr", stderr)
    progress = Progress(10, done=4)
    assert not progress.terminal
    count_to_ten(progress)
    assert capsys.readouterr().out.splitlines() == LINES
    assert stderr is None or stderr.getvalue() == ""


def test_tqdm_is_imported_only_for_a_bar():
    code = "import sys, gpt_numpy.base.progress; print('tqdm' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
