"""`check_layer` passes right layers, names classical mistakes, and refuses what is no layer."""

import importlib
import inspect
import json
import pkgutil
import re
from typing import NamedTuple

import numpy as np
import pytest

import gpt_numpy as gn
import gpt_numpy.reference
from examples.exercises.known_mistakes import known_mistakes
from gpt_numpy.gradients.report import Report
from gpt_numpy.reference.dropout import Dropout, dropout_backward, dropout_forward
from tests.support.layers import CONSTANTS, EXAMPLES, pairs
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


def in_named_tuples(forward, example):
    """The inputs and outputs of an example, in the named tuples that forward takes."""
    inputs, outputs = {}, {}
    for argument, parameter in inspect.signature(forward).parameters.items():
        kind = parameter.annotation
        if kind is Dropout:
            inputs[argument] = Dropout.of(*(example.inputs[name] for name in Dropout._fields))
        elif hasattr(kind, "_fields"):
            source, target = example.inputs, inputs
            if argument == "kept":
                source, target = example.outputs, outputs
            unset = kind._field_defaults
            target[argument] = kind._make(source.get(n, unset.get(n)) for n in kind._fields)
        elif argument in example.inputs:
            inputs[argument] = example.inputs[argument]
        elif argument in example.outputs:
            outputs[argument] = example.outputs[argument]
    return inputs, outputs


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_every_layer_of_the_reference_is_exact(name):
    example = EXAMPLES[name](np.random.default_rng(0))
    inputs, outputs = in_named_tuples(PAIRS[name][0], example)
    constants = [name for name in CONSTANTS if name in inputs]
    report = gn.check_layer(*PAIRS[name], inputs, outputs, extra=example.extra, constants=constants)
    report.assert_exact()
    assert report.method.startswith("complex step"), report.method


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: f"{m[1][:30]} -> {m[2][:30]}")
def test_a_classical_mistake_is_named(mistake):
    source, old, new, gradient, words = mistake
    report = gn.check_layer(*written(source, old, new), *LAYERS[source], mistakes=known_mistakes)
    wrong = [row for row in report.rows if not row.ok]
    assert [row.name for row in wrong] == [gradient]
    assert re.search(words, " ".join(wrong[0].diagnosis)), wrong[0].diagnosis
    with pytest.raises(AssertionError, match=gradient):
        report.assert_exact()


def test_an_unknown_mistake_is_not_given_a_name():
    forward, backward = written(LINEAR, "x.reshape(-1, x.shape[-1])", "np.sin(x).reshape(-1, 6)")
    report = gn.check_layer(forward, backward, *LAYERS[LINEAR], mistakes=known_mistakes)
    (row,) = [row for row in report.rows if not row.ok]
    assert "no known mistake" in row.diagnosis[1]


def test_a_mistake_of_the_callers_own_is_reported_by_its_name():
    own = {"the sine is taken": written(LINEAR, "rows.T @ drows", "np.sin(rows.T) @ drows")[1]}
    wrong = written(LINEAR, "rows.T @ drows", "np.sin(rows).T @ drows")
    report = gn.check_layer(*wrong, *LAYERS[LINEAR], mistakes=own)
    assert "the sine is taken" in str(report)
    assert "the sine" not in str(gn.check_layer(*wrong, *LAYERS[LINEAR]))


def test_a_mistake_counts_only_for_the_gradients_that_it_writes():
    def mistake(dout, x, dx, **others):
        dx[...] = 0

    wrong = written(LINEAR, "drows.sum(axis=0)", "0")
    report = gn.check_layer(*wrong, *LAYERS[LINEAR], mistakes={"x is taken for constant": mistake})
    assert not report.ok and "taken for constant" not in str(report)


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

    wrong.__signature__ = inspect.signature(right)
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
        ({"backward": lambda dout, z, x, dx: None}, "unknown argument 'z'"),
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
    report = gn.check_layer(*written(source), inputs, {"out": ()}, mistakes=known_mistakes)
    assert [row.ok for row in report.rows] == [False, False, True]


def test_constants_are_not_differentiated_and_none_is_passed_on():
    forward, backward = written(LAYERNORM)
    inputs, outputs = LAYERS[LAYERNORM]

    def without_bias(dout, x, weight, bias, mean, rstd, dx, dweight):
        backward(dout, x, weight, bias, mean, rstd, dx, dweight, np.empty(6))

    report = gn.check_layer(forward, without_bias, inputs, outputs, constants=("bias",))
    assert [row.name for row in report.assert_exact().rows] == ["dx", "dweight"]


def test_the_report_goes_to_programs_too():
    report = gn.check_layer(*written(LINEAR, "dbias[...]", "dbias"), *LAYERS[LINEAR])
    values = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert values["ok"] is False and values["rows"][2]["error"] is None
    assert isinstance(report, Report) and "nothing was written" in values["rows"][2]["diagnosis"][0]


# A layer whose arguments travel in named tuples.


class Weights(NamedTuple):
    scale: np.ndarray
    shift: np.ndarray | None
    matrix: np.ndarray


class Kept(NamedTuple):
    scaled: np.ndarray
    squares: np.ndarray | None


def tuple_forward(x, weights, kept, *, power, dropout, out):
    kept.scaled[...] = x * weights.scale
    if weights.shift is not None:
        kept.scaled[...] += weights.shift
    if kept.squares is not None:
        kept.squares[...] = (x * x).sum(axis=-1)
    dropout_forward(kept.scaled**power @ weights.matrix, dropout, out=out)


def tuple_backward(dout, x, weights, kept, *, power, dropout, dx, dweights, dkept):
    dproduct = np.empty_like(dout)
    dropout_backward(dout, dropout, dx=dproduct)
    dweights.matrix[...] = (kept.scaled**power).T @ dproduct
    dkept.scaled[...] = dproduct @ weights.matrix.T * power * kept.scaled ** (power - 1)
    kept.scaled[...] = 0  # what was kept may be overwritten
    dx[...] = dkept.scaled * weights.scale
    if dweights.scale is not None:
        dweights.scale[...] = (dkept.scaled * x).sum(axis=0)
    if dweights.shift is not None:
        dweights.shift[...] = dkept.scaled.sum(axis=0)


def tuple_example(shift=True, squares=True):
    normal = np.random.default_rng(0).standard_normal
    weights = Weights(1 + normal(6), normal(6) if shift else None, normal((6, 4)))
    inputs = {"x": normal((5, 6)), "weights": weights, "power": 3}
    inputs["dropout"] = Dropout.of(0.3, 7, 2)
    return inputs, {"kept": Kept((5, 6), (5,) if squares else None), "out": (5, 4)}


def tuple_backward_with(distort):
    """The right backward, and then a mistake."""

    def backward(dout, x, weights, kept, *, power, dropout, dx, dweights, dkept):
        given = {"power": power, "dropout": dropout, "dx": dx, "dweights": dweights}
        tuple_backward(dout, x, weights, kept, **given, dkept=dkept)
        distort(weights, dweights)

    return backward


@pytest.mark.parametrize("squares", [True, False])
@pytest.mark.parametrize("shift", [True, False])
def test_arrays_in_named_tuples_are_differentiated_one_by_one(shift, squares):
    example = tuple_example(shift, squares)
    report = gn.check_layer(tuple_forward, tuple_backward, *example).assert_exact()
    assert report.method.startswith("complex step")
    names = ["dx", "dweights.scale", *["dweights.shift"] * shift, "dweights.matrix"]
    assert [row.name for row in report.rows] == names


@pytest.mark.parametrize(
    ("distort", "name", "words"),
    [
        (lambda w, dw: dw.scale.__imul__(2), "dweights.scale", "added twice"),
        (lambda w, dw: dw.matrix.__imul__(w.matrix), "dweights.matrix", "weights.matrix is one"),
        (lambda w, dw: dw.shift.__setitem__(0, 0), "dweights.shift", "element 0"),
        (lambda w, dw: dw.matrix.__itruediv__(0.7), "dweights.matrix", "1 - rate of dropout"),
    ],
)
def test_a_wrong_field_of_a_named_tuple_is_named(distort, name, words):
    report = gn.check_layer(tuple_forward, tuple_backward_with(distort), *tuple_example())
    (row,) = [row for row in report.rows if not row.ok]
    assert row.name == name and words in " ".join(row.diagnosis), row
    with pytest.raises(AssertionError, match=name):
        report.assert_exact()


def test_a_field_that_backward_does_not_write_is_named():
    def backward(dout, x, weights, kept, *, power, dropout, dx, dweights, dkept):
        without = dweights._replace(shift=None)
        given = {"power": power, "dropout": dropout, "dx": dx, "dweights": without}
        tuple_backward(dout, x, weights, kept, **given, dkept=dkept)

    report = gn.check_layer(tuple_forward, backward, *tuple_example())
    (row,) = [row for row in report.rows if not row.ok]
    assert row.name == "dweights.shift"
    assert "nothing was written to dweights.shift: " in row.diagnosis[0]


def test_constant_fields_have_no_gradient():
    inputs, outputs = tuple_example()
    pair = tuple_forward, tuple_backward
    constants = ("weights.scale", "weights.shift")
    report = gn.check_layer(*pair, inputs, outputs, constants=constants).assert_exact()
    assert [row.name for row in report.rows] == ["dx", "dweights.matrix"]

    def only_dx(dout, x, weights, kept, *, power, dropout, dx):
        gradients = Weights(None, None, np.empty((6, 4))), Kept(np.empty((5, 6)), None)
        dweights, dkept = gradients
        given = {"power": power, "dropout": dropout, "dx": dx}
        tuple_backward(dout, x, weights, kept, **given, dweights=dweights, dkept=dkept)

    report = gn.check_layer(tuple_forward, only_dx, inputs, outputs, constants=("weights",))
    assert [row.name for row in report.assert_exact().rows] == ["dx"]


def tuple_forward_without_kept(x, weights, kept, *, power, dropout, out):
    out[...] = x[:, :4]


def assigning_to_a_field(weights, dweights):
    dweights.scale = 2 * dweights.scale


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"forward": tuple_forward_without_kept}, "forward left all of kept.scaled unwritten"),
        ({"backward": no_out}, "backward has no argument 'dweights'"),
        ({"constants": ("weights.bias",)}, "'weights.bias', which is no input: did you mean"),
        (
            {"backward": tuple_backward_with(lambda w, dw: w.scale.__imul__(2))},
            "it writes to an array that it may only read",
        ),
        (
            {"backward": tuple_backward_with(assigning_to_a_field)},
            "assigns to a field of a named tuple",
        ),
        ({"backward": tuple_backward_with(lambda w, dw: 1 / w.bias)}, r"weights.scale \(6,\)"),
    ],
)
def test_a_layer_with_named_tuples_that_does_not_fit_is_refused(change, message):
    given = {"forward": tuple_forward, "backward": tuple_backward} | change
    inputs, outputs = tuple_example()
    with pytest.raises(gn.InputError, match=message):
        gn.check_layer(inputs=inputs, outputs=outputs, **given)


def test_a_list_in_a_named_tuple_is_refused():
    inputs, outputs = tuple_example()
    inputs["weights"] = inputs["weights"]._replace(shift=[1.0])
    with pytest.raises(gn.InputError, match="weights.shift is a list: give a NumPy array"):
        gn.check_layer(tuple_forward, tuple_backward, inputs, outputs)


def test_mistakes_see_the_fields_of_named_tuples():
    def mistakes(arrays):
        assert {"weights.scale", "kept.scaled", "dropout.rate", "x", "dout"} <= arrays.keys()
        yield "dweights.scale", "it is that of another layer", np.ones(6)

    backward = tuple_backward_with(lambda w, dw: dw.scale.fill(1))
    report = gn.check_layer(tuple_forward, backward, *tuple_example(), mistakes=mistakes)
    assert "looks like: it is that of another layer" in str(report)
