"""The log of a run: complete lines, and after a resume none twice and none of a lost future."""

import json
import os

import pytest

from gpt_numpy.base.errors import InputError
from gpt_numpy.training.log import LOG, Log

LINES = [
    {"iter": 0, "val_loss": 3.0},
    {"iter": 0, "sample": "a"},
    {"iter": 0, "loss": 3.0},
    {"iter": 4, "loss": 2.5},
    {"iter": 5, "val_loss": 2.0},
    {"iter": 5, "sample": "b"},
    {"iter": 5, "loss": 1.5},
    {"iter": 6, "loss": 1.4},
]


@pytest.fixture
def folder(tmp_path):
    log = Log(tmp_path)
    for line in LINES:
        log.write(**line)
    return tmp_path


def lines(folder):
    return [json.loads(line) for line in (folder / LOG).read_text(encoding="utf-8").splitlines()]


def test_lines_are_appended(folder):
    assert lines(folder) == LINES
    Log(folder).write(iter=7)
    assert lines(folder) == [*LINES, {"iter": 7}]
    Log(folder, {})
    assert lines(folder) == [*LINES, {"iter": 7}]


@pytest.mark.parametrize(
    ("iteration", "evaluated", "kept"),
    [(5, 0, 4), (5, 5, 6), (6, 5, 7), (7, 5, 8), (0, -1, 0), (0, 0, 2), (1, 0, 3)],
)
def test_resuming_drops_what_comes_after_the_checkpoint(folder, iteration, evaluated, kept):
    Log(folder, {"iteration": iteration, "evaluated": evaluated})
    assert lines(folder) == LINES[:kept]


def test_lines_that_a_crash_cut_off_are_dropped(folder):
    with open(folder / LOG, "ab") as file:
        file.write(b'[1]\n{"loss": 1}\n{"iter": null}\n\xff\n{"iter": 6, "lo')
    Log(folder, {"iteration": 99, "evaluated": 99})
    assert lines(folder) == LINES
    Log(folder / "none", {"iteration": 9, "evaluated": 9})
    assert not (folder / "none").exists()


def test_a_log_that_cannot_be_written_says_what_to_do(folder, monkeypatch):
    log = Log(folder)
    (folder / LOG).unlink()
    (folder / LOG).mkdir()
    with pytest.raises(InputError, match=r"log\.jsonl: Is a directory; free disk space, then"):
        log.write(iter=1)
    (folder / LOG).rmdir()
    Log(folder).write(iter=1)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match=r"cannot write .*log\.jsonl: No space left"):
        Log(folder, {"iteration": 9, "evaluated": 9})
    assert lines(folder) == [{"iter": 1}]


def test_a_folder_that_went_away_while_it_trained_is_named(folder):
    log = Log(folder / "run")
    with pytest.raises(InputError, match="was moved or removed while it trained; resume from"):
        log.write(iter=0)
