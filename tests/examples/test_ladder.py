"""The seven programs of the ladder: their gradients, their losses, their texts and output."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.base.cache_folder import cache_folder
from tests.support.formulas import execute, formulas

ROOT = Path(__file__).parents[2]
RUNGS = sorted((ROOT / "examples" / "ladder").glob("[1-9]_*.py"))
CHARACTERS, ORDER = "abcdefgh\n", 2


def chain(length, seed=0):
    """A text in which each character depends on the one before, and the probabilities."""
    rng = np.random.default_rng(seed)
    n = len(CHARACTERS)
    table = rng.dirichlet(np.full(n, 0.3), n) * 0.9 + 0.1 / n
    text, state = [], 0
    for u in rng.random(length):
        state = min(int((np.cumsum(table[state]) < u).sum()), n - 1)
        text.append(state)
    return np.array(text), table


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("ladder") / "chain.txt"
    path.write_text("".join(CHARACTERS[i] for i in chain(20_000)[0]), encoding="utf-8")
    return path


@pytest.fixture
def climb(data, monkeypatch):
    def run(path, *words):
        monkeypatch.setattr(sys, "argv", [str(path), f"--data={data}", *words])
        return runpy.run_path(str(path), run_name="__main__")

    return run


def test_there_are_seven_short_programs():
    assert [path.stem for path in RUNGS] == [
        "1_bigram",
        "2_head",
        "3_heads",
        "4_feed_forward",
        "5_residual",
        "6_layer_norm",
        "7_gpt",
    ]
    for path in RUNGS:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) < (100 if int(path.stem[0]) <= 4 else 180), path
        text = "\n".join(lines)
        assert "Forward" in text and "Backward" in text and "# Try: " in text
        assert "import examples" not in text and "from examples" not in text  # it stands alone


@pytest.mark.parametrize("path", RUNGS, ids=lambda path: path.stem)
def test_a_rung_checks_its_gradients_learns_and_writes(path, climb, capsys):
    names = climb(path, "--max_iters=40")
    out = capsys.readouterr().out
    assert out.count("gradient of ") == len(names["params"])
    errors = [float(line.split()[-1]) for line in out.splitlines() if "gradient of" in line]
    assert max(errors) < 1e-12
    assert 0 < names["loss"] < 0.97 * np.log(len(CHARACTERS)) or path.stem == "1_bigram"
    assert len(names["text"]) == 301
    assert f"the lecture: {names['PUBLISHED']}" in out.splitlines()[-1]


# A line of each backward, and a mistake in it.
BROKEN = {
    "1_bigram": ("np.add.at(dtable, tokens, dlogits)", "dtable[tokens] += dlogits"),
    "2_head": ("1 / targets.size", "1 / len(targets)"),
    "3_heads": ('a["att"], a["att_lse"], d["qkv"])', 'a["att"] * 0, a["att_lse"], d["qkv"])'),
    "4_feed_forward": ('relu_backward(d["act"], a["fc"]', 'relu_backward(d["act"], d["act"]'),
    "5_residual": ('    d["x"] += d["mid"]\n', ""),
    "6_layer_norm": (
        'norm_backward("ln2", d["n2"], a["mid"]',
        'norm_backward("ln2", d["n2"], a["x"]',
    ),
    "7_gpt": (
        'dropout_backward(d["mid"], drop(site + 2)',
        'dropout_backward(d["mid"], drop(site + 3)',
    ),
}


@pytest.mark.parametrize("path", RUNGS, ids=lambda path: path.stem)
def test_a_broken_backward_is_not_let_through(path, climb, tmp_path):
    old, new = BROKEN[path.stem]
    source = path.read_text(encoding="utf-8")
    code = source.rpartition('"""\n\nimport argparse')[2]  # the text above may quote the line
    assert code.count(old) == 1
    broken = tmp_path / "broken.py"
    broken.write_text(source.replace(code, code.replace(old, new)), encoding="utf-8")
    with pytest.raises(AssertionError, match="the backward is wrong"):
        climb(broken, "--max_iters=0")


def test_the_bigram_reaches_the_lowest_possible_loss(climb):
    """The lowest possible loss is that of the true probabilities, on the same split."""
    names = climb(RUNGS[0], "--max_iters=2000")
    text, table = chain(20_000)
    val = text[int(0.9 * len(text)) :]
    least = -np.log(table[val[:-1], val[1:]]).mean()
    assert least - 0.01 < names["loss"] < least + 0.03


TEXTS = [path.read_text(encoding="utf-8").split('"""')[1] for path in RUNGS]


@pytest.mark.parametrize("number", range(1, 8))
def test_the_formulas_of_a_text_are_lines_of_its_program_or_hold(number):
    code = RUNGS[number - 1].read_text(encoding="utf-8").split('"""', 2)[2]
    own = [line for line in formulas(TEXTS[number - 1]) if line not in code]
    assert (len(own) > 0) == (number >= 5), own
    rng = np.random.default_rng(0)
    x, dout, matrix = rng.standard_normal(6), rng.standard_normal(6), rng.standard_normal((6, 6))
    names = {"x": x, "dout": dout, "weight": rng.standard_normal(6), "bias": rng.standard_normal(6)}
    names |= {"keep": rng.integers(0, 2, 6), "rate": 0.3, "branch": lambda x: np.tanh(x @ matrix)}
    names["through_the_branch"] = dout @ execute([], {})[0]["jacobian"](names["branch"], x)
    found, _ = execute(own, names)
    if number >= 5:  # one pair of forward and backward: its out is a function of x
        forward = [line for line in own if not line.startswith("d")]
        exact = dout @ found["jacobian"](
            lambda moved: execute(forward, names | {"x": moved})[0]["out"], x
        )
        np.testing.assert_allclose(found["dx"], exact, rtol=1e-10, atol=1e-12)


def test_all_of_them_in_a_table(data):
    command = [sys.executable, "-m", "examples.ladder", f"--data={data}", "--max_iters=1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=120)
    assert done.returncode == 0, done.stderr
    table = done.stdout[done.stdout.index("rung  ") :].splitlines()
    assert [line.split()[0] for line in table[1:8]] == [path.stem for path in RUNGS]
    assert all(len(line.split()) == 5 for line in table[1:8])


def test_a_word_that_is_no_argument_is_refused(climb, capsys):
    with pytest.raises(SystemExit):
        climb(RUNGS[0], "--steps=3")
    assert "--steps=3" in capsys.readouterr().err
    with pytest.raises(gn.InputError):
        climb(RUNGS[0], "--data=nowhere.txt")


def test_a_text_that_comes_with_python_needs_no_network(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["1", "--dataset=python-docs", "--max_iters=2"])
    assert runpy.run_path(str(RUNGS[0]), run_name="__main__")["data"].name == "python-docs"


README = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")


def rows_of_the_readme():
    cells = [line.strip("|").split("|") for line in README.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in row] for row in cells if row[0].strip()[:1].isdigit()]
    return {int(row[0][0]): (float(row[-2]), float(row[-1])) for row in rows}


def test_the_readme_has_the_published_figures_and_ours_lie_near_them():
    rows = rows_of_the_readme()
    assert list(rows) == list(range(1, 8))
    for path in RUNGS:
        number = int(path.stem[0])
        published = next(
            line for line in path.read_text(encoding="utf-8").splitlines() if "PUBLISHED" in line
        )
        assert float(published.split("=")[1].replace("#", ",").split(",")[0]) == rows[number][0]
        if number < 7:
            assert abs(rows[number][1] - rows[number][0]) <= 0.05


def test_the_first_rung_has_the_loss_of_the_readme(monkeypatch):
    """Trains in full, if the text has been downloaded: two seconds."""
    path = cache_folder() / "tinyshakespeare.txt"
    if not path.is_file():
        pytest.skip(f"tinyshakespeare has not been fetched: no {path}")
    monkeypatch.setattr(sys, "argv", [str(RUNGS[0])])
    loss = runpy.run_path(str(RUNGS[0]), run_name="__main__")["loss"]
    assert abs(loss - rows_of_the_readme()[1][1]) < 0.002


def test_what_the_readme_names_is_there():
    for target in re.findall(r"\]\(([^)h][^)]*)\)", README):
        assert (ROOT / "examples" / target).exists(), target
    for command in re.findall(r"^python (?:-m )?(\S+)", README, flags=re.MULTILINE):
        path = ROOT / command.replace("examples.", "examples/")
        assert path.is_file() or (path / "__main__.py").is_file(), command
