"""How derivatives are measured and chosen, and what the report makes of them."""

import dataclasses
import json
import math

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.gradients import model_check, oracles, plan
from gpt_numpy.gradients.derivatives import best_slope, central, richardson
from gpt_numpy.gradients.model_check import randomise
from gpt_numpy.gradients.oracles import Measured, Twins, kinds_of
from gpt_numpy.gradients.report import Report, TensorCheck

CONFIG = gn.GPTConfig(vocab_size=7, block_size=6, n_layer=2, n_head=1, n_embd=4)


def twins(**changed):
    config = dataclasses.replace(CONFIG, **changed)
    hand, oracle = (
        gn.GPT(config, seed=None, dtype=dtype, ops="reference", keep=keep)
        for dtype, keep in (("float64", ()), ("complex128", ("losses",)))
    )
    randomise(hand, 0)
    oracle.params.flat[...] = hand.params.flat
    tokens = np.random.default_rng(0).integers(0, 7, (2, 6))
    targets = np.random.default_rng(1).integers(0, 7, (2, 6))
    targets[1, 3:] = -1
    hand.forward(tokens, targets)
    hand.backward()
    return Twins(hand, oracle, tokens, targets, None)


def quiet(*arguments):
    """Stands in for a bar of progress."""


def test_differences_have_their_order():
    def cubic(h):
        return (1 + h) ** 3

    assert central(cubic, 0.5) == 3.25  # 3 + h^2
    assert richardson(cubic, 0.5) == pytest.approx(3, abs=1e-14)
    slope = best_slope(lambda h: np.array([math.nan if abs(h) > 0.01 else 2 * h, h]))
    assert slope.value == pytest.approx([2, 1]) and np.all(slope.step < [0.02, 1])


def test_kinds_group_blocks_and_nothing_else():
    kinds = kinds_of(twins().hand)
    assert kinds["h.*.ln_1.weight"] == ["h.0.ln_1.weight", "h.1.ln_1.weight"]
    assert kinds["wte.weight"] == ["wte.weight"] and kinds["ln_f.bias"] == ["ln_f.bias"]
    assert sum(map(len, kinds.values())) == len(twins().hand.params)


def test_measuring_leaves_no_trace():
    case = twins()
    before = case.hand.params.flat.copy(), case.oracle.params.flat.copy()
    rng = np.random.default_rng(0)
    oracles.by_element(case, quiet)
    oracles.by_direction(case, rng, quiet)
    oracles.by_kind(case, rng, quiet)
    oracles.by_differences(case, rng, quiet)
    assert np.array_equal(case.hand.params.flat, before[0])
    assert np.array_equal(case.oracle.params.flat, before[1])


def test_contributions_of_the_positions_add_up_to_the_gradient():
    case = twins()
    for name, found in oracles.by_element(case, quiet).items():
        total = found.contributions.sum(axis=(0, 1)).reshape(found.exact.shape)
        assert np.allclose(total, found.exact, rtol=1e-12, atol=1e-15), name
        assert not found.contributions[case.targets < 0].any(), name


@pytest.mark.parametrize("method", ["by_element", "by_direction", "by_differences"])
def test_one_wrong_element_is_measured(method):
    case = twins()
    grad = case.hand.grads["h.1.mlp.c_fc.weight"]
    grad[2, 3] += 0.5 * np.abs(grad).max()
    more = () if method == "by_element" else (np.random.default_rng(0),)
    found = getattr(oracles, method)(case, *more, quiet)
    assert list(found) == list(case.hand.params)
    errors = {name: m.difference / m.scale for name, m in found.items()}
    assert [name for name, error in errors.items() if error > 1e-5] == ["h.1.mlp.c_fc.weight"]


def test_a_slope_that_is_small_by_chance_is_measured_by_the_norm():
    grad = np.array([1.0, -1.0])
    found = oracles._along(np.array([1.0, 1.0]), grad, 1e-12)
    assert found.difference == pytest.approx(1e-12) and found.scale == pytest.approx(2**0.5)


@pytest.mark.parametrize("method", ["elements", "directions", "differences"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_is_wrong(method, bad, monkeypatch):
    case = twins()
    backward = gn.GPT.backward

    def wrong(self):
        backward(self)
        self.grads["h.0.attn.c_proj.bias"][1] = bad

    monkeypatch.setattr(gn.GPT, "backward", wrong)
    report = gn.gradcheck(case.hand, case.tokens, case.targets, method=method)
    assert [row.name for row in report.rows if not row.ok] == ["h.0.attn.c_proj.bias"]
    assert "1 elements are not finite" in str(report) or "1 of 4 elements" in str(report)
    assert not report.ok and report.worst.name == "h.0.attn.c_proj.bias"
    json.dumps(report.as_dict(), allow_nan=False)


def test_a_tensor_without_a_gradient_is_compared_with_the_largest():
    case = twins()
    none = np.zeros(4)
    found = {
        "ln_f.bias": Measured(0.0, 8.0, none),
        "h.0.ln_1.bias": Measured(1e-13, 1e-16, none),
        "h.0.ln_2.bias": Measured(1e-5, 1e-16, none),
    }
    rows = model_check._rows(case, found, 1e-10, np.random.default_rng(0))
    assert [row.error for row in rows] == pytest.approx([0, 1e-13 / 8e-3, 1e-5 / 8e-3])
    assert [row.ok for row in rows] == [True, True, False]


def test_a_kind_whose_differences_are_not_a_number_disagrees():
    rows, note = model_check._check_kinds({"a": (1e-9, 1e-9, 0.1), "b": (math.nan, 0.0, 0.1)})
    assert [row.name for row in rows] == ["b"]
    rows, note = model_check._check_kinds({"a": (1e-9, 1e-9, 0.1), "b": (1e-5, 0.0, 0.1)})
    assert [row.name for row in rows] == ["b"] and "DISAGREE" in note
    rows, note = model_check._check_kinds({"a": (1e-9, 1e-9, 0.1), "b": (1e-7, 0.0, 0.1)})
    assert not rows and "agree" in note


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "relu", "relu2", "swiglu"])
def test_differences_across_kinks_have_small_steps(activation, monkeypatch):
    case = twins(activation=activation, n_embd=48)  # many inputs of the activation, some near 0

    def largest_error():
        found = oracles.by_kind(case, np.random.default_rng(0), lambda *_: None)
        return max(error for error, _, _ in found.values())

    assert largest_error() <= 1e-7
    monkeypatch.setattr(oracles, "KINKED_STEPS", oracles.SMOOTH_STEPS)
    assert (largest_error() > 1e-6) == (activation in ("relu", "relu2"))


def test_a_method_is_chosen_by_time(monkeypatch):
    case = twins(block_size=300)
    tokens = np.zeros((2, 300), int)
    seconds = {"step": 1e-3}
    monkeypatch.setattr(plan, "_seconds_of_forward", lambda *arguments: seconds["step"])

    def chosen(method="auto", oracle=case.oracle):
        return plan.choose_method(case.hand, oracle, tokens, tokens, None, method)

    n = case.hand.n_params
    assert chosen().method == "elements" and chosen().tokens.shape == (2, 300)
    assert chosen().seconds == pytest.approx(n * 1e-3)
    seconds["step"] = 1.01 * plan.BUDGET_SECONDS / n
    assert chosen().method == "directions" and chosen().tokens.shape == (1, 256)
    assert chosen("elements").method == "elements"
    assert chosen("differences", None).method == "differences"
    assert chosen("differences", None).tokens.shape == (1, 256)
    assert plan.positions_of(plan.LARGE - 1) == 256 and plan.positions_of(plan.LARGE) == 128


def test_the_report_counts_what_is_wrong():
    rows = [TensorCheck("a", (2, 3), 1.0, 1e-14, True), TensorCheck("bb", (3,), 1.0, 0.5, False)]
    report = Report(tuple(rows), "a method", 1e-10, 1.5, ("a note",))
    assert not report.ok and report.worst.name == "bb"
    assert "1 of 2 gradients WRONG; largest error 5.0e-01 in bb" in str(report)
    assert [line.split()[-1] for line in report.lines()[1:3]] == ["exact", "WRONG"]
    assert "2 x 3" in str(report) and "a note" in str(report)
    right = Report(tuple(rows[:1]), "a method", 1e-10, 1.5)
    assert right.ok and "all exact" in str(right) and right.assert_exact() is right


def test_parameters_of_a_check_hide_nothing():
    config = dataclasses.replace(CONFIG, n_embd=32)
    model = gn.GPT(config, seed=None, ops="reference")
    randomise(model, 0)
    for name, param in model.params.items():
        assert param.std() > 0.1, name
        assert (np.abs(param) > 1e-6).all(), name
    assert model.params["ln_f.weight"].mean() > 0.3


def test_differences_have_a_tolerance_of_their_own():
    case = twins()
    report = gn.gradcheck(case.hand, case.tokens, case.targets, method="differences")
    assert report.ok and report.tolerance == 1e-6
    assert 1e-13 < report.worst.error < 1e-7


def test_a_kind_with_a_wrong_gradient_is_measured():
    case = twins()
    case.hand.grads["h.0.ln_2.weight"][...] *= 1.5
    found = oracles.by_kind(case, np.random.default_rng(0), quiet)
    wrong = [kind for kind, (error, _, _) in found.items() if not error < 1e-6]
    assert wrong == ["h.*.ln_2.weight"]


def test_a_tensor_of_zeros_is_moved():
    case = twins()
    case.hand.params["ln_f.bias"][...] = 0
    rng = np.random.default_rng(0)
    assert oracles._scaled_directions(case.hand, ["ln_f.bias"], rng)["ln_f.bias"].all()


def test_a_plan_says_what_is_done():
    case = twins(dropout=0.25)

    def said(key):
        return plan.choose_method(
            case.hand, case.oracle, case.tokens, case.targets, key, "auto"
        ).description

    assert said(5).endswith("tokens 2 x 6, float64, reference, dropout 0.25 with a fixed mask")
    assert said(None).endswith("tokens 2 x 6, float64, reference")
