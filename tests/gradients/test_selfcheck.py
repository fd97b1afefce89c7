"""`gpt-numpy selfcheck`: what it measures, what it finds, and when it says no."""

import json

import numpy as np
import pytest

from gpt_numpy.cli import main as cli
from gpt_numpy.gradients import selfcheck
from gpt_numpy.gradients.mutation import LIVE, PACKAGE, Mutation

GOOD = {
    "mutations": {
        "mutations": 9, "in_kernels": 4, "killed": 8, "equivalent": 1, "survived": 0,
        "date": "2026-01-02", "version": "0.1",
    },
    "false_alarms": {"seeds": 20, "alarms": 0, "date": "2026-01-03", "version": "0.1"},
}  # fmt: skip


def sources():
    return {path: path.read_bytes() for path in PACKAGE.rglob("*.py")}


def test_all_is_measured_and_every_mistake_is_found(capsys):
    before = sources()
    assert cli.main(["selfcheck"]) == 0
    out = capsys.readouterr().out
    assert out.count("  ok\n") == 15
    assert out.count("  found\n") == len(LIVE) == 5
    assert "recorded, not measured here" in out
    assert "MISSED" not in out
    assert sources() == before


def test_a_figure_beyond_its_bound_is_a_miss(capsys, monkeypatch):
    monkeypatch.setattr(selfcheck, "gradient_error", lambda changes: 1.1e-13)
    monkeypatch.setattr(selfcheck, "_error_in", lambda folder: 1e-3)
    assert cli.main(["selfcheck"]) == 1
    out = capsys.readouterr().out
    assert out.count("  MISSED\n") == len(selfcheck.MODELS) + 2  # and the copy as it is
    assert f"{len(selfcheck.MODELS) + 2} MISSED;" in out


def test_a_bit_of_a_bfloat16_product_that_is_another_is_a_miss(monkeypatch):
    assert selfcheck._bfloat16_bits().ok
    right = selfcheck.bfloat16_product

    def wrong(a, b, order):
        out = right(a, b, order=order)
        out[-1, -1] = np.nextafter(out[-1, -1], np.float32(0))
        return out

    monkeypatch.setattr(selfcheck, "bfloat16_product", wrong)
    assert selfcheck._bfloat16_bits().value == 6


def test_not_a_number_is_a_miss():
    assert not selfcheck.Figure("", float("nan"), 1.0).ok
    assert selfcheck.Figure("", float("nan"), 1.0, mistake=True).ok


def test_a_mistake_that_changes_nothing_is_not_found():
    harmless = Mutation("X", "nothing", "reference/linear.py", (("out += bias", "out += +bias"),))
    plain, noticed = selfcheck.try_mutations((harmless,))
    assert plain.ok and not noticed.ok
    assert "NOT FOUND" in str(noticed)


def test_a_gradient_that_is_off_by_a_thousandth_shows_in_the_taylor_remainder(monkeypatch):
    assert selfcheck._distance_from_order_2() < selfcheck.ORDER / 2
    right = selfcheck.GPT.backward

    def wrong(model):
        right(model)
        model.grads.flat *= 1.001

    monkeypatch.setattr(selfcheck.GPT, "backward", wrong)
    assert selfcheck._distance_from_order_2() > 0.5


@pytest.mark.parametrize("what", ["rows of dlogits", "the key bias", "dx is orthogonal"])
def test_an_identity_that_does_not_hold_is_a_miss(monkeypatch, what):
    right, layer_norm = selfcheck.GPT.backward, selfcheck.layernorm_backward

    def wrong(model):
        right(model)
        model.grads["h.0.attn.c_attn.bias"][6:12] += 1e-14
        model.activation_grads["logits"][0, 0, 0] += 1e-12

    def wrong_layer_norm(*arguments, dx, **others):
        layer_norm(*arguments, dx=dx, **others)
        dx *= 1 + 1e-13 * np.arange(dx.shape[-1])

    monkeypatch.setattr(selfcheck.GPT, "backward", wrong)
    monkeypatch.setattr(selfcheck, "layernorm_backward", wrong_layer_norm)
    assert not next(figure for figure in selfcheck._identities() if what in figure.what).ok


@pytest.mark.parametrize(
    ("change", "well"),
    [
        ({}, True),
        ({"mutations": GOOD["mutations"] | {"survived": 1}}, False),
        ({"false_alarms": GOOD["false_alarms"] | {"alarms": 1}}, False),
        ({"false_alarms": {}}, False),
    ],
)
def test_recorded_figures_bear_their_date_and_version(tmp_path, change, well):
    path = tmp_path / "recorded.json"
    path.write_text(json.dumps(GOOD | change), encoding="utf-8")
    lines, ok = selfcheck.recorded(path)
    assert ok is well
    if change != {"false_alarms": {}}:
        assert "2026-01-02, version 0.1" in lines[0]
        assert "2026-01-03, version 0.1" in lines[1]


def test_a_record_that_is_missing_or_damaged_is_a_miss(tmp_path):
    path = tmp_path / "recorded.json"
    assert not selfcheck.recorded(path)[1]
    path.write_text("{", encoding="utf-8")
    assert not selfcheck.recorded(path)[1]


def test_selfcheck_takes_no_settings(capsys):
    assert cli.main(["selfcheck", "--n_layer=2"]) == 2
    assert cli.main(["selfcheck", "tiny"]) == 2
