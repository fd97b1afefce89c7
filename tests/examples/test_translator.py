"""The four programs of the translator: they check their gradients, train, and answer."""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "translator"
STEMS = ("1_cross_attention", "2_encoder_decoder", "3_smoothing", "4_translator")


@pytest.fixture
def run(monkeypatch, capsys):
    def call(stem, *words):
        path = FOLDER / f"{stem}.py"
        monkeypatch.setattr(sys, "argv", [str(path), *words])
        return runpy.run_path(str(path), run_name="__main__"), capsys.readouterr().out

    return call


def test_each_program_stands_alone_and_answers_what_it_asks():
    assert sorted(FOLDER.glob("*.py")) == [FOLDER / f"{stem}.py" for stem in STEMS]
    for stem in STEMS:
        text = (FOLDER / f"{stem}.py").read_text(encoding="utf-8")
        assert len(text.splitlines()) < 160 and "from examples" not in text
        title, _, body = text.partition("\n")
        assert title.startswith(f'"""Translator {stem[0]}')
        questions = body.partition("Predict. ")[2].partition("\n\n    python")[0]
        asked = [line[0] for line in questions.splitlines() if line[1:3] == ". "]
        answered = re.findall(r'print\(\s*f?"(?:\\n)?(\d)\. ', body)
        assert len(asked) >= 2 and set(asked) == set(answered)
        assert "# Try" in body


def test_cross_attention_learns_to_look_from_the_end(run):
    names, out = run("1_cross_attention", "--max_iters=500")
    errors = [float(found) for found in re.findall(r"error (\S+)", out)]
    assert len(errors) == 5 and max(errors) < 1e-12
    assert names["right"] > 0.9
    assert (names["weights"].argmax(axis=1) == np.arange(6)[::-1]).sum() >= 4


@pytest.mark.parametrize("stem", STEMS[1:])
def test_a_program_trains_and_answers(run, stem):
    names, out = run(stem, "--max_iters=2", "--ops=reference")
    assert all(f"\n{k}. " in out for k in (1, 2)) and np.isfinite(names["loss"])
    if stem == STEMS[1]:
        assert names["error"] < 1e-12 and "head_loss_backward" in out
    if stem == STEMS[2]:
        assert np.abs(names["by_hand"] - names["exact"]).max() < 1e-14


def test_the_translator_reads_the_users_files(run, tmp_path):
    lines = [f"{k:04b}" for k in range(16)]
    for name, some in (("a", lines), ("b", [line[::-1] for line in lines])):
        (tmp_path / name).write_text("\n".join(some))
    files = (f"--source={tmp_path / 'a'}", f"--target={tmp_path / 'b'}")
    _, out = run("4_translator", *files, "--max_iters=2", "--ops=reference")
    assert "of 1 unseen sentences exactly right" in out
