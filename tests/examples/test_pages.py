"""The pages of the course: what they compute, the files and words that they name."""

import doctest
import re
from pathlib import Path

import numpy as np
import pytest

from examples.exercises.way import EXERCISES

FOLDER = Path(__file__).parents[2] / "examples"
GLOSSARY = (FOLDER / "GLOSSARY.md").read_text(encoding="utf-8")
README = (FOLDER / "README.md").read_text(encoding="utf-8")
ANSWERS = (FOLDER / "ANSWERS.md").read_text(encoding="utf-8")


def test_the_page_of_small_numbers_computes_what_it_shows():
    with np.printoptions():
        failed, tried = doctest.testfile(
            str(FOLDER / "TRANSFORMER.md"), module_relative=False, encoding="utf-8"
        )
    assert failed == 0 and tried >= 25


def rows(text):
    cells = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in cells if len(row) == 3]


def test_every_word_of_the_glossary_names_a_file_that_uses_it():
    found = rows(GLOSSARY)
    words = [row[0] for row in found if row[0] not in ("symbol", "word")]
    assert len(words) == len(set(words)) >= 80
    listed = words[words.index("ablation") :]
    assert listed == sorted(listed, key=lambda word: word.lower().replace("-", " "))
    for _, meaning, files in found:
        for name in re.findall(r"`([^`]+\.(?:py|md|ipynb))`", files):
            assert (FOLDER / name).is_file(), name
        assert meaning
    for word, _, files in found:
        name = re.search(r"`([^`]+)`", files)
        if word in listed and name and not name.group(1).endswith(".ipynb"):
            text = (FOLDER / name.group(1)).read_text(encoding="utf-8").lower()
            parts = re.split(r", | \(|\)", word.lower().replace("-", " "))
            text = re.sub(r"[-_\s]+", " ", text)
            assert any(part.strip()[:5] in text for part in parts if part), (word, name.group(1))


def test_every_program_that_promises_an_answer_has_one():
    ladder, translator = ANSWERS.split("## The ladder")[1].split("## The translator")
    for folder, answers in (("ladder", ladder), ("translator", translator)):
        promised = {
            path.stem.split("_")[0]
            for path in (FOLDER / folder).glob("[0-9]*.py")
            if "examples/ANSWERS.md" in path.read_text(encoding="utf-8").rpartition("# Try")[2]
        }
        assert promised == set(re.findall(r"(?m)^\*\*(\d+)\.\*\*", answers)) and len(promised) >= 4


@pytest.mark.parametrize(
    "word",
    [
        *("transformer", "causal", "self-attention", "autoregressive", "residual stream"),
        *("gradient descent", "dot product", "target"),
    ],
)
def test_the_words_of_the_field_are_in_glossary_and_ladder(word):
    ladder = " ".join(p.read_text(encoding="utf-8") for p in (FOLDER / "ladder").glob("*.py"))
    assert word in re.sub(r"[*\s]+", " ", ladder).lower() and word in GLOSSARY.lower()


def test_the_way_has_every_exercise_and_rung_once_and_in_order():
    way = README.partition("## The way")[2].partition("## The ladder")[0]
    asked = re.findall(r"(?<![\w.])(?:f\d|s1|\d+a?)(?= \(| and \d|,|\.| and f)", way)
    steps = re.findall(r"[Rr]ungs? (\d+)", way.split("14. Write")[0] + way.split("15. What")[1])
    assert steps == [str(k) for k in range(14)]
    exercises = []
    for sentence in re.findall(r"[Ee]xercises? ([^.;]*)[.;]", way):
        exercises += re.findall(r"\b(f\d|s1|\d+a?)\b(?![^(]*\))", sentence)
    assert exercises == list(EXERCISES), asked


def test_no_rung_answers_an_exercise_that_comes_after_it():
    """The exercise that a rung's lines solve stands before that rung in the way."""
    way = re.sub(r"\s+", " ", README.partition("## The way")[2].partition("## The ladder")[0])
    solved = {1: ("f1", "6", "8"), 2: ("1", "f3"), 3: ("f4", "7", "10"), 4: ("f5", "11")}
    solved |= {10: ("13",), 11: ("14",)}
    solved |= {5: ("2",), 7: ("5",), 8: ("9",), 9: ("4",)}
    order = re.findall(r"[Rr]ung (\d+)|(?:[Ee]xercises? |, |and |\) )(f\d|s1|\d+a?)(?=[ ,(.])", way)
    flat = [f"rung {rung}" if rung else exercise for rung, exercise in order]
    for rung, exercises in solved.items():
        for exercise in exercises:
            assert flat.index(exercise) < flat.index(f"rung {rung}"), (exercise, rung)
