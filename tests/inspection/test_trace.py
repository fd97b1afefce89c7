"""A trace holds the numbers of the computation, and the right origin of each."""

import dataclasses
import importlib
import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.config.choices import IMPLEMENTATIONS
from gpt_numpy.gradients.model_check import randomise
from gpt_numpy.inspection.page import backwards
from gpt_numpy.inspection.summary.statistics import array_statistics
from gpt_numpy.inspection.summary.table import table
from gpt_numpy.inspection.trace import operations
from gpt_numpy.inspection.trace.diagram import nodes
from gpt_numpy.reference.cross_entropy import capped
from tests.support.sentences import SMALL, pairs

GOLDEN = Path(__file__).parents[1] / "golden"
OF_HEADS = ("q_norm.weight", "k_norm.weight")  # one weight for all heads of a position
CASES = ("A", "B", "C", "D")  # tied or not, biases or none, three activations, both positions
KINDS = {
    "biased": gn.GPTConfig(vocab_size=11, block_size=6, n_layer=2, n_head=2, n_embd=8),
    "bare": gn.GPTConfig(
        vocab_size=7,
        block_size=6,
        n_layer=2,
        n_head=3,
        n_embd=9,
        bias=False,
        activation="relu",
        positions="sinusoidal",
        tied=False,
    ),
    "modern": gn.GPTConfig(
        vocab_size=11,
        block_size=6,
        n_layer=2,
        n_head=4,
        n_kv_head=2,
        n_embd=8,
        norm="rmsnorm",
        positions="rotary",
        qk_norm=True,
        activation="swiglu",
        n_inner=5,
        logit_softcap=2.0,
    ),
}


@pytest.fixture(params=IMPLEMENTATIONS)
def ops(request):
    return request.param


PAIRS = {
    "post": dataclasses.replace(SMALL, dropout=0.0),
    "pre": dataclasses.replace(
        SMALL, dropout=0.0, norm_place="pre", bias=False, label_smoothing=0.0
    ),
}


def random_model(config, ops, **settings):
    kind = gn.GPT if isinstance(config, gn.GPTConfig) else gn.Transformer
    made = kind(config, seed=None, dtype="float64", ops=ops, **settings)
    randomise(made, seed=3)
    return made


@pytest.fixture(params=KINDS)
def gpt(request, ops):
    return random_model(KINDS[request.param], ops)


@pytest.fixture(params=KINDS | PAIRS)
def model(request, ops):
    return random_model((KINDS | PAIRS)[request.param], ops)


def batch(model, sequences=3, length=5, seed=0):
    if isinstance(model, gn.Transformer):
        return pairs(sequences, length, length - 1, model.config.vocab_size, seed)
    rng = np.random.default_rng(seed)
    tokens, targets = rng.integers(0, model.config.vocab_size, (2, sequences, length))
    tokens[:, -1] = tokens[:, 0]
    if length > 1:
        targets[:, 1] = -1
    return tokens, targets


@pytest.fixture(scope="module")
def golden():
    read = {}
    for name in ("golden", "activations"):
        with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as file:
            read[name] = {key: file[key] for key in file.files}
    return read


def split(vector, shapes):
    arrays, start = {}, 0
    for name, shape in json.loads(str(shapes)).items():
        stop = start + math.prod(shape)
        arrays[name] = vector[start:stop].reshape(shape)
        start = stop
    assert start == vector.size
    return arrays


# ---------------------------------------------------------------- the numbers


@pytest.mark.parametrize("case", CASES)
def test_every_activation_and_its_gradient_equal_pytorch(golden, case, ops):
    config = gn.GPTConfig(**json.loads(str(golden["golden"][f"{case}/config"])))
    model = gn.GPT(config, dtype="float64", ops=ops)
    model.params.flat[...] = golden["golden"][f"{case}/params"]
    tokens, targets = (golden["golden"][f"{case}/{name}"][:2] for name in ("tokens", "targets"))
    trace = gn.trace(model, tokens, targets)

    stored = golden["activations"]
    values = split(stored[f"{case}/values"], stored[f"{case}/shapes"])
    grads = split(stored[f"{case}/grads"], stored[f"{case}/shapes"])
    assert {n for n, entry in trace.items() if entry.kind != "parameter"} == set(values)
    largest = max(np.abs(grad).max() for grad in grads.values())
    for name, value in values.items():
        entry = trace[name]
        assert entry.value.shape == value.shape == entry.shape
        np.testing.assert_allclose(entry.value, value, rtol=0, atol=1e-12 * np.abs(value).max())
        if entry.grad is not None:
            bound = 1e-12 * max(np.abs(grads[name]).max(), 1e-3 * largest)
            np.testing.assert_allclose(entry.grad, grads[name], rtol=0, atol=bound, err_msg=name)
        else:
            assert entry.kind == "statistic" or name == "probabilities"


def test_stored_arrays_have_the_same_bits_as_those_that_the_model_keeps(model):
    tokens, targets = batch(model)
    trace = gn.trace(model, tokens, targets)
    kept = random_model(model.config, model.ops_name, keep=("*",))
    assert kept.forward(tokens, targets) == trace.loss
    kept.backward()
    assert len(kept.activations) >= 30
    for name, value in kept.activations.items():
        np.testing.assert_array_equal(trace[name].value, value)
        assert not trace[name].recomputed
    for name, grad in [*kept.activation_grads.items(), *kept.grads.items()]:
        np.testing.assert_array_equal(trace[name].grad, grad)
    for name, value in model.params.items():
        assert np.shares_memory(trace[name].value, value)


def test_tracing_leaves_the_model_as_it_was(model):
    tokens, targets = batch(model)
    model.forward(tokens, targets)
    params, grads = model.params.flat.copy(), model.grads.flat.copy()
    gn.trace(model, *batch(model, seed=1))
    np.testing.assert_array_equal(model.params.flat, params)
    np.testing.assert_array_equal(model.grads.flat, grads)
    model.backward()  # the forward pass from before is still there to go back from
    expected = gn.trace(model, tokens, targets)
    for name, grad in model.grads.items():
        np.testing.assert_array_equal(grad, expected[name].grad)


def test_only_arrays_that_no_layer_stores_are_recomputed(gpt):
    trace = gn.trace(gpt, *batch(gpt))
    endings = {re.sub(r"^h\.\d\.", "", name) for name in trace if trace[name].recomputed}
    assert endings == {
        *("ln_1.xhat", "ln_2.xhat", "ln_f.xhat", "attn.scores", "attn.probabilities"),
        *("attn.proj", "mlp.proj", "probabilities"),
    }


# ---------------------------------------------------------------- where they come from


def test_every_step_is_quoted_from_the_derivation_that_it_names(model):
    trace = gn.trace(model, *batch(model))
    steps = [step for entry in trace.values() for step in entry.forward + entry.backward]
    assert len(steps) > 100
    for step in steps:
        file = importlib.import_module(step.derivation).__file__
        text = " ".join(Path(file).read_text(encoding="utf-8").split())
        rest = text
        for part in step.equation.split(" ... "):
            assert part in rest, (step.equation, step.derivation)
            rest = rest.partition(part)[2]


def test_every_step_names_an_existing_function(model):
    for entry in gn.trace(model, *batch(model)).values():
        for step in entry.forward + entry.backward:
            file = importlib.import_module(step.function.module).__file__
            lines = Path(file).read_text(encoding="utf-8").splitlines()
            assert lines[step.function.line - 1].startswith(f"def {step.function.name}(")
            assert step.function.source.startswith(f"def {step.function.name}(")


def calls_of(function, *arguments):
    """Every call of a Python function during a call, with the arrays that it was given."""
    calls = []

    def note(frame, event, _):
        if event == "call":
            values = list(frame.f_locals.values())
            for value in frame.f_locals.values():
                if isinstance(value, tuple):  # weights, what is kept, their gradients
                    values += value
            arrays = [value for value in values if isinstance(value, np.ndarray)]
            calls.append((frame.f_code.co_name, frame.f_code.co_firstlineno, arrays))

    sys.setprofile(note)
    try:
        result = function(*arguments)
    finally:
        sys.setprofile(None)
    return result, calls


def test_the_function_of_a_step_was_called_with_that_array(model):
    tokens, targets = batch(model)
    gn.trace(model, tokens, targets)  # compiles
    trace, calls = calls_of(gn.trace, model, tokens, targets)
    seen = 0
    for name, entry in trace.items():
        for steps, array in ((entry.forward, entry.value), (entry.backward, entry.grad)):
            for step in steps:
                if entry.recomputed:
                    continue
                seen += 1
                # One of two terms may go through a temporary: that function had the array's value.
                around = (array, entry.value) if len(steps) > 1 else (array,)
                assert any(
                    called == step.function.name
                    and line == step.function.line
                    and any(np.may_share_memory(a, given) for a in around for given in arrays)
                    for called, line, arrays in calls
                ), (name, str(step.function))
    assert seen > 80


def test_the_letters_of_an_equation_stand_for_its_arrays(gpt):
    trace = gn.trace(gpt, *batch(gpt))
    checked = 0
    for name, entry in trace.items():
        for step in entry.forward:
            if step.equation.startswith("out = x @ weight"):
                assert step.equation.endswith(" + bias") == gpt.config.bias
                x, weight, bias = (step.arrays.get(letter) for letter in ("x", "weight", "bias"))
                expected = trace[x].value @ trace[weight].value
                if bias is not None:
                    expected = expected + trace[bias].value
                np.testing.assert_allclose(entry.value, expected, rtol=1e-9, atol=1e-12)
                checked += 1
        for step in entry.backward:
            if step.equation == "dx = dout @ weight.T":
                dout, weight = trace[step.arrays["out"]].grad, trace[step.arrays["weight"]].value
                np.testing.assert_allclose(entry.grad, dout @ weight.T, rtol=1e-9, atol=1e-12)
                assert step.arrays["x"] == name
                checked += 1
    assert checked == 8 * gpt.config.n_layer


def test_the_orders_follow_the_computation(model):
    trace = gn.trace(model, *batch(model))
    forward, backward = list(trace), trace.backward_order
    assert (forward[-1], backward[0]) == ("losses", "losses")
    assert set(backward) == {name for name, entry in trace.items() if entry.grad is not None}
    for node in nodes(model.config):
        for read in (node.arrays[argument] for argument in node.read):
            for argument in set(node.written) - set(node.read):
                written = node.arrays[argument]
                assert forward.index(read) < forward.index(written)
                if written in backward:
                    assert backward.index(written) < backward.index(read)


# ---------------------------------------------------------------- norms


def test_the_norm_of_a_sequence_equals_that_of_a_pass_over_it_alone(gpt):
    tokens, targets = batch(gpt)
    trace = gn.trace(gpt, tokens, targets)
    kept = int((targets >= 0).sum())
    for b in range(len(tokens)):
        one = gn.GPT(gpt.config, dtype="float64", ops=gpt.ops_name, keep=("*",))
        one.params.flat[...] = gpt.params.flat
        one.forward(tokens[b : b + 1], targets[b : b + 1], divisor=kept)
        one.backward()
        for name, grad in [*one.grads.items(), *one.activation_grads.items()]:
            if name.endswith(OF_HEADS):
                continue
            norm = np.linalg.norm(grad)
            measured = trace.example_norms(name)
            assert measured.shape == (len(tokens),)
            assert measured[b] == pytest.approx(norm, rel=1e-9, abs=1e-12), name


def test_norms_of_tokens_equal_those_of_sequences_of_one_token(gpt):
    trace = gn.trace(gpt, *batch(gpt, sequences=4, length=1))
    for name in gpt.params:
        if name.endswith(OF_HEADS):
            with pytest.raises(gn.InputError, match="no formula for queries_keys"):
                trace.token_norms(name)
            continue
        tokens, examples = trace.token_norms(name), trace.example_norms(name)
        assert tokens.shape == (4, 1)
        np.testing.assert_allclose(tokens[:, 0], examples, rtol=1e-9, atol=1e-14)


def test_norms_of_tokens_in_longer_sequences(gpt):
    trace = gn.trace(gpt, *batch(gpt))
    x, dout = trace["h.0.ln_1.out"].value, trace["h.0.attn.qkv"].grad
    head = "wte.weight" if gpt.config.tied else "lm_head.weight"
    dlogits, normed = trace["logits"].grad, trace["ln_f.out"].value
    for b in range(3):
        for t in range(5):
            outer = np.outer(x[b, t], dout[b, t])
            found = trace.token_norms("h.0.attn.c_attn.weight")[b, t]
            assert found == pytest.approx(np.linalg.norm(outer), rel=1e-9)
            own = np.outer(dlogits[b, t], normed[b, t])
            if gpt.config.tied:
                own[trace.tokens[b, t]] += trace["embedding.out"].grad[b, t]
            found = trace.token_norms(head)[b, t]
            assert found == pytest.approx(np.linalg.norm(own), rel=1e-9)
            heads = trace["h.1.attn.heads"].grad[b, :, t]
            found = trace.token_norms("h.1.attn.heads")[b, t]
            assert found == pytest.approx(np.linalg.norm(heads), rel=1e-9)


# ---------------------------------------------------------------- what is kept


def test_only_what_a_pattern_names_is_kept_and_has_the_same_numbers(model):
    tokens, targets = batch(model)
    whole = gn.trace(model, tokens, targets)
    for name in whole:
        part = gn.trace(model, tokens, targets, keep=name)
        assert list(part) == [name]
        np.testing.assert_array_equal(part[name].value, whole[name].value)
        if whole[name].grad is None:
            assert part[name].grad is None
        else:
            np.testing.assert_array_equal(part[name].grad, whole[name].grad)


def test_a_narrow_pattern_takes_less_memory(gpt):
    tokens, targets = batch(gpt)

    def size(trace):
        return trace._sources.stored["h.1.attn.qkv"].base.size

    narrow = gn.trace(gpt, tokens, targets, keep="h.1.attn.*")
    assert size(narrow) < 0.8 * size(gn.trace(gpt, tokens, targets))


def test_without_targets_there_is_a_forward_pass_and_no_gradient(gpt):
    tokens, _ = batch(gpt)
    trace = gn.trace(gpt, tokens)
    logits = capped(trace["logits"].value, gpt.config.logit_softcap)
    np.testing.assert_array_equal(logits, gpt.logits(tokens))
    np.testing.assert_allclose(trace["probabilities"].value.sum(axis=-1), 1)
    assert trace.loss is None and trace.backward_order == [] and "losses" not in trace
    assert all(entry.grad is None and entry.backward == () for entry in trace.values())
    with pytest.raises(gn.InputError, match="no gradient: the trace has no targets"):
        trace.token_norms("logits")


def test_bad_arguments_and_unknown_names_are_refused(gpt):
    tokens, targets = batch(gpt)
    with pytest.raises(gn.InputError, match="did you mean h.1.attn.scores"):
        gn.trace(gpt, tokens, targets, keep=("h.1.atn.scores",))
    with pytest.raises(gn.InputError, match="tokens has shape"):
        gn.trace(gpt, tokens[0], targets[0])
    with pytest.raises(gn.InputError, match="positions: the model sees at most block_size=6"):
        gn.trace(gpt, np.zeros((1, 7), int))
    part = gn.trace(gpt, tokens, targets, keep=("h.0.attn.qkv", "h.0.attn.c_attn.*"))
    with pytest.raises(KeyError, match="it is not kept"):
        part["h.0.attn.out"]
    with pytest.raises(KeyError, match="did you mean h.0.attn.qkv"):
        part["h.0.attn.qvk"]
    with pytest.raises(gn.InputError, match="need h.0.ln_1.out: name it"):
        part.example_norms("h.0.attn.c_attn.weight")
    with pytest.raises(gn.InputError, match="h.0.ln_1.rstd has no gradient: no layer computes one"):
        gn.trace(gpt, tokens, targets).token_norms("h.0.ln_1.rstd")


# ---------------------------------------------------------------- layers without equations


@pytest.mark.parametrize("ops", IMPLEMENTATIONS)
def test_a_layer_without_equations_is_one_operation_with_all_its_arrays(ops, monkeypatch):
    model = gn.GPT(KINDS["biased"], dtype="float64", ops=ops)
    tokens, targets = batch(model)
    known = gn.trace(model, tokens, targets)
    monkeypatch.delitem(operations.OPERATIONS, "attention_sublayer")
    monkeypatch.delitem(operations.ACTIVATIONS, "gelu_tanh")
    trace = gn.trace(model, tokens, targets)
    inside = ("xhat", "query", "key", "value", "scores", "probabilities", "heads", "proj")
    shared = {n for n in known if not n.startswith("h.") or n.split(".")[-1] not in inside}
    assert set(trace) == shared
    for name in shared:
        np.testing.assert_array_equal(trace[name].value, known[name].value)
        np.testing.assert_equal(trace[name].grad, known[name].grad)
    assert set(trace.backward_order) == {n for n in trace if trace[n].grad is not None}
    step = trace["h.0.attn.c_attn.weight"].backward[0]
    assert step.equation == "attention_sublayer_backward"
    assert str(step.function).startswith(f"gpt_numpy.{ops}.")
    assert step.derivation == "gpt_numpy.reference.attention_sublayer"
    with pytest.raises(gn.InputError, match="norms.py has no formula for attention_sublayer"):
        trace.example_norms("h.0.attn.c_attn.weight")
    steps = backwards.steps(trace)
    assert [step["title"] for step in steps].count("attention") == 2
    assert all(equation["code"]["lines"] for step in steps for equation in step["equations"])
    assert len(table(trace, array_statistics(trace))) > len(trace)


def test_probabilities_of_large_logits_sum_to_1():
    # lse of logits near 10,000 is a float32: off by up to 5e-4.
    model = gn.GPT(KINDS["biased"], seed=1, dtype="float32", ops="reference")
    model.params["ln_f.weight"][...] = 0
    model.params["ln_f.bias"][...] = 1
    model.params["wte.weight"][...] = 1250 + np.linspace(0, 1e-3, 11)[:, None]
    P = gn.trace(model, *batch(model))["probabilities"].value
    np.testing.assert_allclose(P.sum(axis=-1), 1, rtol=1e-6)


def test_terms_of_a_gradient_come_in_the_order_of_backward(gpt):
    trace = gn.trace(gpt, *batch(gpt))
    around, through_norm = trace["h.0.resid_mid"].backward
    assert through_norm.equation.startswith("dx_j = ...")
    assert around.equation.startswith("dx = dout + ")
