"""The programs of the ladder: their gradients, their losses, their texts and output."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gpt_numpy.base.cache_folder import cache_folder
from tests.support.formulas import execute, formulas

ROOT = Path(__file__).parents[2]
STEMS = [
    *("0_by_hand", "1_bigram", "2_average", "3_head", "4_heads", "5_feed_forward", "6_blocks"),
    *("7_residual", "8_layer_norm", "9_gpt", "10_rms_norm", "11_rotary", "12_qk_norm", "13_muon"),
]
RUNGS = [ROOT / "examples" / "ladder" / f"{stem}.py" for stem in STEMS]
TRAINED = RUNGS[1:]


def number_of(path):
    """The number of a rung."""
    return int(path.stem.split("_")[0])


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
        given = [] if path == RUNGS[0] else [f"--data={data}"]
        monkeypatch.setattr(sys, "argv", [str(path), *given, *words])
        return runpy.run_path(str(path), run_name="__main__")

    return run


def test_each_program_stands_alone_and_asks_first():
    assert sorted((ROOT / "examples" / "ladder").glob("[0-9]*.py")) == sorted(RUNGS)
    for path in RUNGS:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) < (160 if number_of(path) <= 5 else 220), path
        assert "import examples" not in text and "from examples" not in text
        title, _, body = text.partition("\n")
        assert title.startswith(f'"""Rung {number_of(path)}, '), title
        questions = body.partition("Predict. ")[2].partition("\n\n    python")[0]
        asked = [line[0] for line in questions.splitlines() if line[1:3] == ". "]
        answered = {found for found in re.findall(r'print\(\s*f?"(\d)\. ', body)}
        assert len(asked) >= 2 and set(asked) == answered, path
        assert "# Try" in body and ("\nNew: " in body) == (path != RUNGS[0])


def test_rung_0_finds_the_frequencies_and_checks_its_gradient(climb, capsys):
    names = climb(RUNGS[0])
    out = capsys.readouterr().out
    shares = names["softmax"](names["table"][0])
    np.testing.assert_allclose(shares[1:4], [0.5, 0.25, 0.25], atol=0.01)
    assert 0.4159 < names["loss"] < 0.43 and "1.6094" in out
    assert names["targets"] == names["tokens"][1:] + [0]
    exact, ours = re.search(r"after a: (\S+), ours (\S+)", out).groups()
    assert abs(float(exact) - float(ours)) < 1e-15


@pytest.mark.parametrize("path", TRAINED, ids=lambda path: path.stem)
def test_a_rung_checks_its_gradients_learns_and_writes(path, climb, capsys):
    names = climb(path, "--max_iters=40")
    out = capsys.readouterr().out
    assert out.count("gradient of ") >= len(names["params"])
    errors = [float(x) for x in re.findall(r"slope .*, error (\S+)", out)]
    assert len(errors) == len(names["params"]) and max(errors) < 1e-12
    least = 0.97 if path.stem != "6_blocks" else 1.05  # depth alone learns late
    assert 0 < names["loss"] < least * np.log(len(CHARACTERS)) or path.stem == "1_bigram"
    assert len(names["text"]) == 301
    assert out.startswith("Write your answers down first")


# A line of each backward, and a mistake in it.
BROKEN = {
    "0_by_hand": ("-= 1 / N", "-= 2 / N"),
    "1_bigram": ("np.add.at(dtable, tokens, dlogits)", "dtable[tokens] += dlogits"),
    "2_average": ('a["weights"].T @ daverage', 'a["weights"] @ daverage'),
    "3_head": ("- (weights * dweights).sum(axis=-1, keepdims=True)", ""),
    "4_heads": ("dscores.mT @ q / D**0.5", "dscores.mT @ q"),
    "5_feed_forward": ('relu_backward(d["act"], a["fc"]', 'relu_backward(d["act"], d["act"]'),
    "6_blocks": ('d[f"{i - 1}.out"] = d[f"{i}.x"]', 'd[f"{i - 1}.out"] = d[f"{i}.out"]'),
    "7_residual": ('    d["x"] += d["mid"]\n', ""),
    "8_layer_norm": (
        'norm_backward("ln2", d["n2"], a["mid"]',
        'norm_backward("ln2", d["n2"], a["x"]',
    ),
    "10_rms_norm": ('p["norm2"], a["rstd2"], d["mid"]', 'p["norm1"], a["rstd2"], d["mid"]'),
    "11_rotary": (
        'queries_keys_backward(d["ready"], a["qkv"], H, H, rotations=ROTATIONS',
        'queries_keys_backward(d["ready"], a["qkv"], H, H, rotations=None',
    ),
    "12_qk_norm": ('relu2_backward(d["act"], a["fc"]', 'relu2_backward(d["act"], a["act"]'),
    "13_muon": ('d["att"], a["ready"], H', 'd["att"], a["qkv"], H'),
    "9_gpt": (
        'dropout_backward(d["mid"], drop(site + 2)',
        'dropout_backward(d["mid"], drop(site + 3)',
    ),
}


@pytest.mark.parametrize("path", RUNGS, ids=lambda path: path.stem)
def test_a_broken_backward_is_not_let_through(path, climb, tmp_path, monkeypatch):
    old, new = BROKEN[path.stem]
    source = path.read_text(encoding="utf-8")
    code = source.rpartition('"""\n\nimport argparse')[2]  # the text above may quote the line
    assert code.count(old) == 1
    broken = tmp_path / path.name
    broken.write_text(source.replace(code, code.replace(old, new)), encoding="utf-8")
    if path == RUNGS[0]:
        with pytest.raises(AssertionError, match="the gradient is wrong"):
            monkeypatch.setattr(sys, "argv", [str(broken)])
            runpy.run_path(str(broken), run_name="__main__")
        return
    with pytest.raises(SystemExit, match="wrong gradients: .*; --even_if_wrong trains"):
        climb(broken, "--max_iters=0")
    assert np.isfinite(climb(broken, "--max_iters=2", "--even_if_wrong")["loss"])


def test_all_gradients_are_checked_before_a_rung_stops(climb, tmp_path, capsys):
    path = RUNGS[STEMS.index("8_layer_norm")]
    source = path.read_text(encoding="utf-8")
    call = (
        "layernorm_backward(dout, x, p[name], p[b], mean, rstd, dx=dx, dweight=g[name], dbias=g[b])"
    )
    assert source.count(call) == 1
    (tmp_path / "broken.py").write_text(
        source.replace(call, call + "\n    dx /= rstd[..., None]"), encoding="utf-8"
    )
    with pytest.raises(SystemExit) as stop:
        climb(tmp_path / "broken.py", "--max_iters=0")
    out = capsys.readouterr().out
    assert out.count("slope") == 2 + 3 * 11 + 4
    right = {"unembed", "unembed_b", "ln", "ln_b"}  # nothing below the last norm
    assert right.isdisjoint(str(stop.value).split(": ")[1].split("; ")[0].split(", "))


def test_the_bigram_reaches_the_lowest_possible_loss(climb):
    """The lowest possible loss is that of the true probabilities, on the same split."""
    names = climb(RUNGS[1], "--max_iters=2000")
    text, table = chain(20_000)
    val = text[int(0.9 * len(text)) :]
    least = -np.log(table[val[:-1], val[1:]]).mean()
    assert least - 0.01 < names["loss"] < least + 0.03


def test_the_attention_in_the_open_is_that_of_the_package(climb):
    from gpt_numpy.reference.attention import attention_backward, attention_forward
    from gpt_numpy.reference.dropout import NO_DROPOUT

    for path, n_head in ((RUNGS[3], 1), (RUNGS[4], 4)):
        names = climb(path, "--max_iters=0")
        rng = np.random.default_rng(0)
        qkv, dout = rng.standard_normal((3, 8, 96)), rng.standard_normal((3, 8, 32))
        out, lse, dqkv = np.empty((3, 8, 32)), np.empty((3, n_head, 8)), np.empty_like(qkv)
        attention_forward(qkv, n_head, NO_DROPOUT, out=out, lse=lse)
        attention_backward(dout, qkv, n_head, NO_DROPOUT, out, lse, dqkv)
        split, merge = (names.get(name, lambda x: x) for name in ("split", "merge"))
        q, k, v = map(split, np.split(qkv, 3, axis=-1))
        ours, weights = names["attention_forward"](q, k, v)
        np.testing.assert_allclose(merge(ours), out, rtol=1e-12, atol=1e-13)
        gradients = names["attention_backward"](split(dout), q, k, v, weights)
        together = np.concatenate([merge(g) for g in gradients], axis=-1)
        np.testing.assert_allclose(together, dqkv, rtol=1e-11, atol=1e-13)


def names_for(path):
    """Arrays for the formulas of a rung's text, under the names that they use."""
    rng = np.random.default_rng(0)
    T, C, matrix = 8, 6, rng.standard_normal((6, 6))
    names = {"x": rng.standard_normal((T, C)), "dout": rng.standard_normal(C), "T": T}
    names |= {
        "t": 3,
        "i": 1,
        "D": 8,
        "weight": rng.standard_normal(C),
        "bias": rng.standard_normal(C),
        "rate": 0.3,
    }
    names |= {"keep": rng.integers(0, 2, C), "branch": lambda x: np.tanh(x @ matrix)}
    names |= {"fc": rng.standard_normal((C, 9)), "fc_b": rng.standard_normal(9)}
    names |= {"down": rng.standard_normal((9, C)), "table": matrix, "gradient": matrix}
    names["p"] = {"unembed": rng.standard_normal((C, 9))}
    names["a"] = {"0.out": names["x"]}
    return names | {"down_b": rng.standard_normal(C)}


@pytest.mark.parametrize("path", RUNGS, ids=lambda path: path.stem)
def test_the_formulas_of_a_text_are_lines_of_its_program_or_hold(path):
    text, code = path.read_text(encoding="utf-8").split('"""', 2)[1:]
    lines = [line for line in formulas(text) if not re.match(r"an? \*", line)]
    assert lines or path.stem in ("4_heads", "13_muon")
    names = names_for(path)
    if path == RUNGS[2]:
        names["x"] = names["x"][None]
        names |= {"b": 0, "t": 5, "average": np.cumsum(names["x"], 1) / np.arange(1, 9)[:, None]}
    for line in lines:
        if line in code and path != RUNGS[2]:
            continue
        if line.startswith(("target", "targets")):  # of tokens, in rungs 0 and 1
            tokens = np.random.default_rng(0).integers(0, 9, (3, 9))
            given = {"tokens": tokens[:, :-1], "targets": tokens[:, 1:], "b": 1, "t": 3}
            given |= {"token": tokens[0, :-1], "target": tokens[0, 1:]}
            assert execute([line], given)[1] == 1
            continue
        names, _ = execute([line], names)
    if path.stem == "8_layer_norm":
        np.testing.assert_allclose(names["xhat"].mean(), 0, atol=1e-12)
        np.testing.assert_allclose((names["xhat"] ** 2).mean(), 1, atol=1e-4)


def test_all_of_them_in_a_table(data):
    command = [sys.executable, "-m", "examples.ladder", f"--data={data}", "--max_iters=1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=120)
    assert done.returncode == 0, done.stderr
    table = done.stdout[done.stdout.index("rung  ") :].splitlines()
    assert [line.split()[0] for line in table[1:15]] == STEMS
    assert [len(line.split()) for line in table[1:15]] == [4, 5, 4, 5, 5, 5, 4, 5, 5, 5, 4, 4, 4, 4]


def test_a_word_that_is_no_argument_is_refused(climb, capsys):
    with pytest.raises(SystemExit):
        climb(RUNGS[1], "--steps=3")
    assert "--steps=3" in capsys.readouterr().err
    for path in RUNGS[1:]:  # a line, not a traceback
        with pytest.raises(SystemExit, match=r"^data='nowhere.txt': there is no such file"):
            climb(path, "--data=nowhere.txt")


def test_a_rung_waits_for_predictions_in_a_terminal_only(climb, monkeypatch):
    waited = []
    monkeypatch.setattr("builtins.input", waited.append)
    climb(RUNGS[0])
    assert not waited
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: True})())
    climb(RUNGS[0], "--go")
    assert not waited
    climb(RUNGS[0])
    climb(RUNGS[1], "--max_iters=0")
    assert len(waited) == 2


def test_a_text_that_comes_with_python_needs_no_network(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["1", "--dataset=python-docs", "--max_iters=2"])
    assert runpy.run_path(str(RUNGS[1]), run_name="__main__")["data"].name == "python-docs"


README = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")


def rows_of_the_readme():
    """Published and own loss of each rung; nan where a cell says that there is none."""
    ladder = README.partition("## The translator")[0]
    cells = [line.strip("|").split("|") for line in ladder.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in row] for row in cells if row[0].strip()[:1].isdigit()]
    number = re.compile(r"\d\.\d+")
    return {
        int(row[0].split()[0]): tuple(
            float(found.group()) if (found := number.search(cell)) else np.nan for cell in row[-2:]
        )
        for row in rows
    }


def test_the_readme_has_the_published_figures_and_ours_lie_near_them():
    rows = rows_of_the_readme()
    assert list(rows) == list(range(1, 14))
    for path in TRAINED:
        number = number_of(path)
        found = re.search(r"PUBLISHED.*? = (np\.nan|[\d.]+)", path.read_text(encoding="utf-8"))
        published = np.nan if found.group(1) == "np.nan" else float(found.group(1))
        np.testing.assert_equal(rows[number][0], published)
        if number != 9 and not np.isnan(published):
            assert abs(rows[number][1] - rows[number][0]) <= 0.07


def test_each_prediction_quotes_the_figure_of_the_rung_before():
    """A question such as "one head reached 2.41" names a loss that the table has."""
    ours = [own for _, own in rows_of_the_readme().values()]
    for path in RUNGS:
        questions = (
            path.read_text(encoding="utf-8").split("Predict. ")[1].split("\n\n    python")[0]
        )
        for figure in re.findall(r"reached (\d\.\d\d)", questions):
            assert min(abs(float(figure) - own) for own in ours) < 0.006, (path.name, figure)


def test_the_first_rung_has_the_loss_of_the_readme(monkeypatch):
    """Trains in full, if the text has been downloaded: two seconds."""
    path = cache_folder() / "tinyshakespeare.txt"
    if not path.is_file():
        pytest.skip(f"tinyshakespeare has not been fetched: no {path}")
    monkeypatch.setattr(sys, "argv", [str(RUNGS[1])])
    loss = runpy.run_path(str(RUNGS[1]), run_name="__main__")["loss"]
    assert abs(loss - rows_of_the_readme()[1][1]) < 0.002


def test_what_the_readme_names_is_there():
    for target in re.findall(r"\]\(([^)h][^)]*)\)", README):
        assert (ROOT / "examples" / target.partition("#")[0]).exists(), target
    for command in re.findall(r"^python (?:-m )?(\S+)", README, flags=re.MULTILINE):
        path = ROOT / command.replace("examples.", "examples/")
        assert path.is_file() or (path / "__main__.py").is_file(), command
