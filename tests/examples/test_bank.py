"""Hundreds of wrong answers: the grader names what is wrong, and hardly ever says anything else."""

import pytest

from tests.examples.bank import all_answers, verdict

NAMED, WRONG = 0.85, 0.02  # the least share named rightly, the largest named wrongly


def test_the_bank_is_large_and_without_doubles():
    entries = all_answers()
    assert len(entries) >= 250
    assert len({entry[:3] for entry in entries}) == len(entries)
    assert {entry[0] for entry in entries} >= {*map(str, range(1, 13)), "7a", "10a"}


def test_wrong_answers_are_named_and_not_misnamed():
    found = {"named": [], "unknown": [], "wrong": []}
    for entry in all_answers():
        kind, text = verdict(entry)
        found[kind].append((entry, text))
    total = sum(map(len, found.values()))
    shares = {kind: len(entries) / total for kind, entries in found.items()}
    assert shares["named"] >= NAMED, found["unknown"]
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
