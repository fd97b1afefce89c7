"""The exercises: solutions are exact, derivations hold line by line, and mistakes are named."""

import importlib.util
import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from gpt_numpy.gradients.layer_protocol import Layer
from tests.support.formulas import execute, formulas

# Loaded by path: examples/ is not an installed package.
SPEC = importlib.util.spec_from_file_location(
    "exercises", Path(__file__).parents[2] / "examples" / "exercises" / "__main__.py"
)
exercises = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(exercises)

PATHS = exercises.EXERCISES
SOLUTIONS = [exercises.HERE / "solutions" / path.name for path in PATHS]
NUMBERS = range(1, 13)


def parts(number):
    """What an exercise and its solution define."""
    return runpy.run_path(str(PATHS[number - 1])), runpy.run_path(str(SOLUTIONS[number - 1]))


def mine(folder, number, old="", new=""):
    """A submitted file: the exercise with the solution's lines, and perhaps a mistake."""
    source = PATHS[number - 1].read_text(encoding="utf-8")
    head, _, _ = source.partition("def backward")
    body = SOLUTIONS[number - 1].read_text(encoding="utf-8").split("def backward")[1]
    body = body.split("\n\n\n")[0]
    assert not old or body.count(old) == 1, (old, body)
    path = folder / "mine.py"
    path.write_text(head + "def backward" + body.replace(old, new) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def call(capsys):
    def run(*words):
        status = exercises.main([str(word) for word in words])
        out, err = capsys.readouterr()
        return status, out, err

    return run


def test_there_are_twelve_with_a_solution_each():
    assert len(PATHS) == 12 and all(path.is_file() for path in SOLUTIONS)
    assert [int(path.name[:2]) for path in PATHS] == list(NUMBERS)


@pytest.mark.parametrize("number", NUMBERS)
def test_the_solution_is_exact(number, call, tmp_path):
    status, out, err = call(number, "--file", mine(tmp_path, number))
    assert (status, err) == (0, "") and "every gradient is exact" in out
    assert "complex step" in out
    assert ("Next: exercise" in out) == (number < 12)


@pytest.mark.parametrize("number", NUMBERS)
def test_an_untouched_exercise_is_not_begun(number, call):
    status, out, _ = call(number)
    assert status == 1 and out.startswith("Nothing is written yet. Open ")
    names, _ = parts(number)
    assert "Exercise" in names["__doc__"] and f"exercises {number} " in names["__doc__"]


@pytest.mark.parametrize("number", NUMBERS)
def test_there_is_a_hint_and_a_derivation(number, call):
    status, hint, _ = call(number, "--hint")
    assert status == 0 and len(hint) > 50 and not formulas(hint)
    status, derivation, _ = call(number, "--derivation")
    assert status == 0 and derivation.startswith(f"Exercise {number}")
    assert formulas(derivation)


@pytest.mark.parametrize("number", NUMBERS)
def test_the_formulas_of_the_forward_give_what_forward_writes(number):
    names, _ = parts(number)
    kept = {name: np.empty(shape) for name, shape in names["outputs"].items()}
    names["forward"](**names["inputs"], **kept)
    found, _ = execute(formulas(names["__doc__"]), names | names["inputs"])
    assert ("out" in found) == (number not in (2, 11))
    for name in kept.keys() & found.keys():
        np.testing.assert_allclose(found[name], kept[name], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("number", NUMBERS)
def test_every_line_of_the_derivation_holds_and_its_end_is_the_gradient(number):
    names, solution = parts(number)
    kept = {name: np.empty(shape) for name, shape in names["outputs"].items()}
    names["forward"](**names["inputs"], **kept)
    dout = np.random.default_rng(1).standard_normal(kept["out"].shape)
    given = names | names["inputs"] | kept | {"dout": dout}
    found, claims = execute(formulas(solution["__doc__"]), given)
    assert claims or number in (2, 4, 5, 12)
    layer = Layer(names["forward"], solution["backward"], names["inputs"], names["outputs"])
    exact, _ = layer.run_backward(kept, dout)
    assert len(exact) == len(layer.graded)
    for name, gradient in exact.items():
        assert found[name].shape == gradient.shape
        np.testing.assert_allclose(found[name], gradient, rtol=1e-10, atol=1e-12)


# Exercise, old and new source in the solution's backward, the gradients that become wrong, and a
# pattern that the diagnosis must match.
SUMMED = ".sum(axis=-1, keepdims=True)"
MISTAKES = [
    (1, "dout @ weight.T", "-dout @ weight.T", "dx", "sign"),
    (1, "x.T @ dout", "(dout.T @ x).T * 2", "dweight", "twice"),
    (1, "x.T @ dout", "x.T @ dout / len(x)", "dweight", "number of rows"),
    (1, "x.T @ dout", "np.outer(x[-1], dout[-1])", "dweight", "only"),
    (1, "dout.sum(axis=0)", "dout.mean(axis=0)", "dbias", "mean where a sum belongs"),
    (1, "dout.sum(axis=0)", "dout.sum()", "dbias", "holds the sum over all"),
    (1, "dbias[...] = ", "dbias = ", "dbias", "only rebinds the name"),
    (1, "dbias[...] = ", "dbias += ", "dbias", "layers assign"),
    (2, "x > 0, dout", "dout > 0, dout", "dx", "sign of dout, not of x"),
    (2, "x > 0, dout, 0", "x > 0, x, 0", "dx", "x where x > 0, not dout"),
    (2, "x > 0, dout, 0", "x > 0, 1, 0", "dx", "dout is left out"),
    (2, "np.where(x > 0, dout, 0)", "dout", "dx", "derivative of the function is left out"),
    (3, " + 0.5 * x * (1 - t * t) * du", "", "dx", r"x \* dt is missing"),
    (3, "1 - t * t", "1 - t", "dx", r"1 - t\^2"),
    (3, "3 * 0.044715", "0.044715", "dx", "factor 3"),
    (3, " * du)", ")", "dx", "inner derivative"),
    (3, "dout * (", "1 * (", "dx", "dout is left out"),
    (4, " / (1 - rate)", "", "dx", r"1 / \(1 - rate\) is missing"),
    (4, "keep / ", "1 / ", "dx", "the mask is missing"),
    (4, "/ (1 - rate)", "* (1 - rate)", "dx", "multiplied by 1 - rate"),
    (5, "dout + dy", "dy", "dx", "missing is exactly dout"),
    (5, "dout + dy", "2 * dout + dy", "dx", "once too often"),
    (5, " * (1 - np.tanh(x @ weight) ** 2)", "", "dx dweight", "slope of tanh"),
    (5, "weight.T\n", "weight\n", "dx", "not transposed"),
    (5, "x.T @ dy", "x.T @ dy / len(x)", "dweight", "number of rows"),
    (6, "np.add.at(dwte, tokens, dout)", "dwte[tokens] += dout", "dwte", "add.at"),
    (6, "dout.sum(axis=0)", "dout[0]", "dwpe", "only the contribution of index 0"),
    (6, "dout.sum(axis=0)", "dout.mean(axis=0)", "dwpe", "mean where a sum belongs"),
    (6, "dwpe[T:] = 0", "pass", "dwpe", "were not written"),
    (6, "dwte[...] = 0", "pass", "dwte", "layers assign|not finite"),
    (7, "dout - total", "dout", "dx", "row sum is missing"),
    (7, "axis=-1", "axis=-2", "dx", "over axis 1"),
    (7, "out * (dout - total)", "out * (1 - out) * dout", "dx", "diagonal"),
    (7, "out * (dout - total)", "dout - total", "dx", "factor out"),
    (8, "p[rows, targets[rows]] -= 1", "pass", "dlogits", "-1 (at the target )?is missing"),
    (8, "p[targets < 0] = 0", "pass", "dlogits", "not zero"),
    (8, "len(rows)", "len(targets)", "dlogits", "divided by all"),
    (8, " / len(rows)", "", "dlogits", "not divided|number of targets"),
    (8, "dout * p", "-dout * p", "dlogits", "sign"),
    (9, "dxhat - along_ones - ", "dxhat - ", "dx", r"mean\(dxhat\) is missing"),
    (9, " - xhat * along_xhat", "", "dx", r"xhat \* mean\(dxhat \* xhat\) is missing"),
    (9, "- along_ones - xhat * along_xhat", "", "dx", "both means are missing"),
    (9, "dxhat = dout * weight", "dxhat = dout", "dx", "weight is left out"),
    (9, "(dout * xhat).sum", "(dout * x).sum", "dweight", "it is x for xhat"),
    (9, "xhat * along_xhat) * rstd[..., None]", "xhat * along_xhat)", "dx", "rstd is left out"),
    (10, "q.shape[-1])", "1)", "dq dk", "scale of the scores|constant|factor"),
    (10, f" - (dp * p){SUMMED}", "", "dq dk", "sum over the row is missing"),
    (10, f"(dp * p){SUMMED}", f"(dp * p){SUMMED}".replace("-1", "-2"), "dq dk", "over the queries"),
    (10, "p.swapaxes(-1, -2) @ dout", "p @ dout", "dv", "transpose"),
    (10, "ds.swapaxes(-1, -2) @ q", "ds @ q", "dk", "transpose"),
    (10, "dq[...] = ds @ k * scale", "dq[...] = ds @ k", "dq", "scale|factor"),
    (11, "scale = 1 / np.sqrt(Q.shape[-1])", "scale = 1", "dqkv", r"1/sqrt\(D\) is missing"),
    (11, f" - (dp * p){SUMMED}", "", "dqkv", "row sum is missing"),
    (11, "p.swapaxes(-1, -2) @ dO", "p @ dO", "dqkv", "w is not transposed"),
    (11, "ds.swapaxes(-1, -2) @ Q", "ds @ Q", "dqkv", "ds is not transposed"),
    (11, "dQ, dK, dV = split", "dK, dQ, dV = split", "dqkv", "exchanged"),
    (12, "np.add.at(dtable, tokens, drows)", "pass", "dtable", "lookup's part"),
    (
        12,
        "np.add.at(dtable, tokens, drows)",
        "dtable[tokens] += drows",
        "dtable",
        "occur several times",
    ),
    (12, "dtable[...] = ", "dtable[...] = 0 * ", "dtable", "second time"),
    (12, " * (1 - x * x)", "", "dtable", "slope of tanh"),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: f"{m[0]} {m[1][:25]} {m[2][:25]}")
def test_a_classical_mistake_is_named(mistake, call, tmp_path):
    number, old, new, gradients, words = mistake
    path = mine(tmp_path, number, old, new)
    rows = exercises.grade(number, path).rows
    assert [row.name for row in rows if not row.ok] == gradients.split()
    for row in rows:
        assert row.ok or re.search(words, " ".join(row.diagnosis)), (row.name, row.diagnosis)
    status, out, _ = call(number, "--file", path)
    assert status == 1 and "WRONG" in out and f"exercises {number} --hint" in out


def test_every_exercise_has_mistakes():
    assert {mistake[0] for mistake in MISTAKES} == set(NUMBERS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def backward(", "does not run:.*SyntaxError"),
        ("raise RuntimeError('no')", "does not run:\nRuntimeError: no"),
        ("x = 1", "has no .forward."),
    ],
)
def test_a_file_that_does_not_run_is_reported_in_a_line_or_two(text, said, call, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(text, encoding="utf-8")
    status, out, err = call(1, "--file", path)
    assert (status, out) == (2, "") and re.search(said, err, re.DOTALL)
    assert "Traceback" not in err


def test_shapes_that_do_not_fit_are_reported(call, tmp_path):
    path = mine(tmp_path, 1, "dout @ weight.T", "dout @ weight")
    status, out, err = call(1, "--file", path)
    assert (status, out) == (2, "") and "weight (4, 3)" in err


def test_the_list(call):
    status, out, _ = call()
    assert status == 0 and out.count("not begun") == 12 and "01_linear.py" in out


def test_the_readme_shows_what_the_grader_says(call, tmp_path):
    readme = (exercises.HERE.parent / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("exercises 7\n")[2].partition("```")[0]
    _, out, _ = call(7, "--file", mine(tmp_path, 7, "dout - total", "dout"))
    assert len(shown.splitlines()) == 5 and out.startswith(shown)


def test_a_backward_that_returns_its_gradients_is_reported(call, tmp_path):
    path = mine(tmp_path, 7, "dx[...] = out * (dout - total)", "return out * (dout - total)")
    status, out, _ = call(7, "--file", path)
    assert status == 1 and "returns something" in out


def test_a_file_that_is_not_there(call, tmp_path):
    status, out, err = call(7, "--file", tmp_path / "nowhere.py")
    assert (status, out) == (2, "") and err.startswith("there is no file ")
