"""The exercises: solutions are exact, derivations hold line by line, files that misbehave end."""

import ast
import itertools
import math
import re
import subprocess
import sys

import numpy as np
import pytest

from examples.exercises import __main__ as exercises
from examples.exercises.grading import HERE, exercise_of, grade
from examples.exercises.running import CannotRun
from examples.exercises.way import EXERCISES, ORDER, after
from gpt_numpy.gradients.layer_protocol import Layer
from tests.examples.bank import answered
from tests.support.formulas import execute, formulas

ROOT = HERE.parents[1]
NUMBERS = list(EXERCISES)
BACKWARD = [n for n in NUMBERS if n[0].isdigit()]
FORWARD = [n for n in NUMBERS if n[0] == "f"]


def source(number, folder=HERE):
    return (folder / f"{EXERCISES[number]}.py").read_text(encoding="utf-8")


def function_of(text, name):
    """The source of one function of a module."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return ast.get_source_segment(text, node)
    raise AssertionError(name)


def solved(number):
    """The exercise, with the solution's lines where the learner's belong."""
    given, _ = exercise_of(EXERCISES[number])
    if number in BACKWARD:
        return answered(number, "!pass", "")
    name = given.get("WRITTEN", given["ASKED"])
    text, solution = source(number), source(number, HERE / "solutions")
    return text.replace(function_of(text, name), function_of(solution, name))


def written(folder, text):
    path = folder / "mine.py"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def call(capsys):
    def run(*words):
        status = exercises.main([str(word) for word in words])
        out, err = capsys.readouterr()
        return status, out, err

    return run


def test_every_exercise_has_a_solution_and_a_place_in_the_order():
    here = {path.stem for path in HERE.glob("*.py") if re.match(r"[fs]?\d", path.stem)}
    assert here == set(ORDER) == {p.stem for p in (HERE / "solutions").glob("*.py")}
    assert NUMBERS.index("f1") < NUMBERS.index("7a") < NUMBERS.index("7") < NUMBERS.index("10a")
    assert NUMBERS.index("f4") < NUMBERS.index("10a") < NUMBERS.index("10") < NUMBERS.index("11")


@pytest.mark.parametrize("number", NUMBERS)
def test_the_solution_is_exact(number, call, tmp_path):
    status, out, err = call(number, "--file", written(tmp_path, solved(number)))
    assert (status, err) == (0, "") and "Right: everything is exact" in out
    assert f"Next on the way: {after(number)}." in out


@pytest.mark.parametrize("number", NUMBERS)
def test_an_untouched_exercise_is_not_begun(number, call):
    status, out, _ = call(number)
    assert status == 1 and out.startswith("Nothing is written yet. Open ")
    assert f"exercises {number} " in source(number) and source(number).count("# yours") == 1


@pytest.mark.parametrize("number", NUMBERS)
def test_there_are_three_hints_and_a_derivation(number, call):
    hints = [call(number, f"--hint={k}")[1] for k in (1, 2, 3)]
    assert call(number, "--hint")[1] == hints[0]
    assert len(set(hints)) == 3 and all(len(hint) > 40 and not formulas(hint) for hint in hints)
    status, derivation, _ = call(number, "--derivation")
    assert status == 0 and derivation.startswith(f"Exercise {number}") and formulas(derivation)


@pytest.mark.parametrize("number", BACKWARD)
def test_the_formulas_of_the_forward_give_what_forward_writes(number):
    names, _ = exercise_of(EXERCISES[number])
    kept = {name: np.empty(shape) for name, shape in names["outputs"].items()}
    names["forward"](**names["inputs"], **kept)
    softmax = {"softmax": lambda s: np.exp(s) / np.exp(s).sum(axis=-1, keepdims=True)}
    found, _ = execute(formulas(names["__doc__"]), softmax | names | names["inputs"])
    assert ("out" in found) == (number not in ("2", "11", "16"))
    for name in kept.keys() & found.keys():
        np.testing.assert_allclose(found[name], kept[name], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("number", BACKWARD)
def test_every_line_of_the_derivation_holds_and_its_end_is_the_gradient(number):
    names, solution = exercise_of(EXERCISES[number])
    kept = {name: np.empty(shape) for name, shape in names["outputs"].items()}
    names["forward"](**names["inputs"], **kept)
    dout = np.random.default_rng(1).standard_normal(kept["out"].shape)
    given = names | names["inputs"] | kept | {"dout": dout}
    found, claims = execute(formulas(solution["__doc__"]), given)
    assert claims or number in ("2", "4", "5", "12", "16")
    example, fixed = (names["inputs"], names["outputs"]), names.get("CONSTANTS", ())
    layer = Layer(names["forward"], solution["backward"], *example, constants=fixed)
    exact, _ = layer.run_backward(kept, dout)
    assert len(exact) == len(layer.graded)
    terms = solution["terms"](**names["inputs"], **kept, dout=dout)
    for name, gradient in exact.items():
        assert found[name].shape == gradient.shape
        np.testing.assert_allclose(found[name], gradient, rtol=1e-10, atol=1e-12)
        total = sum(term.coefficient * term.array for term in terms[name])
        np.testing.assert_allclose(
            np.broadcast_to(total, gradient.shape), gradient, rtol=1e-10, atol=1e-12
        )


@pytest.mark.parametrize("number", FORWARD)
def test_the_derivation_of_a_forward_exercise_computes_its_output(number):
    names, solution = exercise_of(EXERCISES[number])
    case = names["cases"][0]
    (output, shape), *_ = names["outputs"](case).items()
    kept = {output: np.empty(shape)}
    solution["forward"](**case, **kept)
    found, claims = execute(formulas(solution["__doc__"]), dict(case))
    assert claims >= 1
    np.testing.assert_allclose(found[output], kept[output], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("number", [*FORWARD, "s1"])
def test_each_known_mistake_of_a_forward_exercise_is_named(number, tmp_path, monkeypatch):
    stem = EXERCISES[number]
    given, solution = exercise_of(stem)
    assert len(solution["CHANGES"]) >= 12
    path = written(tmp_path, solved(number))
    for sentence, parts in solution["CHANGES"]:
        mistake = solution["changed"](**parts)
        monkeypatch.setattr(
            "examples.exercises.grading.load", lambda _, wrong=mistake: {given["ASKED"]: wrong}
        )
        report = grade(stem, path)
        assert not report.ok and sentence in " ".join(report.rows[0].diagnosis), sentence


@pytest.mark.parametrize("number", FORWARD)
def test_a_forward_is_not_reported_as_a_gradient(number, call, tmp_path):
    text = source(number).replace(
        "# yours", "{}[...] = 0".format("weights" if number == "f3" else "out")
    )
    status, out, _ = call(number, "--file", written(tmp_path, text))
    assert status == 1 and re.search("^(out|weights) is WRONG; largest error", out, re.MULTILINE)
    assert "gradient" not in out and "path" not in out and "0 everywhere" in out
    assert ("compared in 1 case," in out) == (len(exercise_of(EXERCISES[number])[0]["cases"]) == 1)


@pytest.mark.parametrize(
    ("number", "line", "said"),
    [
        (
            "f1",
            "x -= x.max(axis=-1, keepdims=True)",
            "line 3.: x -= .*it changes x, which is an input",
        ),
        ("f6", "logits[...] = logits / tau", "it changes logits, which is an input"),
        ("f4", "np.exp(q, out=q)", "it changes what is an input: that may only be read"),
        ("s1", "g += decay * w", "it changes g, which is an input"),
        ("f1", "raise ValueError('read it')", "ValueError: read it"),
    ],
)
def test_a_forward_that_changes_its_input_is_told_which(number, line, said, call, tmp_path):
    path = written(tmp_path, source(number).replace("# yours", line))
    status, out, err = call(number, "--file", path)
    assert (status, out) == (2, "") and re.search(said, err, re.DOTALL), err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("out = x", r"nothing was written to out: out\[...\] = ... writes"),
        ("out += x", r"out \+= ... adds to what was in the array before"),
        ("out[..., 0] = 0", r"\d+ of 175 elements of out were not written"),
        ("out[...] = np.random.random(x.shape)", "different each time: no random"),
    ],
)
def test_how_a_forward_writes_is_reported(line, said, call, tmp_path):
    path = written(tmp_path, source("f1").replace("# yours", line))
    status, out, _ = call("f1", "--file", path)
    assert status == 1 and re.search(said, out), out


@pytest.mark.parametrize("number", BACKWARD)
def test_the_sizes_tell_factors_and_axes_apart(number):
    """No two sizes are equal, nor their roots, nor 2: a wrong factor has one name."""
    names, _ = exercise_of(EXERCISES[number])
    arrays = [v for v in names["inputs"].values() if isinstance(v, np.ndarray)]
    sizes = {n for a in arrays for n in a.shape} | {
        v for v in names["inputs"].values() if isinstance(v, int)
    }
    sizes -= {1}  # of the atomic steps' sums
    sizes |= {math.prod(shape[:-1]) for shape in [names["outputs"]["out"]] if len(shape) > 1}
    powers = [n**p for n in sizes for p in (1, -1, 0.5, -0.5)] + [2, 0.5, 1]
    for a, b in itertools.combinations(powers, 2):
        assert not math.isclose(a, b, rel_tol=1e-6), (number, sorted(sizes))


WRONG_FILES = [
    ("def backward(", "", r"line 1: SyntaxError"),
    ("raise RuntimeError('no')", "", r"mine.py, line 1: raise RuntimeError.*RuntimeError: no"),
    ("x = 1", "", "no function 'backward'"),
    ("import sys\nsys.exit()", "", "line 2: sys.exit.*calls exit"),
    ("", "dx[...] = dout @ weight", r"mine.py, line 4\d: dx\[...\] = .*weight \(7, 3\)"),
    ("", "dx[...] = undefined", r"line 4\d: dx\[...\] = undefined.*NameError"),
    ("", "{}[3]", r"line 4\d: \{\}\[3\].*KeyError"),
    ("", "exit()", r"line 4\d: exit\(\).*calls exit"),
    ("", "x[...] = 0", r"line 4\d.*may only read"),
    ("", "1 / 0", r"line 4\d: 1 / 0.*ZeroDivisionError"),
]


@pytest.mark.parametrize(("text", "line", "said"), WRONG_FILES)
def test_a_file_that_does_not_run_is_reported_with_its_line(text, line, said, call, tmp_path):
    text = text or answered("1", f"!{line}", "")
    status, out, err = call(1, "--file", written(tmp_path, text))
    assert (status, out) == (2, "") and re.search(said, err, re.DOTALL), err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "line", ["while True: pass", "while True:\n        try: 1 / 0\n        except: pass"]
)
def test_an_endless_loop_is_ended(line, monkeypatch, tmp_path):
    monkeypatch.setattr("examples.exercises.running.guarded.__defaults__", (0.5,))
    with pytest.raises(CannotRun, match="(?s)line 4.*had not ended after 0.5 s: an endless loop"):
        grade("01_linear", written(tmp_path, answered("1", f"!{line}", "")))


def test_a_loop_that_catches_everything_ends_the_program(tmp_path):
    loop = "while True:\n        try:\n            while True: pass\n"
    loop += "        except BaseException: pass"
    path = written(tmp_path, answered("1", f"!{loop}", ""))
    code = (
        "import examples.exercises.running as r, sys; r.GRACE = 1; "
        "r.guarded.__defaults__ = (0.5,); import examples.exercises.__main__ as m; "
        f"sys.exit(m.main(['1', '--file', {str(path)!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", timeout=60
    )
    assert done.returncode == 2 and "had not ended" in done.stderr


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("out[...] = x @ weight + bias", "out[...] = 0"),
        ("out[...] = x @ weight + bias", "out[...] = x @ weight"),
        ("out[...] = x @ weight + bias", "pass"),
        ("rng.standard_normal((5, 7))", "np.zeros((5, 7))"),
    ],
)
def test_a_changed_forward_or_example_does_not_pass(old, new, call, tmp_path):
    text = solved("1").replace(old, new)
    text = text.replace("dx[...] = dout @ weight.T", "dx[...] = 0")
    text = text.replace("dweight[...] = x.T @ dout", "dweight[...] = 0")
    status, out, err = call(1, "--file", written(tmp_path, text))
    assert (status == 2 and "forward was changed" in err) or (status == 1 and "WRONG" in out)


def test_only_what_is_asked_for_comes_from_the_file(call, tmp_path):
    """A harmless rewriting of forward passes; another example in the file is not used."""
    text = solved("1").replace(
        "out[...] = x @ weight + bias", "out[...] = bias + np.matmul(x, weight)"
    )
    text = text.replace("rng.standard_normal((5, 7))", "np.zeros((5, 7))")
    assert call(1, "--file", written(tmp_path, text))[0] == 0


def test_rebinding_every_name_is_no_blank_page(call, tmp_path):
    text = re.sub(r"(d\w+)\[\.\.\.\] = ", r"\1 = ", solved("1"))
    status, out, _ = call(1, "--file", written(tmp_path, text))
    assert status == 1 and out.count("nothing was written to d") == 3


def test_a_backward_that_returns_its_gradients_is_reported(call, tmp_path):
    path = written(tmp_path, solved("7").replace("dx[...] = out *", "return out *"))
    status, out, _ = call(7, "--file", path)
    assert status == 1 and "returned something" in out


def test_a_layer_that_adds_instead_of_assigning_is_reported(call, tmp_path):
    path = written(tmp_path, solved("1").replace("dbias[...] = ", "dbias += "))
    assert "layers assign" in call(1, "--file", path)[1]


def test_unwritten_elements_and_an_index_of_integers_are_reported(call, tmp_path):
    path = written(tmp_path, answered("6", "!dwpe[:] = np.nan", ""))
    assert "not finite" in call(6, "--file", path)[1]
    text = source("4").replace("# yours", "dx[keep] = dout[keep] / (1 - rate)")
    out = call(4, "--file", written(tmp_path, text))[1]
    assert "were not written" in out and "takes rows 0 and 1" in out


def test_the_list(call, monkeypatch):
    status, out, _ = call()
    assert status == 0 and out.count("not begun") == len(NUMBERS)
    assert "Next: open" in out and "01_linear.py" in out


def test_the_readme_shows_what_the_grader_says(call, tmp_path):
    readme = (HERE.parent / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("exercises 9\n")[2].partition("```")[0]
    wrong = "(dxhat - along_ones + xhat * along_xhat) * rstd[..., None]"
    _, out, _ = call(9, "--file", written(tmp_path, answered("9", wrong, "dx")))
    assert len(shown.splitlines()) >= 4 and out.startswith(shown)


def test_a_file_that_is_not_there(call, tmp_path):
    status, out, err = call(7, "--file", tmp_path / "nowhere.py")
    assert (status, out) == (2, "") and err.startswith("there is no file ")


def test_a_number_that_is_no_exercise_is_refused(call, capsys):
    with pytest.raises(SystemExit):
        exercises.main(["13x"])
    assert "13x" in capsys.readouterr().err
