"""The grader, broken on purpose: a part of the bank notices each mistake in it."""

import types
from pathlib import Path

import pytest

from examples.exercises import grading, terms
from tests.examples.bank import verdict

A, X, R = "along_ones", "along_xhat", "rstd[..., None]"
PART = [
    ("1", "dweight", "x.T @ dout / 5", "divided once too often by the number of rows, 5"),
    ("1", "dweight", "x.T @ np.ones_like(dout)", "dout is left out: x.T @ 1"),
    ("2", "dx", "dout * (x < 0)", r"is missing; \+1 times dout where x <= 0 is there"),
    ("4", "dx", "dout * keep", r"1 / \(1 - rate\) is missing"),
    ("7", "dx", "out * (dout + total)", r"\+1 where -1 belongs, before out \* sum.*sign"),
    ("7", "dx", "2 * out * (dout - total)", r"whole is 2 times what it should be \(twice\)"),
    ("7", "dx", "dout - total", "^(?!.*row sum).*the factor out is missing$"),
    ("7", "dx", "np.sqrt(out) * (dout - out)", "no known"),
    ("9", "dx", f"(dxhat - {A} - xhat * {X}) * {R}**2", "rstd is one factor too many$"),
    ("9", "dx", f"(dxhat - {A} - 7 * xhat * {X}) * {R}", "-7 where -1 .*7, the number of channels"),
    ("9", "dx", f"(dxhat - {A}) * {R} - xhat * {X}", r"factor rstd is missing in rstd \* xhat"),
    ("9", "dx", f"(dxhat - {X} - xhat * {A}) * {R}", "stands where mean.*xhat in the mean is"),
    ("3", "dx", "dx.astype('float32')", "right to [78] digits"),
    ("3", "dx", "dout", "dout itself"),
]
MUTANTS = [
    ("abs(c - right) < SAME or abs(c) < SAME or not right", "True"),
    ("deviation > MATCH * np.abs(hand).max()", "deviation > np.abs(hand).max()"),
    ("singular[-1] * LARGEST_CONDITION < singular[0] or", "True or"),
    ("for power, words in _MISTAKEN_POWERS.items() if len(having) > 1 else ():", "for _ in ():"),
    ("np.asarray(coefficients / sizes)", "np.asarray(coefficients)"),
    ("    if not term.coefficient:\n", "    if False:\n"),
    ('"the sign": ": the sign is wrong"', '"the sign": ""'),
    ("    yield from _pairs(single)\n", ""),
    ("alike and abs(ratios[0] - 1) > SAME", "False"),
    ("return min(found, key=lambda pair: pair[0])[1]", "return max(found, key=lambda p: p[0])[1]"),
    ('yield f"{words.format(name)} in {term.text}", term.array * factor**power', "yield from ()"),
    (
        "    for name, n in numbers.items():\n        for power",
        "    for name, n in ():\n        for power",
    ),
]


def test_this_part_of_the_bank_is_named_by_the_grader_as_it_is():
    for entry in PART:
        kind, text = verdict(entry)
        assert kind == ("unknown" if entry[3] == "no known" else "named"), (entry, text)


@pytest.mark.parametrize(("old", "new"), MUTANTS, ids=lambda text: text.strip()[:40])
def test_a_mistake_in_the_grader_is_noticed(old, new, monkeypatch):
    source = Path(terms.__file__).read_text(encoding="utf-8")
    assert source.count(old) == 1, source.count(old)
    mutant = types.ModuleType("mutant")
    exec(compile(source.replace(old, new), terms.__file__, "exec"), mutant.__dict__)
    monkeypatch.setattr(grading, "explain", mutant.explain)
    for entry in PART:
        kind, _ = verdict(entry)
        if kind != ("unknown" if entry[3] == "no known" else "named"):
            return
    raise AssertionError("nothing noticed it")


def test_an_unchanged_copy_of_the_grader_is_not_noticed(monkeypatch):
    with pytest.raises(AssertionError, match="nothing noticed it"):
        test_a_mistake_in_the_grader_is_noticed(
            "import itertools\n", "import itertools  # unchanged\n", monkeypatch
        )
