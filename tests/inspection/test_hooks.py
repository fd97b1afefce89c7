"""Replaced activations: the passes go on with them, and the gradients are exact."""

import dataclasses

import numpy as np
import pytest

import gpt_numpy as gn
import gpt_numpy.kernels
from gpt_numpy.config.choices import IMPLEMENTATIONS
from gpt_numpy.gradients.model_check import randomise
from gpt_numpy.inspection.hooks.hooks import replaceable

CONFIG = gn.GPTConfig(vocab_size=7, block_size=4, n_layer=2, n_head=2, n_embd=4)
STEP = 1e-30


def build(ops="reference", dtype="float64", keep=(), **changes):
    config = dataclasses.replace(CONFIG, **changes)
    model = gn.GPT(config, seed=None, dtype="float64", ops=ops, keep=keep)
    randomise(model, seed=2)
    if dtype == "float64":
        return model
    twin = gn.GPT(config, seed=None, dtype=dtype, ops="reference")
    twin.params.flat[...] = model.params.flat
    return twin


def batch():
    tokens, targets = np.random.default_rng(0).integers(0, 7, (2, 2, 4))
    targets[0, 1] = -1
    return tokens, targets


class Squared:
    """x^2 / 2, whose backward needs the x that forward saw."""

    def forward(self, x):
        self.x = x.copy()
        return x * x / 2

    def backward(self, dout):
        return dout * self.x


def as_pair(kind):
    if kind == "squared":
        squared = Squared()
        return squared.forward, squared.backward
    if kind == "scaled":
        return (lambda x: 0.5 * x), (lambda dout: 0.5 * dout)
    return 0.25


def exact_gradients(model, replacements):
    """Every parameter's gradient by the complex step, with fresh replacements in each pass."""
    oracle = build(dtype="complex128", **{
        name: getattr(model.config, name) for name in ("dropout", "activation", "bias", "tied")
    })  # fmt: skip
    exact = {}
    key = 5 if model.config.dropout else None
    with gn.replaced(oracle, replacements()):
        for name, param in oracle.params.items():
            slopes = np.empty(param.size)
            flat = param.reshape(-1)
            for j in range(param.size):
                flat[j] += 1j * STEP
                slopes[j] = oracle.forward(*batch(), dropout_key=key).imag / STEP
                flat[j] = flat[j].real
            exact[name] = slopes.reshape(param.shape)
    return exact


def assert_exact(model, replacements):
    key = 5 if model.config.dropout else None
    with gn.replaced(model, replacements()):
        model.forward(*batch(), dropout_key=key)
        model.backward()
    exact = exact_gradients(model, replacements)
    largest = max(np.abs(value).max() for value in exact.values())
    assert largest > 1e-3
    for name, value in exact.items():
        bound = 1e-12 * max(np.abs(value).max(), 1e-3 * largest)
        np.testing.assert_allclose(model.grads[name], value, rtol=0, atol=bound, err_msg=name)


# ---------------------------------------------------------------- gradients

NAMES = [name for name in replaceable(CONFIG) if not name.startswith("h.1.")]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["squared", "scaled"])
def test_gradients_through_a_function_are_exact(name, kind):
    assert_exact(build(), lambda: {name: as_pair(kind)})


@pytest.mark.parametrize("ops", IMPLEMENTATIONS)
@pytest.mark.parametrize("keep", [(), ("*",)])
def test_gradients_with_many_replacements_are_exact(ops, keep):
    def replacements():
        rng = np.random.default_rng(3)
        return {
            "h.0.attn.query": as_pair("scaled"),
            "h.0.attn.qkv": as_pair("squared"),
            "h.1.attn.heads": as_pair("squared"),
            "h.1.mlp.act": rng.standard_normal((4, 16)),
            "h.0.resid_post": as_pair("scaled"),
            "ln_f.out": as_pair("squared"),
        }

    assert_exact(build(ops, keep=keep, activation="gelu", bias=False, tied=False), replacements)


def test_gradients_are_exact_where_only_a_part_of_the_logits_exists(monkeypatch):
    monkeypatch.setattr(gpt_numpy.kernels, "LOGITS", 20)
    names = ("logits", "ln_f.out")
    assert_exact(build("kernels"), lambda: {name: as_pair("squared") for name in names})


def test_gradients_are_exact_under_dropout():
    names = ("h.0.attn.proj", "h.1.mlp.proj", "h.1.attn.out", "embedding.out")
    assert_exact(build(dropout=0.3), lambda: {name: as_pair("squared") for name in names})


@pytest.mark.parametrize("ops", IMPLEMENTATIONS)
@pytest.mark.parametrize("name", replaceable(CONFIG))
def test_replacing_an_activation_by_itself_changes_nothing(ops, name):
    model, plain = build(ops, keep=("*",)), build(ops, keep=("*",))
    same = (lambda x: x), (lambda dout: dout)
    with gn.replaced(model, {name: same}):
        loss = model.forward(*batch())
        model.backward()
    assert loss == pytest.approx(plain.forward(*batch()), rel=1e-12)
    plain.backward()
    np.testing.assert_allclose(model.grads.flat, plain.grads.flat, rtol=1e-9, atol=1e-12)
    for kept, array in plain.activation_grads.items():
        np.testing.assert_allclose(model.activation_grads[kept], array, rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("ops", IMPLEMENTATIONS)
def test_the_model_uses_the_replacement_within_the_block_only(ops):
    model = build(ops, keep=("*",))
    before = model.forward(*batch())
    whole = np.arange(2 * 4 * 4.0).reshape(2, 4, 4)
    with gn.replaced(model, {"h.0.resid_post": whole}):
        inside = model.forward(*batch())
        np.testing.assert_array_equal(model.activations["h.0.resid_post"], whole)
        np.testing.assert_array_equal(model.logits(batch()[0])[0, 0].shape, (7,))
        model.forward(*batch())
        model.backward()
        for name, grad in model.grads.items():  # nothing below the cut has a gradient but the head
            if name.startswith(("h.0.", "wpe")):
                assert not grad.any(), name
    assert inside != before and model.forward(*batch()) == before
    other = build(ops)
    other.params["wpe.weight"][...] += 1
    with gn.replaced(other, {"h.0.resid_post": whole}):
        assert other.forward(*batch()) == pytest.approx(inside, rel=1e-12)


def test_ablating_a_head_is_setting_its_rows_of_the_projection_to_zero():
    model = build("kernels")
    effect = gn.ablate(model, *batch(), "h.1.attn.heads", head=1)
    other = build("kernels")
    other.params["h.1.attn.c_proj.weight"][2:] = 0
    assert effect.before == model.forward(*batch())
    assert effect.after == pytest.approx(other.forward(*batch()), rel=1e-12)
    assert effect.change == effect.after - effect.before
    other.backward()
    model.backward()
    for name in ("h.0.mlp.c_fc.weight", "wte.weight"):
        norm = np.linalg.norm(other.grads[name] - model.grads[name])
        expected = norm / np.linalg.norm(model.grads[name])
        assert effect.grad_change[name] == pytest.approx(expected, rel=1e-9)


def test_ablating_a_neuron_is_setting_its_row_of_the_projection_to_zero():
    model = build()
    effect = gn.ablate(model, *batch(), "h.0.mlp.act", neuron=3)
    model.params["h.0.mlp.c_proj.weight"][3] = 0
    assert effect.after == pytest.approx(model.forward(*batch()), rel=1e-12)


def test_ablating_the_last_position_leaves_the_losses_before_it():
    model = build(keep=("losses",))
    tokens, targets = batch()
    targets[:, -1] = -1
    assert gn.ablate(model, tokens, targets, "h.0.attn.out", position=3).change == 0
    assert gn.ablate(model, tokens, targets, "h.0.attn.out", position=2).change != 0
    assert gn.ablate(model, tokens, targets, "h.0.attn.out", position=0, value=2.0).change != 0


def test_ablating_leaves_the_model_as_it_was():
    model = build("kernels")
    ops = model.ops
    model.forward(*batch())
    gn.ablate(model, *batch(), "h.0.attn.heads", head=0)
    model.backward()
    other = build("kernels")
    other.forward(*batch())
    other.backward()
    np.testing.assert_array_equal(model.grads.flat, other.grads.flat)
    assert model.ops is ops


@pytest.mark.parametrize("ops", IMPLEMENTATIONS)
def test_a_trace_shows_the_replacement(ops):
    model = build(ops)
    with gn.replaced(model, {"h.0.attn.heads": 0.0}), gn.replaced(model, {"h.1.mlp.act": 1.0}):
        trace = gn.trace(model, *batch())
    assert not trace["h.0.attn.out"].value.any() and not trace["h.0.attn.out"].grad.any()
    assert (trace["h.1.mlp.act"].value == 1).all()
    assert trace["h.1.attn.heads"].value.any()


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("h.0.atn.heads", {}, "did you mean h.0.attn.heads"),
        ("h.0.attn.probabilities", {}, "cannot be replaced"),
        ("h.0.ln_1.mean", {}, "cannot be replaced"),
        ("wte.weight", {}, "cannot be replaced"),
        ("h.0.attn.heads", {"head": 2}, "head=2: h.0.attn.heads has 2 of them, from 0 to 1"),
        ("h.0.attn.heads", {"head": -1}, "head=-1"),
        ("h.0.mlp.act", {"neuron": 16}, "neuron=16"),
        ("h.0.mlp.act", {"head": 1}, "h.0.mlp.act has no heads"),
        ("h.0.mlp.act", {"position": 4}, "position=4"),
    ],
)
def test_bad_arguments_of_ablate_are_refused(name, options, message):
    with pytest.raises(gn.InputError, match=message):
        gn.ablate(build(), *batch(), name, **options)


def test_bad_replacements_are_refused():
    model = build()
    for value in ("nothing", None, (np.sin,), np.sin):
        with pytest.raises(gn.InputError, match="replace it by an array"):
            with gn.replaced(model, {"h.0.mlp.act": value}):
                pass
    with pytest.raises(gn.InputError, match="h.0.mlp.act is a masked array"):
        with gn.replaced(model, {"h.0.mlp.act": np.ma.zeros((2, 4, 16))}):
            pass
    with gn.replaced(model, {"h.0.mlp.act": np.zeros(3)}):
        with pytest.raises(gn.InputError, match=r"has shape \(3,\): it must fit \(2, 4, 16\)"):
            model.forward(*batch())
    assert model.ops.__name__ == "gpt_numpy.reference"


def test_two_replacements_of_one_array_are_undone_in_reverse():
    def nested():
        rolled = (lambda x: np.roll(x, 1, axis=-1)), (lambda dout: np.roll(dout, -1, axis=-1))
        return {"h.0.attn.qkv": as_pair("squared"), "h.0.attn.query": rolled}

    assert_exact(build(), nested)


def test_no_gradient_passes_through_what_was_ablated():
    effect = gn.ablate(build(), *batch(), "h.0.resid_post")
    assert effect.grad_change["wpe.weight"] == 1  # none is left


def test_after_an_error_nothing_is_replaced():
    model = build()
    loss = model.forward(*batch())
    with pytest.raises(ZeroDivisionError), gn.replaced(model, {"h.0.mlp.act": 0.0}):
        raise ZeroDivisionError
    assert model.forward(*batch()) == loss


def test_the_change_of_a_gradient_that_was_zero_is_infinite():
    model = build(activation="relu")
    model.params["h.1.mlp.c_fc.bias"][...] = -1000  # no neuron is active
    effect = gn.ablate(model, *batch(), "h.1.mlp.act", value=1.0)
    assert effect.grad_change["h.1.mlp.c_proj.weight"] == np.inf
    assert effect.grad_change["h.1.mlp.c_fc.weight"] == 0
