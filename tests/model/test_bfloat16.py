"""A model whose matrix products take operands rounded to bfloat16, and everything else float32."""

import contextlib
import copy
import dataclasses
import functools
import pickle
import tracemalloc

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.kernels import bfloat16_order
from gpt_numpy.kernels.engine import pool
from gpt_numpy.model import memory
from gpt_numpy.reference import bfloat16

CONFIG = gn.GPTConfig(
    vocab_size=37, block_size=20, n_layer=2, n_head=2, n_embd=32, dropout=0.1, bias=True
)
OPS = ("kernels", "reference")


def batch(seed=0, shape=(3, 20)):
    return np.random.default_rng(seed).integers(0, CONFIG.vocab_size, (2, *shape))


def build(ops="kernels", dtype="bfloat16", **options):
    return gn.GPT(CONFIG, seed=5, dtype=dtype, ops=ops, **options)


def error(one, other):
    """The largest difference of two arrays, relative to the largest element."""
    return np.abs(one - other).max() / np.abs(other).max()


@pytest.mark.parametrize("ops", OPS)
def test_everything_but_the_operands_of_products_is_float32(ops):
    model = build(ops, keep=("*",))
    model.forward(*batch(), dropout_key=1)
    model.backward()
    arrays = [*model.params.values(), *model.grads.values(), *model.activations.values()]
    assert {array.dtype for array in arrays} == {np.dtype("float32")}
    assert (model.dtype, model.precision) == (np.dtype("float32"), "bfloat16")


@pytest.mark.parametrize("ops", OPS)
def test_the_first_product_is_that_of_the_reference_bit_for_bit(ops):
    order = bfloat16_order() if ops == "kernels" else bfloat16.VDPBF16PS
    product = functools.partial(bfloat16.product, order=order)
    model = build(ops, keep=("*",))
    model.forward(*batch())
    acts, params = model.activations, model.params
    qkv = product(acts["h.0.ln_1.out"].reshape(-1, 32), params["h.0.attn.c_attn.weight"])
    qkv += params["h.0.attn.c_attn.bias"]
    assert np.array_equal(acts["h.0.attn.qkv"].reshape(-1, 96), bfloat16.rounded(qkv))
    logits = product(acts["ln_f.out"].reshape(-1, 32), params["wte.weight"].T)
    assert np.array_equal(acts["logits"].reshape(-1, 37), logits)


@pytest.mark.parametrize("ops", OPS)
def test_what_products_alone_read_is_rounded_bit_for_bit(ops):
    order = bfloat16_order() if ops == "kernels" else bfloat16.VDPBF16PS
    product = functools.partial(bfloat16.product, order=order)
    config = dataclasses.replace(CONFIG, activation="relu")
    model = gn.GPT(config, seed=5, dtype="bfloat16", ops=ops, keep=("*",))
    model.forward(*batch())
    acts, params = model.activations, model.params
    for name in ("attn.qkv", "attn.out", "mlp.fc", "mlp.act"):
        kept = acts[f"h.1.{name}"]
        assert np.array_equal(kept, bfloat16.rounded(kept)) and np.abs(kept).max() > 0
    fc = product(acts["h.1.ln_2.out"].reshape(-1, 32), params["h.1.mlp.c_fc.weight"])
    fc = bfloat16.rounded(fc + params["h.1.mlp.c_fc.bias"])
    assert np.array_equal(acts["h.1.mlp.fc"].reshape(-1, 128), fc)
    assert np.array_equal(acts["h.1.mlp.act"], np.maximum(acts["h.1.mlp.fc"], 0))
    branch = product(acts["h.1.attn.out"].reshape(-1, 32), params["h.1.attn.c_proj.weight"])
    sum_ = acts["h.0.resid_post"].reshape(-1, 32) + (branch + params["h.1.attn.c_proj.bias"])
    assert np.array_equal(acts["h.1.resid_mid"].reshape(-1, 32), sum_)
    assert not np.array_equal(acts["h.1.ln_2.out"], bfloat16.rounded(acts["h.1.ln_2.out"]))


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "relu"])
@pytest.mark.parametrize("keep", [(), ("*",)])
def test_both_implementations_round_the_same_wherever_activations_lie(keep, activation):
    """Of thousands of numbers some round one way here, the other there; the effect is small."""
    config = dataclasses.replace(CONFIG, activation=activation)
    found = []
    for ops, dtype in (
        ("kernels", "bfloat16"),
        ("reference", "bfloat16"),
        ("reference", "float32"),
    ):
        model = gn.GPT(config, seed=5, dtype=dtype, ops=ops, keep=keep)
        model.forward(*batch(), dropout_key=3)
        model.backward()
        found.append(model.grads)
    for name in found[0]:
        ours, theirs, single = (grads[name] for grads in found)
        apart, effect = np.linalg.norm(ours - theirs), np.linalg.norm(theirs - single)
        assert apart < 0.3 * effect, name


def test_kernels_store_activations_in_16_bits_and_show_float32():
    sizes = {}
    for dtype in ("float32", "bfloat16"):
        model = build(dtype=dtype, keep=("h.*.attn.qkv",))
        model.forward(*batch(), dropout_key=1)
        model.backward()
        sizes[dtype] = model._buffers._store.size
    assert sizes["bfloat16"] < 0.75 * sizes["float32"]
    qkv = model.activations["h.1.attn.qkv"]
    assert qkv.dtype == np.float32 and not qkv.flags.writeable
    assert model.activation_grads["h.1.attn.qkv"].dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        qkv[0] = 0


@pytest.mark.parametrize("replaced", [{}, {"h.1.attn.heads": 0.5, "h.1.mlp.act": 0.25}])
@pytest.mark.parametrize("activation", ["gelu", "relu", "swiglu"])
def test_memory_that_backward_uses_twice_changes_no_bit(activation, replaced):
    """Backward writes `act` again over `fc`, unless somebody asked to keep either."""
    config = dataclasses.replace(CONFIG, activation=activation)
    grads = {}
    for keep in ((), ("h.*.mlp.fc",), ("h.*.mlp.act",), ("*",)):
        model = gn.GPT(config, seed=5, dtype="bfloat16", keep=keep)
        with gn.replaced(model, replaced) if replaced else contextlib.nullcontext():
            model.forward(*batch(), dropout_key=3)
            before = {name: array.copy() for name, array in model.activations.items()}
            model.backward()
        for name, array in model.activations.items():
            assert np.array_equal(array, before[name]) or not name.endswith(".fc"), name
        layout = model._buffers.layout(3, 20, halves=True)
        fc, act = layout.acts["h.0.mlp.fc"], layout.acts["h.0.mlp.act"]
        over = layout.again.get("h.0.mlp.act", act)
        assert not np.shares_memory(fc, act)
        assert np.shares_memory(fc, over) == (not keep and activation != "swiglu")
        grads[keep] = model.grads.flat.copy()
    for keep, found in grads.items():
        assert np.array_equal(found, grads[()]), keep


def test_a_replaced_activation_is_rounded_where_it_is_stored():
    ours, theirs = (build(ops, keep=("*",)) for ops in OPS)
    ours.params.flat[...] = theirs.params.flat
    value = np.random.default_rng(1).standard_normal((3, 20, 128)).astype(np.float32)
    value = bfloat16.rounded(value)
    losses = []
    for model in (ours, theirs):
        with gn.replaced(model, {"h.0.mlp.act": value, "h.1.attn.heads": 0.5}):
            losses.append(model.forward(*batch()))
            model.backward()
        assert np.array_equal(model.activations["h.0.mlp.act"], value)
        assert (model.activations["h.1.attn.out"] == 0.5).all()
        assert not model.grads["h.0.mlp.c_fc.weight"].any()
    assert abs(losses[0] - losses[1]) < 1e-4 * losses[1]


def test_gradients_are_near_those_of_float64_and_both_implementations_near_each_other():
    tokens, targets = batch()
    models = [build(ops) for ops in OPS]
    exact = build(dtype="float64")
    for model in models:
        exact.params.flat[...] = model.params.flat
    losses = []
    for model in (*models, exact):
        losses.append(model.forward(tokens, targets, dropout_key=4))
        model.backward()
    assert np.ptp(losses) < 2e-3
    for name, gradient in exact.grads.items():
        largest = max(np.abs(gradient).max(), 1e-3 * np.abs(exact.grads.flat).max())
        for model in models:
            assert np.abs(model.grads[name] - gradient).max() < 0.04 * largest, name


def test_the_same_bits_for_any_number_of_threads():
    before, results = pool.threads(), []
    try:
        for threads in (1, before):
            pool.set_threads(threads)
            model = build()
            optimizer = gn.AdamW(model)
            for step in range(3):
                model.forward(*batch(step), dropout_key=step)
                model.backward()
                optimizer.step()
            results.append(model.params.flat.tobytes())
    finally:
        pool.set_threads(before)
    assert len(set(results)) == 1


def test_a_weight_that_is_changed_in_place_is_read_anew():
    model = build()
    before = model.forward(*batch())
    model.params["h.0.mlp.c_proj.weight"][...] *= 3
    changed = model.forward(*batch())
    again = build()
    again.params.flat[...] = model.params.flat
    assert changed == again.forward(*batch()) != before


@pytest.mark.parametrize("ops", OPS)
def test_copies_and_files_keep_the_precision(ops, tmp_path):
    model = build(ops)
    loss = model.forward(*batch())
    gn.save(tmp_path / "model.npz", model)
    others = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    others.append(gn.load(tmp_path / "model.npz", ops=ops).model)
    for other in others:
        assert other.precision == "bfloat16" and other.forward(*batch()) == loss


def test_complex_numbers_and_float64_are_not_rounded():
    for dtype in ("float64", "complex128"):
        assert gn.GPT(CONFIG, dtype=dtype, ops="reference").precision == dtype
    with pytest.raises(gn.InputError, match="dtype='float16' with ops='kernels': must be one of"):
        gn.GPT(CONFIG, dtype="float16")


@pytest.mark.parametrize("ops", OPS)
def test_the_precision_may_change_between_two_steps(ops):
    model, rounded = build(ops, "float32"), build(ops)
    single = model.forward(*batch())
    model.set_precision("bfloat16")
    with pytest.raises(gn.InputError, match="no forward"):
        model.backward()
    assert model.forward(*batch()) == rounded.forward(*batch()) != single
    model.set_precision("float32")
    assert model.forward(*batch()) == single
    with pytest.raises(gn.InputError, match="make a model of the other type"):
        model.set_precision("float64")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_that_fits_is_not_refused(dtype, monkeypatch):
    deep = gn.GPTConfig(vocab_size=37, block_size=64, n_layer=40, n_head=2, n_embd=32)
    tokens, targets = batch(shape=(64, 64))
    tracemalloc.start()
    model = gn.GPT(deep, seed=5, dtype=dtype)
    model.forward(tokens, targets)
    model.backward()
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    monkeypatch.setattr(memory, "_memory", lambda: used)
    memory.check_memory(deep, 64, itemsize=4, copies=2)
    monkeypatch.setattr(memory, "_memory", lambda: used // 3)
    with pytest.raises(gn.InputError, match="this machine has"):
        memory.check_memory(deep, 64, itemsize=4, copies=2)


def test_a_run_may_go_on_in_the_other_precision(tmp_path):
    from gpt_numpy.training import run_folder
    from gpt_numpy.training.loop import new_run

    settings = gn.TrainConfig(out_dir=str(tmp_path), max_iters=1)
    run = new_run(CONFIG, settings)
    gn.save(
        tmp_path / "ckpt.npz", run.model, optimizer=run.optimizer, settings=settings, progress={}
    )
    resumed, changed = run_folder.resume(str(tmp_path), {"dtype": "bfloat16"})
    assert resumed.model.precision == changed.dtype == "bfloat16"
    assert np.array_equal(resumed.model.params.flat, run.model.params.flat)
    with pytest.raises(gn.InputError, match="dtype=float64, but the run in"):
        run_folder.resume(str(tmp_path), {"dtype": "float64"})
