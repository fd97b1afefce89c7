"""What rounding to bfloat16 costs is measured, and an error that it does not explain is found."""

import json

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.gradients import rounding

CONFIG = gn.GPTConfig(vocab_size=13, block_size=6, n_layer=1, n_head=2, n_embd=8, dropout=0.1)
TOKENS, TARGETS = np.random.default_rng(0).integers(0, 13, (2, 2, 6))


@pytest.mark.parametrize("ops", ["kernels", "reference"])
def test_rounding_explains_the_errors_of_a_model_and_nothing_else_does(ops):
    model = gn.GPT(CONFIG, dtype="bfloat16", ops=ops)
    report = rounding.rounding_errors(model, TOKENS, TARGETS, dropout_key=3)
    assert {report.ops, report.other} == {"kernels", "reference"} and report.ops == ops
    assert [row.name for row in report.rows] == list(model.params)
    assert report.ok and "all errors are explained by rounding" in str(report)
    weights = [row for row in report.rows if row.name.endswith("c_attn.weight")]
    assert all(1e-4 < row.error < 0.05 and 1e-4 < row.explained < 0.05 for row in weights)
    assert json.loads(json.dumps(report.as_dict()))["ok"] is True


def reported(monkeypatch, exact, ours, theirs):
    """The report on three sets of gradients; every set is asked for once, in its precision."""
    asked = []

    def gradients(model, dtype, ops, tokens, targets, key):
        asked.append((dtype, ops))
        if dtype == "float64":
            return exact
        return ours if ops == model.ops_name else theirs

    monkeypatch.setattr(rounding, "_gradients", gradients)
    model = gn.GPT(CONFIG, dtype="bfloat16", ops="kernels")
    report = rounding.rounding_errors(model, TOKENS, TARGETS)
    assert sorted(asked) == [
        ("bfloat16", "kernels"), ("bfloat16", "reference"), ("float64", "kernels"),
    ]  # fmt: skip
    return report


@pytest.mark.parametrize(
    ("error", "explained", "ok"),
    [
        (0.02, 0.0101, True),  # at most twice the other implementation's
        (0.0203, 0.0101, False),
        (2 * 2.0**-8, 0.0, True),  # or two roundings, where the other one happens to be exact
        (2.1 * 2.0**-8, 0.0, False),
        (0.5, 0.0, False),
        (np.nan, 0.0, False),
    ],
)
def test_an_error_is_explained_up_to_twice_that_of_the_other_or_of_one_rounding(
    monkeypatch, error, explained, ok
):
    exact = {"a": np.array([[1.0, -4.0]]), "b": np.array([2.0])}
    ours = exact | {"a": exact["a"] + [[0.0, 4 * error]]}
    theirs = exact | {"a": exact["a"] - [[4 * explained, 0.0]]}
    report = reported(monkeypatch, exact, ours, theirs)
    a, b = report.rows
    assert (a.ok, b.ok, report.ok) == (ok, True, ok)
    assert np.isclose([a.error, a.explained], [error, explained], equal_nan=True).all()
    assert (a.shape, b.error) == ((1, 2), 0.0)
    said = "all errors are" if ok else "1 of 2 errors are not"
    assert said in str(report) and ("MORE THAN ROUNDING" in str(report)) is not ok


def test_a_tensor_that_is_nearly_zero_is_measured_against_the_largest_gradient(monkeypatch):
    exact = {"a": np.array([10.0]), "zero": np.array([1e-9])}
    ours = exact | {"zero": np.array([1e-5])}
    report = reported(monkeypatch, exact, ours, exact)
    assert report.ok and report.rows[1].error == pytest.approx(1e-3, rel=1e-3)


def test_a_gradient_that_is_not_finite_cannot_be_measured(monkeypatch):
    for value in (np.inf, np.nan):
        exact = {"a": np.array([1.0]), "b": np.array([1.0, value])}
        with pytest.raises(gn.InputError, match="is not finite: rounding cannot be measured"):
            reported(monkeypatch, exact, exact, exact)
