"""The encoder-decoder: exact gradients, padding, PyTorch's numbers, threads, decoding, errors."""

import copy
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.config.choices import IMPLEMENTATIONS
from gpt_numpy.config.transformer import BEGIN, PAD
from gpt_numpy.kernels.engine import pool
from gpt_numpy.model import buffers
from gpt_numpy.model.stages import stages_of
from gpt_numpy.reference.bfloat16 import rounded
from tests.model.test_golden import assert_close as assert_tensors_close
from tests.model.test_golden import named
from tests.support.errors import TOLERANCE, assert_close, errors
from tests.support.sentences import SMALL, gradients, model_of, pairs, total_loss

GOLDEN = Path(__file__).parents[1] / "golden" / "transformer.npz"
STEP = 1e-30
PRE = dataclasses.replace(SMALL, norm_place="pre", bias=False, label_smoothing=0.0, n_head=1)
# The configuration, and micro-batches: sources longer than targets, shorter, and a single token.
EXACT = {
    "post": (SMALL, [(2, 5, 3), (2, 2, 5)]),
    "pre": (PRE, [(3, 3, 4)]),
    "lengths of 1": (dataclasses.replace(SMALL, n_layer=1, dropout=0.0), [(1, 1, 1)]),
}


@pytest.mark.parametrize("name", EXACT)
def test_every_parameter_gradient_is_exact(name):
    config, shapes = EXACT[name]
    batches = [pairs(*shape, config.vocab_size, seed=k) for k, shape in enumerate(shapes)]
    model = model_of(config)
    model.grads.flat[...] = np.nan  # the first micro-batch assigns
    gradients(model, batches)
    oracle = gn.Transformer(config, seed=None, dtype="complex128", ops="reference")
    oracle.params.flat[...] = model.params.flat
    exact = copy.deepcopy(model.grads)
    for j in range(model.n_params):
        oracle.params.flat[j] += 1j * STEP
        exact.flat[j] = total_loss(oracle, batches).imag / STEP
        oracle.params.flat[j] = oracle.params.flat[j].real
    for tensor, error in errors(model.grads, dict(exact)).items():
        assert error <= 1e-13, tensor


@pytest.mark.parametrize("ops", IMPLEMENTATIONS)
@pytest.mark.parametrize("kind", ["int8", "uint8", "uint16", "int32", "uint32", "uint64"])
def test_integers_of_any_type_are_the_same_tokens(kind, ops):
    source, target = (np.pad(x, ((0, 0), (0, 1))) for x in pairs(3, 4, 4, SMALL.vocab_size))
    model, same = model_of(SMALL, ops=ops), model_of(SMALL, ops=ops)
    loss = gradients(model, [(source, target)])
    assert gradients(same, [(source.astype(kind), target.astype(kind))]) == loss
    assert (same.grads.flat == model.grads.flat).all()


@pytest.mark.parametrize("ops", IMPLEMENTATIONS)
@pytest.mark.parametrize("config", [SMALL, PRE])
def test_padding_changes_nothing(config, ops):
    config = dataclasses.replace(config, dropout=0.0)
    source, target = pairs(3, 4, 4, config.vocab_size)
    tight, wide = model_of(config, ops=ops), model_of(config, ops=ops)
    gradients(tight, [(source, target)])
    padded = [np.pad(x, ((0, 0), (0, 2)), constant_values=PAD) for x in (source, target)]
    gradients(wide, [tuple(padded)])
    assert np.abs(tight.grads.flat - wide.grads.flat).max() <= 1e-15
    # Whatever is in place of padding in the source's own array is not seen either.
    memory = tight.encode(source)
    for b in range(3):
        alone = source[b : b + 1, : np.count_nonzero(source[b])]
        length = alone.shape[1]
        assert np.abs(tight.encode(alone)[0] - memory[b, :length]).max() <= 1e-14


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def build(golden, case, ops):
    config = gn.TransformerConfig(**json.loads(str(golden[f"{case}/config"])))
    model = gn.Transformer(config, seed=None, dtype="float64", ops=ops)
    start = named(golden, f"{case}/params", f"{case}/param_shapes")
    assert {n: p.shape for n, p in model.params.items()} == {n: p.shape for n, p in start.items()}
    for name, value in start.items():
        model.params[name][...] = value
    return model


@pytest.mark.parametrize("ops", IMPLEMENTATIONS)
@pytest.mark.parametrize("case", ["P", "Q"])
def test_logits_loss_and_every_gradient_equal_pytorch(golden, case, ops):
    model = build(golden, case, ops)
    for k in range(2):
        source, target, logits, loss = (
            golden[f"{case}/{k}/{what}"] for what in ("source", "target", "logits", "loss")
        )
        assert_tensors_close({"logits": model.logits(source, target)}, {"logits": logits}, 1e-12)
        assert model.forward(source, target) == pytest.approx(loss.item(), rel=1e-12, abs=0)
        model.grads.flat[...] = np.nan  # backward writes all of it and adds to nothing
        model.backward()
        expected = named(golden, f"{case}/{k}/grads", f"{case}/param_shapes")
        for name, error in errors(model.grads, expected).items():
            assert error <= 1e-12, name


@pytest.mark.parametrize("ops", IMPLEMENTATIONS)
@pytest.mark.parametrize("case", ["P", "Q"])
def test_100_steps_with_the_papers_adam_equal_pytorch(golden, case, ops):
    model = build(golden, case, ops)
    optimizer = gn.AdamW(model, betas=(0.9, 0.98), eps=1e-9, weight_decay=0.0, grad_clip=0.0)
    batches = [(golden[f"{case}/{k}/source"], golden[f"{case}/{k}/target"]) for k in range(2)]
    for step, rate in enumerate(golden[f"{case}/trace/learning_rates"]):
        loss = model.forward(*batches[step % 2])
        assert loss == pytest.approx(golden[f"{case}/trace/losses"][step], abs=1e-10)
        model.backward()
        optimizer.learning_rate = float(rate)
        optimizer.step()
    end = named(golden, f"{case}/trace/params", f"{case}/param_shapes")
    # A key's bias has no gradient but rounding: what Adam makes of it is nobody's to match.
    others = {n: v for n, v in end.items() if not n.endswith(("c_attn.bias", "c_kv.bias"))}
    assert_tensors_close({n: model.params[n] for n in others}, others, 1e-10)


# With fewer channels the gradient of layer norm is mostly rounding in float32.
SIZES = [
    (dataclasses.replace(SMALL, n_embd=14), [(3, 6, 4), (2, 2, 6)]),
    (dataclasses.replace(PRE, n_embd=14), [(2, 5, 6)]),
    (
        dataclasses.replace(
            SMALL, vocab_size=70, source_size=120, target_size=110, n_embd=68, n_head=4, n_hidden=90
        ),
        [(3, 120, 61), (2, 33, 110)],
    ),
]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("config", "shapes"), SIZES)
def test_kernels_agree_with_the_reference(config, shapes, dtype):
    batches = [pairs(*shape, config.vocab_size, seed=k) for k, shape in enumerate(shapes)]
    ours, exact = model_of(config, dtype=dtype, ops="kernels"), model_of(config)
    losses = gradients(ours, batches), gradients(exact, batches)
    assert losses[0] == pytest.approx(losses[1], rel=TOLERANCE[dtype])
    assert_close(ours.grads, dict(exact.grads), dtype)


@pytest.mark.parametrize("place", ["post", "pre"])
def test_bfloat16_products_are_rounded_alike_in_both_implementations(place):
    config, shapes = SIZES[2]
    config = dataclasses.replace(config, norm_place=place, n_layer=1)
    batches, keep = [pairs(*shapes[0], config.vocab_size)], ("*.qkv", "*.cross.q")
    models = [model_of(config, dtype="bfloat16", ops=o, keep=keep) for o in IMPLEMENTATIONS]
    full = model_of(config)
    losses = [gradients(model, batches) for model in (*models, full)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0] != pytest.approx(losses[2], rel=1e-7)
    assert losses[0] == pytest.approx(losses[2], rel=1e-3)
    for name in ("encoder.h.0.attn.qkv", "decoder.h.0.attn.qkv", "decoder.h.0.cross.q"):
        ours, theirs = (model.activations[name] for model in models)
        assert np.array_equal(ours, rounded(ours)) and np.mean(ours != theirs) <= 0.01, name
    one, other, exact = (np.float64(m.grads.flat) for m in (*models, full))
    # Sums in another order: some numbers are rounded to the other neighbour, and so on from there.
    assert np.linalg.norm(one - other) <= 0.5 * np.linalg.norm(other - exact)
    assert np.linalg.norm(other - exact) <= 0.02 * np.linalg.norm(exact)


@pytest.mark.skipif(pool.numba.config.NUMBA_NUM_THREADS < 2, reason="one thread")
def test_any_number_of_threads_gives_the_same_bits():
    config, shapes = SIZES[2]
    batches = [pairs(*shape, config.vocab_size, seed=k) for k, shape in enumerate(shapes)]
    bits, before = [], pool.threads()
    for count in (1, 2):
        pool.set_threads(count)
        try:
            model = model_of(config, dtype="float32", ops="kernels")
            losses = [gradients(model, batches) for _ in range(2)]
        finally:
            pool.set_threads(before)
        bits.append(np.array(losses).tobytes() + model.grads.flat.tobytes())
    assert bits[0] == bits[1]


def test_the_loss_without_smoothing_is_that_of_the_targets():
    batch = pairs(3, 5, 4, SMALL.vocab_size)
    model = model_of(SMALL)
    plain = model_of(dataclasses.replace(SMALL, label_smoothing=0.0))
    assert model.forward(*batch, smoothing=False) == plain.forward(*batch)
    model.backward(), plain.backward()
    assert np.array_equal(model.grads.flat, plain.grads.flat)
    # -log P of each target that counts, by hand.
    source, target = batch
    z = model.logits(source, target)
    logs = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
    wanted, counts = target[:, 1:], target[:, 1:] != PAD
    at_target = np.take_along_axis(logs, wanted[..., None], axis=-1)[..., 0]
    assert plain.forward(*batch) == pytest.approx(-at_target[counts].mean(), rel=1e-13)
    mixed = 0.9 * at_target + 0.1 * logs.mean(axis=-1)
    assert model.forward(*batch) == pytest.approx(-mixed[counts].mean(), rel=1e-13)


@pytest.mark.parametrize("ops", IMPLEMENTATIONS)
@pytest.mark.parametrize("config", [SMALL, PRE])
def test_decoding_step_by_step_gives_the_logits_of_the_whole_target(config, ops):
    config = dataclasses.replace(config, target_size=20)  # more positions than memory at first
    source, target = pairs(3, 5, 20, config.vocab_size)
    target[target == PAD] = 3
    model = model_of(config, ops=ops)
    logits = model.logits(source, target)
    decoder = model.start_decoding(source, rows_each=2)
    # Rows change places within a source, then a source is finished, then all are mixed.
    chosen = {3: [1, 0, 3, 2, 5, 4], 7: [0, 1, 4, 5], 11: [3, 0, 1]}
    for t in range(20):
        found = decoder.step(target[decoder.sources, t])
        assert np.abs(found - logits[decoder.sources, t]).max() <= 1e-12
        if t in chosen:
            decoder.select(np.array(chosen[t]))
    with pytest.raises(gn.InputError, match="every row has target_size=20 tokens"):
        decoder.step(target[decoder.sources, 0])


@pytest.mark.parametrize("ops", IMPLEMENTATIONS)
@pytest.mark.parametrize("config", [SMALL, PRE])
def test_decoding_with_bfloat16_products_rounds_as_the_forward_pass_does(config, ops):
    config = dataclasses.replace(config, n_embd=32, n_hidden=64, n_head=2, vocab_size=40)
    source, target = pairs(4, 6, 6, config.vocab_size)
    target[target == PAD] = 3
    model = model_of(config, dtype="bfloat16", ops=ops)
    exact = model_of(config, dtype="float32", ops=ops)
    wanted, full = model.logits(source, target), exact.logits(source, target)
    decoder = model.start_decoding(source)
    found = np.stack([decoder.step(target[:, t]) for t in range(6)], axis=1)
    # Sums in another order are rounded to the other neighbour here and there.
    effect = np.sqrt(np.mean((wanted - full) ** 2))
    assert effect > 0 and np.sqrt(np.mean((found - wanted) ** 2)) <= 0.25 * effect


def test_a_row_goes_on_from_the_row_that_it_was():
    model = model_of(SMALL)
    source, _ = pairs(1, 4, 3, SMALL.vocab_size)
    first, second = np.array([BEGIN, BEGIN]), np.array([3, 5])
    decoder = model.start_decoding(source, rows_each=2)
    decoder.step(first), decoder.step(second)
    decoder.select(np.array([1, 1, 0]))
    found = decoder.step(np.array([4, 6, 6]))
    for row, written in enumerate(([1, 5, 4, 2], [1, 5, 6, 2], [1, 3, 6, 2])):
        assert np.abs(found[row] - model.logits(source, np.array([written]))[0, -1]).max() <= 1e-12


def test_kept_activations_and_their_gradients_are_there():
    model = model_of(SMALL, keep=("decoder.h.*.cross.out", "encoder.out"), ops="kernels")
    exact = model_of(SMALL, keep=("decoder.h.*.cross.out", "encoder.out"))
    batch = pairs(2, 5, 4, SMALL.vocab_size)
    gradients(model, [batch]), gradients(exact, [batch])
    assert set(model.activations) == {"encoder.out", *(f"decoder.h.{i}.cross.out" for i in (0, 1))}
    assert_close(model.activations, dict(exact.activations), "float64")
    assert_close(model.activation_grads, dict(exact.activation_grads), "float64")
    # Nothing comes back to what is padding.
    assert not model.activation_grads["encoder.out"][batch[0] == PAD].any()


@pytest.mark.parametrize("name", ["decoder.h.0.cross.kv", "encoder.h.1.attn.proj", "encoder.out"])
def test_an_activation_may_be_replaced_in_both_passes(name):
    # By twice itself, whose gradient comes back twice: exact by the complex step.
    batch, config = pairs(2, 3, 3, 7), dataclasses.replace(SMALL, dropout=0.0)
    model, oracle = model_of(config, ops="kernels"), model_of(config, dtype="complex128")
    twice = (lambda x: 2 * x, lambda dout: 2 * dout)
    before = model.forward(*batch)
    with gn.replaced(model, {name: twice}), gn.replaced(oracle, {name: twice}):
        assert model.forward(*batch) != before
        model.backward()
        for index in (0, 40, 200, 410, model.n_params - 1):
            oracle.params.flat[index] += 1j * STEP
            slope = oracle.forward(*batch).imag / STEP
            oracle.params.flat[index] = oracle.params.flat[index].real
            assert model.grads.flat[index] == pytest.approx(slope, rel=1e-11, abs=1e-13)
    assert model.forward(*batch) == before


def test_a_head_of_the_encoder_may_be_ablated():
    batch, model = pairs(2, 4, 3, 7), model_of(SMALL)
    effect = gn.ablate(model, *batch, "encoder.h.0.attn.heads", head=1)
    assert effect.change != 0 and effect.grad_change["wte.weight"] > 0
    nothing = gn.ablate(model, *batch, "encoder.out", position=3, value=0.0)
    assert nothing.before == pytest.approx(effect.before)


@pytest.mark.parametrize("ops", IMPLEMENTATIONS)
def test_alignments_are_the_weights_of_cross_attention(ops):
    source, target = pairs(3, 5, 4, 7)
    config = dataclasses.replace(SMALL, dropout=0.0)
    model = model_of(config, ops=ops, keep=("*.cross.*",))
    weights = model.alignments(source, target)
    assert weights.shape == (2, 3, 2, 4, 5)
    assert np.abs(weights.sum(axis=-1) - 1).max() <= 1e-12
    assert not weights[..., source[1] == PAD][:, 1].any()
    values = model.activations["decoder.h.1.cross.kv"][..., 4:].reshape(3, 5, 2, 2)
    average = np.einsum("bhts,bshd->bthd", weights[1], values).reshape(3, 4, 4)
    assert np.abs(average - model.activations["decoder.h.1.cross.out"]).max() <= 1e-12


def test_every_place_has_its_own_site_of_dropout():
    # As reference/dropout.py says.
    sites = [s.site + k for s in stages_of(SMALL) if s.site is not None for k in branches(s)]
    assert sites == list(range(len(sites)))
    assert len(sites) == 1 + 3 * SMALL.n_layer + 1 + 5 * SMALL.n_layer


def branches(stage):
    """Sublayers of attention have two sites."""
    return range(1 + stage.layer.endswith("attention_sublayer"))


def test_gradcheck_reads_source_and_target():
    config = dataclasses.replace(SMALL, n_layer=1)
    model = model_of(config, ops="kernels")
    report = gn.gradcheck(model, *pairs(2, 3, 3, 7), dropout_key=3, method="elements")
    assert report.ok and report.worst.error <= 1e-13
    assert len(report.rows) == len(model.params)
    along = gn.gradcheck(model, *pairs(2, 3, 3, 7), method="directions")
    assert along.ok


def test_gradcheck_names_what_is_wrong(monkeypatch):
    model = model_of(dataclasses.replace(SMALL, n_layer=1))
    right = model.ops.cross_attention_sublayer_backward

    def wrong(*args, dweights, **kwargs):
        right(*args, dweights=dweights, **kwargs)
        dweights.kv_weight[...] *= 2.0

    monkeypatch.setattr(model.ops, "cross_attention_sublayer_backward", wrong)
    report = gn.gradcheck(model, *pairs(2, 3, 3, 7), method="elements")
    found = [row for row in report.rows if not row.ok]
    assert [row.name for row in found] == ["decoder.h.0.cross.c_kv.weight"]
    assert "2" in " ".join(found[0].diagnosis)


@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_gradcheck_names_the_use_of_the_table_that_is_missing(monkeypatch, stack):
    model = model_of(dataclasses.replace(SMALL, n_layer=1))
    right, of_source = model.ops.embedding_backward, 3

    def forgetful(dout, tokens, *args, **kwargs):
        if (tokens.shape[1] == of_source) == (stack == "decoder"):
            right(dout, tokens, *args, **kwargs)

    monkeypatch.setattr(model.ops, "embedding_backward", forgetful)
    report = gn.gradcheck(model, *pairs(2, of_source, 4, 7), method="elements")
    (wrong,) = [row for row in report.rows if not row.ok]
    assert wrong.name == "wte.weight"
    said = f"the part of the tied table that comes from the {stack}'s embedding is missing"
    assert said in " ".join(wrong.diagnosis)


GOOD = pairs(2, 4, 4, 7)


def changed(which, where, value):
    batch = [array.copy() for array in GOOD]
    batch[which][where] = value
    return batch


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ((np.full((2, 7), 3), GOOD[1]), "source has 7 positions: .* source_size=6"),
        ((GOOD[0], np.full((2, 8), 3)), "target has 8 positions: .* target_size=6"),
        ((GOOD[0], GOOD[1][:, :1]), "target has 1 positions: must be BEGIN and from 1"),
        (changed(0, (0, 1), 7), "source contains 7: must be from 0 to 6"),
        (changed(1, (0, 1), -1), "target contains -1: must be from 0 to 6"),
        (changed(0, 1, PAD), r"source\[1\] is all padding"),
        (changed(1, (1, slice(1, None)), PAD), r"target\[1\] has only padding after BEGIN"),
        (changed(0, (0, 1), PAD), r"source\[0\] has PAD=0 at position 1 and a token after it"),
        (changed(1, (0, 2), PAD), r"target\[0\] has PAD=0 at position 2 and a token after it"),
        (changed(1, (1, 0), 4), r"target\[1\] begins with 4: must begin with BEGIN=1"),
        ((GOOD[0][:1], GOOD[1]), "target has 2 sequences, source has 1"),
        ((GOOD[0].astype(float), GOOD[1]), "source is of type float64: must be integers"),
        ((GOOD[0][0], GOOD[1]), r"source has shape \(4,\)"),
    ],
)
def test_a_batch_that_cannot_be_used_is_refused_by_name(batch, message):
    model = model_of(SMALL)
    with pytest.raises(gn.InputError, match=message):
        model.forward(*batch)
    with pytest.raises(gn.InputError, match="backward"):
        model.backward()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_embd": 5}, "n_embd=5 is not divisible by n_head=2"),
        ({"norm_place": "both"}, "norm_place='both': must be one of post, pre"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0"),
        ({"vocab_size": 2}, "vocab_size=2"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(settings, message):
    with pytest.raises(gn.InputError, match=message):
        dataclasses.replace(SMALL, **settings)


def test_rows_that_cannot_be_are_refused():
    model = model_of(SMALL)
    decoder = model.start_decoding(GOOD[0])
    for tokens, message in (
        (np.array([1]), "must be 2 integers"),
        (np.array([1, 7]), "tokens contains 7: must be from 0 to 6"),
        (np.array([1.0, 2.0]), "must be 2 integers"),
    ):
        with pytest.raises(gn.InputError, match=message):
            decoder.step(tokens)
    for rows, message in (
        ([2], "rows contains 2"),
        ([-1, 0], "rows contains -1"),
        ([], "rows has"),
    ):
        with pytest.raises(gn.InputError, match=message):
            decoder.select(np.array(rows))
    with pytest.raises(gn.InputError, match="rows_each=0"):
        model.start_decoding(GOOD[0], rows_each=0)
    with pytest.raises(gn.InputError, match="must be a TransformerConfig"):
        gn.Transformer(gn.GPTConfig(vocab_size=7))
    with pytest.raises(gn.InputError, match="must be a GPTConfig"):
        gn.GPT(SMALL)


@pytest.mark.parametrize("place", ["post", "pre"])
def test_a_model_starts_as_the_paper_says(place):
    config = dataclasses.replace(SMALL, n_embd=64, n_hidden=200, vocab_size=90, norm_place=place)
    model = gn.Transformer(config, seed=1)
    C, F = 64, 200
    for name, param in model.params.items():
        if param.ndim == 1:
            assert (param == float(".ln_" in name and name.endswith("weight"))).all()
            continue
        inside = ".mlp." in name  # all other weights are made of square matrices
        deviation = np.sqrt(2 / (C + F if inside else 2 * C))
        deviation = C**-0.5 if name == "wte.weight" else deviation
        assert param.std() == pytest.approx(deviation, rel=0.05), name
    again, other = gn.Transformer(config, seed=1), gn.Transformer(config, seed=2)
    assert np.array_equal(model.params.flat, again.params.flat)
    assert not np.array_equal(model.params.flat, other.params.flat)


def test_of_many_shapes_only_the_last_ones_are_kept(monkeypatch):
    model = model_of(SMALL)
    batches = [pairs(2, S, 3, 7) for S in (4, 3, 2, 4)]  # a larger one makes all anew
    expected = [model.forward(*batch) for batch in batches]
    monkeypatch.setattr(buffers, "MOST_LAYOUTS", 2)
    again = model_of(SMALL)
    for batch, loss in zip(batches, expected, strict=True):
        assert again.forward(*batch) == loss
        again.backward()
        assert len(again._buffers._layouts) <= 2


def test_copies_have_arrays_of_their_own():
    model = model_of(SMALL)
    again = copy.deepcopy(model)
    again.params.flat[...] = 0
    with pytest.raises(gn.InputError, match=r"other shape, Transformer\(config\)"):
        model.config = PRE
    assert isinstance(again, gn.Transformer) and model.params.flat.any()
