"""What the grader names next, and in which order it reports steps and axes."""

import re

from examples.exercises.grading import HERE, grade
from examples.exercises.way import EXERCISES, ORDER, WAY, after
from tests.examples.bank import answered


def test_the_way_is_that_of_the_readme():
    """Exercises and rungs are in its order; what lies between is named before the next."""
    way = (HERE.parent / "README.md").read_text(encoding="utf-8")
    way = way.partition("## The way")[2].partition("\n## ")[0].partition("**An evening.**")[2]
    exercise = r"(?<=xercise )[fs]?\d+a?\b|(?<=xercises )[^.:]*"
    found = []
    for step in re.findall(rf"{exercise}|\bRung \d+", " ".join(way.split())):
        step = re.sub(r"\([^)]*\)", "", step)
        found += [step.lower()] if "Rung" in step else re.findall(r"\b[fs]?\d+a?\b", step)
    ours = [name.split("_")[0].lstrip("0") if name in ORDER else name for name in WAY]
    assert found == [name for name in ours if name in EXERCISES or name.startswith("rung")]
    assert after("8") == "rung 1, then exercise f3"
    assert after("1") == "exercise f2"
    assert after("s1").startswith("the rest of the notebook on optimisers, the notebook on back")
    assert after([*EXERCISES][-1]) == "translator 3, translator 4, the package itself"


def test_atomic_steps_are_reported_in_the_order_of_backward(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(answered("7a", "!de[...] = dout / total; dx[...] = de * e", ""), "utf-8")
    rows = grade("07a_softmax_steps", path).rows
    assert [row.name for row in rows] == ["dinverse", "dtotal", "de", "dx"]
    assert [row.ok for row in rows] == [True, True, False, False]
    assert rows[3].diagnosis == ("follows from your de, and is right for that: fix de first",)


def test_places_are_named_by_the_axes_of_the_exercise(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(answered("10a", "!dweights[:, 1:3, 2] = 0", ""), "utf-8")
    first = grade("10a_attention_steps", path).rows[0]
    assert first.name == "dweights" and "all of queries 1-2, key 2" in first.diagnosis[0]
    path.write_text(answered("10a", "!dweights[:, 1:3, 2:4] += 1", ""), "utf-8")
    first = grade("10a_attention_steps", path).rows[0]
    assert "all of queries 1-2, keys 2-3" in first.diagnosis[0]


def test_the_scenes_that_the_way_names_are_those_of_the_page():
    """Forward ends with the twelfth; three of the way back are about attention."""
    parts = HERE.parents[1] / "gpt_numpy" / "inspection" / "page" / "parts"
    texts = [(parts / f"scenes_{way}ward.js").read_text("utf-8") for way in ("for", "back")]
    places = [re.findall(r"^  \{ place: \"(\w+)\", question:", text, re.M) for text in texts]
    assert (len(places[0]), places[0][-1]) == (12, "loss")
    of_attention = [k for k, place in enumerate(sum(places, []), 1) if place == "attention"]
    assert [k for k in of_attention if k > 12] == [19, 20, 21]
    way = " ".join((HERE.parent / "README.md").read_text("utf-8").split())
    assert "stop at scene 12" in way and "scenes 19 to 21" in way
