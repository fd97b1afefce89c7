"""The model computes what PyTorch computes: logits, loss, all gradients, and 100 steps of training.

golden/golden.npz holds PyTorch's results, in float64; golden/make_golden.py says what is in it and
makes it anew. Nothing here needs torch.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.config.choices import IMPLEMENTATIONS

PATH = Path(__file__).parents[1] / "golden" / "golden.npz"
CASES = ("A", "B", "C", "D")  # tied or not, biases or none, three activations, both positions
TRACED = ("A", "C")  # also trained for 100 steps
STEPS = 100


@pytest.fixture(scope="module")
def golden():
    with np.load(PATH, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(params=IMPLEMENTATIONS)
def ops(request):
    return request.param


def named(golden, values, shapes):
    """The arrays that lie one after the other in the vector `values`, by name."""
    arrays, start = {}, 0
    for name, shape in json.loads(str(golden[shapes])).items():
        stop = start + math.prod(shape)
        arrays[name] = golden[values][start:stop].reshape(shape)
        start = stop
    assert start == golden[values].size
    return arrays


def build(golden, case, ops, keep=(), dtype="float64"):
    """The model of a case, with the initial parameters of the file."""
    config = gn.GPTConfig(**json.loads(str(golden[f"{case}/config"])))
    model = gn.GPT(config, dtype=dtype, ops=ops, keep=keep)
    start = named(golden, f"{case}/params", f"{case}/param_shapes")
    assert {n: p.shape for n, p in model.params.items()} == {n: p.shape for n, p in start.items()}
    for name, value in start.items():
        model.params[name][...] = value
    return model


def batch(golden, case):
    return golden[f"{case}/tokens"], golden[f"{case}/targets"]


def split_key_biases(params, config):
    """All parameters but the keys' biases; and those.

    Softmax does not see a key's bias: it adds one number to all scores of a query. Its gradient is
    only rounding, which AdamW divides by about 1e-8: steps near 1e-10, nobody's to match.
    """
    others, key_biases = dict(params), {}
    for i in range(config.n_layer if config.bias else 0):
        name = f"h.{i}.attn.c_attn.bias"
        query, key_biases[name], value = np.split(others.pop(name), 3)
        others |= {f"{name} (query)": query, f"{name} (value)": value}
    return others, key_biases


def assert_close(actual, expected, tolerance):
    """Largest difference of each tensor, relative to its largest element.

    A tensor smaller than a thousandth of the largest of all counts as that large: some gradients
    are exactly zero.
    """
    floor = 1e-3 * max(np.abs(value).max() for value in expected.values())
    wrong = {}
    for name, value in expected.items():
        assert actual[name].shape == value.shape, name
        error = np.abs(actual[name] - value).max() / max(np.abs(value).max(), floor)
        if not error <= tolerance:  # also when it is not a number
            wrong[name] = float(error)
    assert not wrong, f"error above {tolerance}: {wrong}"


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_pytorch(golden, case, ops):
    tokens, _ = batch(golden, case)
    actual = build(golden, case, ops).logits(tokens)
    assert_close({"logits": actual}, {"logits": golden[f"{case}/logits"]}, 1e-12)


@pytest.mark.parametrize("case", CASES)
def test_loss_equals_pytorch(golden, case, ops):
    loss = build(golden, case, ops).forward(*batch(golden, case))
    assert loss == pytest.approx(golden[f"{case}/loss"].item(), rel=1e-12, abs=0)


@pytest.mark.parametrize("case", CASES)
def test_every_parameter_gradient_equals_pytorch(golden, case, ops):
    model = build(golden, case, ops)
    expected = named(golden, f"{case}/grads", f"{case}/param_shapes")
    model.forward(*batch(golden, case))
    model.grads.flat[...] = np.nan  # backward writes all of it and adds to nothing
    model.backward()
    assert list(model.grads) == list(expected)
    assert_close(model.grads, expected, 1e-12)


def test_every_activation_equals_pytorch(golden, ops):
    model = build(golden, "A", ops, keep=("*",))
    model.forward(*batch(golden, "A"))
    expected = named(golden, "A/activations", "A/activation_shapes")
    assert_close(model.activations, expected, 1e-12)


def test_every_activation_gradient_equals_pytorch(golden, ops):
    model = build(golden, "A", ops, keep=("*",))
    model.forward(*batch(golden, "A"))
    model.backward()
    expected = named(golden, "A/activation_grads", "A/activation_shapes")
    assert_close(model.activation_grads, expected, 1e-12)


def test_the_file_has_every_activation_that_is_not_a_statistic(golden, ops):
    model = build(golden, "A", ops, keep=("*",))
    model.forward(*batch(golden, "A"))
    statistics = ("mean", "rstd", "lse", "losses")
    names = {name for name in model.activations if name.split(".")[-1] not in statistics}
    assert names == set(json.loads(str(golden["A/activation_shapes"])))


def train(golden, case, model):
    """The losses and the norms of the gradients of the file's training steps."""
    settings = json.loads(str(golden[f"{case}/trace/settings"]))
    optimizer = gn.AdamW(
        model,
        learning_rate=settings["learning_rate"],
        betas=tuple(settings["betas"]),
        weight_decay=settings["weight_decay"],
        grad_clip=settings["grad_clip"],
    )
    losses, norms = np.zeros(STEPS), np.zeros(STEPS)
    for step in range(STEPS):
        tokens, targets = (golden[f"{case}/trace/{name}"][step] for name in ("tokens", "targets"))
        kept = int((targets != -1).sum())
        for micro in range(len(tokens)):
            losses[step] += model.forward(tokens[micro], targets[micro], divisor=kept)
            model.backward(accumulate=micro > 0)
        optimizer.learning_rate = golden[f"{case}/trace/learning_rates"][step]
        norms[step] = optimizer.step()
    return losses, norms


@pytest.mark.parametrize("case", TRACED)
def test_100_training_steps_equal_pytorch(golden, case, ops):
    model = build(golden, case, ops)
    losses, norms = train(golden, case, model)
    assert np.abs(losses - golden[f"{case}/trace/losses"]).max() <= 1e-10
    assert np.abs(norms - golden[f"{case}/trace/norms"]).max() <= 1e-10
    start, end = (
        named(golden, f"{case}/{values}", f"{case}/param_shapes")
        for values in ("params", "trace/params")
    )
    actual, actual_key_biases = split_key_biases(model.params, model.config)
    expected, _ = split_key_biases(end, model.config)
    assert_close(actual, expected, 1e-10)
    _, initial_key_biases = split_key_biases(start, model.config)
    for name, value in actual_key_biases.items():
        assert np.abs(value - initial_key_biases[name]).max() <= 1e-7, name


@pytest.mark.parametrize("case", TRACED)
def test_100_training_steps_in_float32_stay_with_those_of_float64(golden, case, ops):
    losses, norms = train(golden, case, build(golden, case, ops, dtype="float32"))
    for ours, exact in ((losses, "losses"), (norms, "norms")):
        error = np.abs(ours / golden[f"{case}/trace/{exact}"] - 1).max()
        assert error <= 1e-4, f"{exact}: {error:.1e}"
        assert error > 1e-9, "this was float64"


@pytest.mark.parametrize("case", TRACED)
def test_the_training_steps_of_the_file_cover_what_they_are_for(golden, case):
    clip = json.loads(str(golden[f"{case}/trace/settings"]))["grad_clip"]
    clipped = int((golden[f"{case}/trace/norms"] > clip).sum())
    kept = (golden[f"{case}/trace/targets"] != -1).sum(axis=(2, 3))
    assert len(golden[f"{case}/trace/losses"]) == STEPS
    assert 10 <= clipped <= STEPS - 10
    assert (kept[:, 0] != kept[:, 1]).mean() > 0.9
    assert golden[f"{case}/trace/losses"][-10:].mean() < golden[f"{case}/trace/losses"][:10].mean()
