"""`check_layer` names the classical mistakes, is quiet about right layers, and refuses others."""

import importlib
import pkgutil
import re

import numpy as np
import pytest

import gpt_numpy as gn
import gpt_numpy.reference
from gpt_numpy.gradients.report import Report
from tests.support.layers import EXAMPLES, pairs
from tests.support.mistakes_of_layers import GELU, LAYERNORM, LINEAR, MISTAKES, examples, written

MODULES = [
    importlib.import_module(f"gpt_numpy.reference.{module.name}")
    for module in pkgutil.iter_modules(gpt_numpy.reference.__path__)
]
PAIRS = pairs(MODULES)
LAYERS = examples()


@pytest.mark.parametrize("number", range(len(LAYERS)))
@pytest.mark.parametrize("seed", [0, 1])
def test_a_right_layer_is_exact(number, seed):
    source, example = list(LAYERS.items())[number]
    report = gn.check_layer(*written(source), *example, seed=seed)
    assert report.assert_exact() is report
    assert report.worst.error < 1e-13
    assert report.method.startswith("complex step")


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_every_layer_of_the_reference_is_exact(name):
    example = EXAMPLES[name](np.random.default_rng(0))
    report = gn.check_layer(*PAIRS[name], example.inputs, example.outputs, extra=example.extra)
    report.assert_exact()
    assert report.method.startswith("complex step"), report.method


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: f"{m[1][:30]} -> {m[2][:30]}")
def test_a_classical_mistake_is_named(mistake):
    source, old, new, gradient, words = mistake
    report = gn.check_layer(*written(source, old, new), *LAYERS[source])
    wrong = [row for row in report.rows if not row.ok]
    assert [row.name for row in wrong] == [gradient]
    assert re.search(words, " ".join(wrong[0].diagnosis)), wrong[0].diagnosis
    with pytest.raises(AssertionError, match=gradient):
        report.assert_exact()


def test_an_unknown_mistake_is_not_given_a_name():
    forward, backward = written(LINEAR, "x.reshape(-1, x.shape[-1])", "np.sin(x).reshape(-1, 6)")
    (row,) = [r for r in gn.check_layer(forward, backward, *LAYERS[LINEAR]).rows if not r.ok]
    assert "no known mistake" in row.diagnosis[1]


def test_a_mistake_of_the_callers_own_is_told_by_its_name():
    own = {"the sine is taken": written(LINEAR, "rows.T @ drows", "np.sin(rows.T) @ drows")[1]}
    wrong = written(LINEAR, "rows.T @ drows", "np.sin(rows).T @ drows")
    report = gn.check_layer(*wrong, *LAYERS[LINEAR], mistakes=own)
    assert "the sine is taken" in str(report)
    assert "the sine" not in str(gn.check_layer(*wrong, *LAYERS[LINEAR]))


REAL = LINEAR.replace(
    "out[...] = x @ weight + bias", "out[...] = np.asarray(x @ weight + bias, float)"
)
ABSOLUTE = "def forward(x, out):\n    out[...] = abs(x) ** 3\n\n"
ABSOLUTE += "def backward(dout, x, dx):\n    dx[...] = dout * 3 * x * abs(x)\n"


@pytest.mark.parametrize(
    ("source", "example", "said"),
    [
        (ABSOLUTE, ({"x": np.linspace(-2, 2, 7)}, {"out": (7,)}), "drops the imaginary part"),
        (REAL, LAYERS[LINEAR], "does not take complex numbers"),
    ],
)
def test_a_forward_without_complex_numbers_is_checked_by_differences(source, example, said):
    report = gn.check_layer(*written(source), *example).assert_exact()
    assert report.method.startswith("central differences") and said in report.method
    assert report.tolerance == 1e-7 and report.worst.error < 1e-9
    forward, right = written(source)

    def wrong(*arguments, **keywords):
        right(*arguments, **keywords)
        keywords["dx"] *= 1 + 1e-6

    wrong.__signature__ = __import__("inspect").signature(right)
    assert not gn.check_layer(forward, wrong, *example).ok


def test_a_compiled_forward_is_checked_by_differences():
    from gpt_numpy.kernels.linear import linear_backward, linear_forward

    gn.check_layer(linear_forward, linear_backward, *LAYERS[LINEAR]).assert_exact()


def no_out(x, y):
    pass


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outputs": {"y": (5, 6)}}, "outputs has no 'out'"),
        ({"forward": no_out}, "forward has no argument 'out'"),
        ({"backward": no_out}, "backward has no argument 'dx'"),
        ({"backward": 3}, "3 is not a function"),
        ({"inputs": {"x": [1.0, 2.0]}}, "x is a list"),
        ({"inputs": {"x": np.ones(3, complex)}}, "x is of type complex128"),
        ({"inputs": {"x": np.array([1.0, np.nan])}}, "x is not finite"),
        (
            {"inputs": {"x": np.arange(3)}, "outputs": {"out": (3,)}},
            "no argument|no array of floats",
        ),
        ({"constants": ("y",)}, "constants names 'y'"),
        ({"outputs": {"out": (5, 7)}}, r"forward stopped with ValueError.*shapes: x \(5, 6\), out"),
        ({"forward": lambda x, out: None}, "forward left all of out unwritten"),
        ({"forward": lambda x, out: x * 2}, "it returned something instead"),
        ({"forward": lambda x, out: out.fill(np.inf)}, "out is not finite"),
        ({"backward": lambda dout, x, dx: x.fill(0)}, "only read"),
        ({"backward": lambda dout, z, x, dx: None}, "argument 'z' that nothing is known of"),
    ],
)
def test_what_is_no_layer_is_refused(change, message):
    forward, backward = written(GELU)
    inputs, outputs = LAYERS[GELU]
    given = {
        "forward": forward,
        "backward": backward,
        "inputs": inputs,
        "outputs": outputs,
    } | change
    with pytest.raises(gn.InputError, match=message):
        gn.check_layer(**given)


def test_a_layer_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr("gpt_numpy.gradients.layer_check.LONGEST_SECONDS", 1e-9)
    with pytest.raises(gn.InputError, match="give a smaller example"):
        gn.check_layer(*written(GELU), *LAYERS[GELU])


def test_arguments_that_only_bear_known_names_do_no_harm():
    source = "def forward(x, weight, targets, qkv, n_head, out):\n    out[...] = x * weight.sum()\n"
    source += "def backward(dout, x, weight, dx, dweight, dqkv):\n    dx[...] = dout\n"
    source += "    dweight[...] = 1\n    dqkv[...] = 0\n"
    inputs = {"x": np.array(2.0), "weight": np.ones((2, 3)), "qkv": np.ones(3)}
    inputs |= {"targets": np.arange(3), "n_head": 7}
    report = gn.check_layer(*written(source), inputs, {"out": ()})
    assert [row.ok for row in report.rows] == [False, False, True]


def test_constants_are_not_differentiated_and_none_is_passed_on():
    forward, backward = written(LAYERNORM)
    inputs, outputs = LAYERS[LAYERNORM]

    def without_bias(dout, x, weight, bias, mean, rstd, dx, dweight):
        backward(dout, x, weight, bias, mean, rstd, dx, dweight, np.empty(6))

    report = gn.check_layer(forward, without_bias, inputs, outputs, constants=("bias",))
    assert [row.name for row in report.assert_exact().rows] == ["dx", "dweight"]


def test_the_report_goes_to_programs_too():
    import json

    report = gn.check_layer(*written(LINEAR, "dbias[...]", "dbias"), *LAYERS[LINEAR])
    values = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert values["ok"] is False and values["rows"][2]["error"] is None
    assert isinstance(report, Report) and "nothing was written" in values["rows"][2]["diagnosis"][0]
