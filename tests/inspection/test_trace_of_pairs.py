"""A trace of an encoder-decoder: every gradient in it is exact, and lies where it belongs."""

import dataclasses
import re

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.config.choices import IMPLEMENTATIONS
from gpt_numpy.config.transformer import PAD
from gpt_numpy.inspection.hooks.hooks import replaceable
from gpt_numpy.inspection.summary.statistics import array_statistics
from gpt_numpy.inspection.summary.table import table
from gpt_numpy.inspection.trace import norms
from tests.inspection.test_trace import PAIRS, batch, random_model
from tests.support.sentences import model_of

STEP = 1e-30


@pytest.fixture(params=IMPLEMENTATIONS)
def ops(request):
    return request.param


@pytest.fixture(params=PAIRS)
def model(request, ops):
    return random_model(PAIRS[request.param], ops)


def test_the_gradient_of_every_activation_is_exact(model):
    given = batch(model)
    trace = gn.trace(model, *given)
    oracle = model_of(model.config, dtype="complex128")
    oracle.params.flat[...] = model.params.flat
    rng, names = np.random.default_rng(5), replaceable(model.config)
    assert {"decoder.h.1.cross.key", "decoder.h.0.cross.query", "encoder.out"} <= set(names)
    for name in names:
        direction = rng.standard_normal(trace[name].shape)
        moved = (lambda x, d=direction: x + 1j * STEP * d, lambda dout: dout)
        with gn.replaced(oracle, {name: moved}):
            slope = oracle.forward(*given).imag / STEP
        size = max(np.linalg.norm(trace[name].grad) * np.linalg.norm(direction), 1e-3)
        assert abs((trace[name].grad * direction).sum() - slope) <= 1e-12 * size, name


def test_scores_and_weights_of_cross_attention(model):
    source, target = batch(model)
    trace = gn.trace(model, source, target)
    weights = model.alignments(source, target)
    for i in range(model.config.n_layer):
        name = f"decoder.h.{i}.cross"
        p, dp = trace[f"{name}.probabilities"].value, trace[f"{name}.probabilities"].grad
        np.testing.assert_allclose(p, weights[i], rtol=1e-12)
        s, ds = trace[f"{name}.scores"].value, trace[f"{name}.scores"].grad
        seen = np.broadcast_to((source != PAD)[:, None, None], s.shape)
        exps = np.exp(s) * seen
        np.testing.assert_allclose(p, exps / exps.sum(-1, keepdims=True), rtol=1e-12)
        # Of softmax: what a weight gets, less the mean over the row.
        np.testing.assert_allclose(ds, p * (dp - (p * dp).sum(-1, keepdims=True)), atol=1e-15)
        assert not ds[~seen].any()
        Q, K = (trace[f"{name}.{part}"] for part in ("query", "key"))
        scale = 1 / np.sqrt(model.config.head_size)
        np.testing.assert_allclose(s, Q.value @ K.value.swapaxes(-1, -2) * scale, atol=1e-14)
        np.testing.assert_allclose(Q.grad, ds @ K.value * scale, atol=1e-15)


def test_an_encoder_sees_all_of_a_source_and_a_decoder_the_past(model):
    source, target = batch(model)
    trace = gn.trace(model, source, target)
    of_encoder = trace["encoder.h.0.attn.probabilities"].value
    assert (of_encoder[0] > 0).all()  # the first source has no padding
    assert not of_encoder[..., source[1] == PAD][1].any()
    assert not np.triu(trace["decoder.h.0.attn.probabilities"].value, 1).any()


def test_only_arrays_that_no_layer_stores_are_recomputed(model):
    trace = gn.trace(model, *batch(model))
    endings = {re.sub(r"^.*h\.\d\.", "", name) for name in trace if trace[name].recomputed}
    last = {"encoder.ln_f.xhat", "decoder.ln_f.xhat"} if model.config.norm_place == "pre" else set()
    assert endings == last | {
        *("ln_1.xhat", "ln_2.xhat", "ln_3.xhat", "probabilities"),
        *(f"{kind}.{what}" for kind in ("attn", "cross") for what in ("scores", "probabilities")),
        *("attn.proj", "cross.proj", "mlp.proj"),
    }


def test_the_equations_are_those_of_this_model(model):
    trace = gn.trace(model, *batch(model))
    config = model.config
    (loss,) = trace["losses"].forward
    assert ("mean_v(z_v)" in loss.equation) == bool(config.label_smoothing)
    (row,) = trace["decoder.embedding.out"].forward
    assert row.equation == "row_btc = scale wte[v, c] + wpe[t, c]"
    of_table = [step.derivation.rpartition(".")[2] for step in trace["wte.weight"].backward]
    assert of_table == ["head", "embedding", "embedding"]
    # One term from the keys and values of each decoder block.
    assert len(trace["encoder.out"].backward) == config.n_layer
    kernels = {step.function.name for step in trace["encoder.out"].backward}
    assert kernels == ({"multiply", "add_to"} if model.ops_name == "kernels" else
                       {"linear_backward"})  # fmt: skip
    post = config.norm_place == "post"
    assert ("decoder.h.0.cross.in" in trace) == post == ("decoder.h.0.ln_2.out" not in trace)


def test_the_norm_of_a_pair_equals_that_of_a_pass_over_it_alone(model):
    source, target = batch(model)
    trace, kept = gn.trace(model, source, target), model.counted(source, target)
    one = random_model(model.config, model.ops_name, keep=("*",))
    for b in range(len(source)):
        one.forward(source[b : b + 1], target[b : b + 1], divisor=kept)
        one.backward()
        for name, grad in [*one.grads.items(), *one.activation_grads.items()]:
            norm = np.linalg.norm(grad)
            assert trace.example_norms(name)[b] == pytest.approx(norm, rel=1e-9, abs=1e-12), name


def test_norms_of_tokens_are_of_the_stream_that_they_belong_to(model):
    source, target = batch(model)
    trace = gn.trace(model, source, target)
    assert trace.token_norms("encoder.h.0.mlp.c_fc.weight").shape == source.shape
    assert trace.token_norms("decoder.h.0.cross.c_kv.weight").shape == source.shape
    of_queries = trace.token_norms("decoder.h.1.cross.c_q.weight")
    assert of_queries.shape == target[:, 1:].shape
    x = "decoder.h.1.cross.in" if "decoder.h.1.cross.in" in trace else "decoder.h.1.ln_2.out"
    outer = np.outer(trace[x].value[0, 2], trace["decoder.h.1.cross.q"].grad[0, 2])
    assert of_queries[0, 2] == pytest.approx(np.linalg.norm(outer), rel=1e-9)
    with pytest.raises(gn.InputError, match="tokens of the source and of the target"):
        trace.token_norms("wte.weight")
    factors = norms.factors("wte.weight", trace._sources)
    assert [a.shape[1] for a, _ in factors] == [5, 4, 4]


def test_a_narrow_pattern_keeps_what_it_names(model):
    given = batch(model)
    whole = gn.trace(model, *given)
    for name in ("decoder.h.1.cross.probabilities", "encoder.h.0.attn.scores", "encoder.out"):
        part = gn.trace(model, *given, keep=name)
        assert list(part) == [name]
        np.testing.assert_array_equal(part[name].value, whole[name].value)
        np.testing.assert_array_equal(part[name].grad, whole[name].grad)


def test_the_table_has_a_section_for_every_block_of_both_stacks(model):
    trace = gn.trace(model, *batch(model))
    lines = table(trace, array_statistics(trace))
    layers = [line for k, line in enumerate(lines[:-3]) if k > 1 and lines[k - 1] == ""]
    assert layers[:6] == [
        "embedding", "encoder embedding", "encoder block 0", "encoder block 1", "encoder's output",
        "decoder embedding",
    ]  # fmt: skip
    assert layers[6:9] == ["decoder block 0", "decoder block 1", "head"]
    assert f"{trace.loss:.4f} nats a token; source 3 x 5, target 3 x 5" in " ".join(lines)


def test_remarks_know_which_queries_see_one_key_alone(ops):
    config = dataclasses.replace(PAIRS["post"], n_layer=1)
    model = random_model(config, ops)
    model.params["decoder.h.0.cross.c_q.weight"][...] *= 1000
    source, target = batch(model)
    source, target = source[:1], target[:1]
    found = {s.name: s.remarks for s in array_statistics(gn.trace(model, source, target))}
    assert any("saturated" in remark for remark in found["decoder.h.0.cross.probabilities"])
    # With one position there is nothing to choose.
    found = {s.name: s.remarks for s in array_statistics(gn.trace(model, source[:, :1], target))}
    assert found["decoder.h.0.cross.probabilities"] == []


def test_bad_arguments_are_refused(model):
    source, target = batch(model)
    with pytest.raises(gn.InputError, match="targets is None: a Transformer reads a target"):
        gn.trace(model, source)
    with pytest.raises(gn.InputError, match="did you mean decoder.h.1.cross.scores"):
        gn.trace(model, source, target, keep="decoder.h.1.cros.scores")
    with pytest.raises(gn.InputError, match="source_size=6"):
        gn.trace(model, np.full((3, 7), 3), target)
    with pytest.raises(gn.InputError, match="must be a GPT or a Transformer"):
        gn.trace(None, source, target)
