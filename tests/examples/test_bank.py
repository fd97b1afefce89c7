"""Hundreds of wrong answers: the grader names what is wrong, and hardly ever says anything else."""

import numpy as np
import pytest

from examples.exercises.grading import exercise_of, grade
from examples.exercises.way import EXERCISES
from tests.examples.bank import all_answers, verdict
from tests.examples.bank_held_out import HELD_OUT

NAMED, WRONG = 0.85, 0.02  # the least share named rightly, the largest named wrongly


def test_the_bank_is_large_and_without_doubles():
    entries = all_answers()
    assert len(entries) > 650  # as examples/README.md says
    assert len({entry[:3] for entry in entries}) == len(entries)
    assert {entry[0] for entry in entries} >= {*map(str, range(1, 19)), "7a", "10a"}


@pytest.mark.parametrize(
    ("entries", "least"), [(all_answers(), NAMED), (HELD_OUT, 0.55)], ids=["bank", "held out"]
)
def test_wrong_answers_are_named_and_not_misnamed(entries, least):
    found = {"named": [], "unknown": [], "wrong": []}
    for entry in entries:
        kind, text = verdict(entry)
        found[kind].append((entry, text))
    shares = {kind: len(some) / len(entries) for kind, some in found.items()}
    assert shares["named"] >= least, found["unknown"]
    assert shares["wrong"] <= WRONG, found["wrong"]


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        (("7", "dx", "out * dout", "log-softmax"), "wrong"),  # what it says is another mistake
        (("7", "dx", "out * (dout - total)", "."), "wrong"),  # it is right
        (("7", "dx", "np.sqrt(out) + x", "."), "unknown"),
        (("7", "dx", "out * dout", "sum.* is missing"), "named"),
    ],
)
def test_the_verdict_on_an_entry_can_be_each_of_three(entry, kind):
    assert verdict(entry)[0] == kind


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("P / n", "dout is left out; the term 1 at the target.* is missing; .1 times p in rows"),
        ("P", r"dout is left out; \+5 where \+1 belongs.*a factor 5, the number of targets that"),
        ("(P - Y) / 7", "dout is left out; it is divided by all 7 rows"),
        ("(logits - Y) * kept / n", "dout is left out; logits stand where probabilities belong"),
        ("(P * dout - Y) * kept / n", "counted from 0. dout is left out at the target"),
        ("0.37 * (P - Y) * kept", "counted from 0. the whole is -3.08"),  # that has no name
    ],
)
def test_a_single_dout_is_missed_next_to_another_mistake(answer, words):
    kind, text = verdict(("8", "dlogits", answer, words))
    assert kind == "named", text


@pytest.mark.parametrize("number", [n for n in EXERCISES if not n[0].isdigit()])
def test_no_known_mistake_stops_the_grader_alone_or_with_another(number, tmp_path, monkeypatch):
    """All of them are tried, in every case, on an answer that none explains."""
    given, _ = exercise_of(EXERCISES[number])

    def stray(**arrays):
        for name in given["outputs"](given["cases"][0]):
            arrays[name][...] = np.cos(np.arange(arrays[name].size)).reshape(arrays[name].shape)

    monkeypatch.setattr("examples.exercises.grading.load", lambda _: {given["ASKED"]: stray})
    rows = grade(EXERCISES[number], tmp_path / "mine.py").rows
    assert all("no known mistake gives these numbers" in row.diagnosis[-1] for row in rows)
