"""The list of mutations fits the code, and the campaign tells what it finds."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpt_numpy.base.errors import InputError
from gpt_numpy.gradients.mutation import PACKAGE, mutated
from gpt_numpy.kernels.engine.machine_code import AMX, bfloat16_tile
from tests.mutations.__main__ import ALL, PARTS, matrix, summary
from tests.mutations.campaign import BROKEN, EQUIVALENT, KILLED, MISSED, SURVIVED, Verdict, campaign
from tests.mutations.checks import nodes
from tests.mutations.mistake import Mistake, edit

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("mistake", ALL, ids=lambda mistake: mistake.name)
def test_every_mutation_still_fits_the_code(mistake):
    ast.parse(mutated(mistake.mutation, PACKAGE))


def test_every_check_of_the_list_is_a_test_that_exists():
    wanted = {node for mistake in ALL for check in mistake.checks for node in nodes(check)}
    files = sorted({node.split("::")[0] for node in wanted})
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", *files],
        cwd=TESTS.parent, env=os.environ | {"PYTEST_ADDOPTS": ""}, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    found = {*collected, *(node.split("[")[0] for node in collected)}
    assert sorted(wanted - found) == []


def test_every_mutation_has_one_name_and_a_check_that_notices_it():
    names = [mistake.name for mistake in ALL]
    assert len(set(names)) == len(names)
    assert all(mistake.seen_by for mistake in ALL)
    # M01 to M40 and O1 to O9, of the list from which all began.
    assert {f"M{k:02}" for k in range(1, 41)} | {f"O{k}" for k in range(1, 10)} <= set(names)
    for mistake in ALL:
        if mistake.equivalent:
            assert len(mistake.equivalent) > 60, f"{mistake.name}: prove that it changes nothing"


def test_the_recorded_campaign_is_of_this_list():
    recorded = json.loads((PACKAGE / "gradients" / "recorded.json").read_text(encoding="utf-8"))[
        "mutations"
    ]
    for part, figures in recorded["parts"].items():
        again = f"run python -m tests.mutations --catalogue={part} --record"
        assert figures["mutations"] == len(PARTS[part]), again
        assert figures["killed"] + figures["equivalent"] == len(PARTS[part]), again
    for name in ("mutations", "in_kernels", "killed", "equivalent", "survived", "seconds"):
        assert recorded[name] == sum(part[name] for part in recorded["parts"].values())
    readme = (PACKAGE.parent / "README.md").read_text(encoding="utf-8")
    assert f"Of {recorded['mutations']:,} deliberate mistakes" in readme
    assert f"{recorded['killed']:,} are found" in readme


def test_every_layer_of_both_implementations_has_a_mutation():
    files = {p.relative_to(PACKAGE).as_posix() for p in PACKAGE.glob("[rk]e*/**/*.py")}
    files = {f for f in files if not f.endswith("__init__.py")}
    # How, not what.
    files -= {f"kernels/engine/{name}.py" for name in ("jit", "pool", "machine_code", "compiler")}
    covered = {mistake.mutation.path for mistake in ALL}
    files -= {"reference/tap.py", "kernels/products/prefetch.py", "kernels/products/tile_choice.py"}
    if bfloat16_tile() != AMX:  # nothing here can notice a mistake in its tiles
        files -= {"kernels/products/tile_amx.py"}
    assert (
        files
        | {"training/optimizer.py"}
        | {f"model/{name}.py" for name in ("gpt", "stages", "calls", "buffers")}
        <= covered
    )


def test_a_text_that_is_not_there_once_is_refused():
    for old in ("def", "no such text"):
        mutation = edit("X", "nothing", "reference/linear.py", old, "other")
        with pytest.raises(InputError, match=r"mutation X: its source occurs \d+ times"):
            mutated(mutation, PACKAGE)


GELU = "reference/activation.py"
RIGHT = "dx[...] = dout * (cdf + x * pdf)"


def test_the_campaign_tells_the_five_verdicts_apart(tmp_path):
    check = "pair:gelu"
    formats = tmp_path / "copy0" / "tests" / "interop" / "test_formats.py"
    said = []

    def say(text):
        said.append(text)
        if text.startswith("all pass"):  # from here on, a skipped test has not looked
            skip = "\n\npytestmark = pytest.mark.skip(reason='nothing is looked at')\n"
            formats.write_text(formats.read_text(encoding="utf-8") + skip, encoding="utf-8")

    same = RIGHT.replace("cdf + x * pdf", "x * pdf + cdf")
    mistakes = [
        Mistake(edit("A", "noticed", GELU, RIGHT, "dx[...] = dout * cdf"), (check,)),
        Mistake(edit("B", "changes nothing", GELU, RIGHT, same), (check,)),
        Mistake(edit("C", "the same, said so", GELU, RIGHT, same), (check,), equivalent="a + b"),
        Mistake(edit("D", "no program", GELU, RIGHT, "dx[...] = no_such_name"), (check,)),
        Mistake(
            edit("E", "the wrong check", GELU, RIGHT, "dx[...] = dout * cdf"),
            ("pair:relu", check),
        ),
        Mistake(
            edit("F", "its tests skip", GELU, RIGHT, "import pytest; pytest.skip('not here')"),
            (check,),
        ),
        next(mistake for mistake in ALL if mistake.name == "F60"),  # of tests that are skipped
    ]
    verdicts = list(campaign(mistakes, tmp_path, jobs=1, say=say))
    expected = [KILLED, SURVIVED, EQUIVALENT, BROKEN, MISSED, BROKEN, BROKEN]
    assert [v.verdict for v in verdicts] == expected
    assert [v.ok for v in verdicts] == [True, False, True, False, False, False, False]
    assert all("no verdict but skipped" in verdict.why for verdict in verdicts[5:])
    lines = matrix(verdicts[:6])
    assert lines[1].split() == ["pair"]
    assert lines[2].split() == ["A", "X"]
    assert lines[3].split() == ["B", ".", "SURVIVED"]


def test_the_summary_has_a_line_for_each_part():
    verdicts = [Verdict("Y01", KILLED, {}, 2.0), Verdict("S20", EQUIVALENT, {}, 3.0)]
    verdicts += [Verdict("Y02", SURVIVED, {}, 1.0), Verdict("M01", KILLED, {}, 4.4)]
    lines = [line.split() for line in summary(verdicts, 60)[2:]]
    assert lines[:4] == [
        ["backward", "1", "1", "0", "0", "4"],
        ["data", "2", "1", "0", "1", "3"],
        ["generation", "1", "0", "1", "0", "3"],
        ["all", "4", "2", "1", "1", "10"],
    ]
    assert sum(map(len, PARTS.values())) == len(ALL)


def test_the_campaign_does_not_begin_on_code_that_fails(tmp_path):
    change = edit("A", "noticed", GELU, RIGHT, "dx[...] = dout * cdf")
    with pytest.raises(InputError, match="does not pass on the unmutated code"):
        list(campaign([Mistake(change, ("pair:none",))], tmp_path, jobs=1, say=lambda text: None))
