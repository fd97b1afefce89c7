"""What stays float32 in a bfloat16 model: sums, weights, gradients, moments and the loss.

Each value is computed from the arrays that the model itself keeps, to the bit where that is so.
"""

import functools

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.kernels import bfloat16_order
from gpt_numpy.reference import bfloat16
from gpt_numpy.reference.bfloat16 import rounded

CONFIG = gn.GPTConfig(
    vocab_size=37, block_size=20, n_layer=2, n_head=2, n_embd=32, bias=True, tied=False
)
OPS = ("kernels", "reference")
TOKENS, TARGETS = np.random.default_rng(0).integers(0, CONFIG.vocab_size, (2, 3, 20))


def build(ops="kernels", dtype="bfloat16", **options):
    return gn.GPT(CONFIG, seed=5, dtype=dtype, ops=ops, **options)


def product_of(model):
    """The product whose sums have the order that this model's have."""
    order = bfloat16_order() if model.ops_name == "kernels" else bfloat16.VDPBF16PS
    return functools.partial(bfloat16.product, order=order)


def rows(array):
    """All vectors of an array, in a table."""
    return array.reshape(-1, array.shape[-1])


@pytest.fixture(params=OPS)
def passed(request):
    """A model after both passes, with everything kept, and the loss."""
    model = build(request.param, keep=("*",))
    loss = model.forward(TOKENS, TARGETS)
    model.backward()
    return model, loss


def test_the_residual_stream_is_a_sum_of_float32(passed):
    model, _ = passed
    product = product_of(model)
    acts, params, stream = model.activations, model.params, "embedding.out"
    for i in range(CONFIG.n_layer):
        for read, layer, written in (
            ("attn.out", "attn.c_proj", "resid_mid"), ("mlp.act", "mlp.c_proj", "resid_post"),
        ):  # fmt: skip
            branch = product(rows(acts[f"h.{i}.{read}"]), params[f"h.{i}.{layer}.weight"])
            branch += params[f"h.{i}.{layer}.bias"]
            expected = rows(acts[stream]) + branch
            stream = f"h.{i}.{written}"
            assert np.array_equal(rows(acts[stream]), expected), stream


def test_gradients_of_weights_are_sums_of_float32(passed):
    model, _ = passed
    product = product_of(model)
    acts, dacts, grads = model.activations, model.activation_grads, model.grads
    for i in range(CONFIG.n_layer):
        for layer, x, dout in (
            ("attn.c_attn", "ln_1.out", "attn.qkv"), ("attn.c_proj", "attn.out", "resid_mid"),
            ("mlp.c_fc", "ln_2.out", "mlp.fc"), ("mlp.c_proj", "mlp.act", "resid_post"),
        ):  # fmt: skip
            x, dout = rows(acts[f"h.{i}.{x}"]), rows(dacts[f"h.{i}.{dout}"])
            assert np.array_equal(grads[f"h.{i}.{layer}.weight"], product(x.T, dout)), layer
            exact = dout.sum(axis=0, dtype=np.float64)
            assert np.abs(grads[f"h.{i}.{layer}.bias"] - exact).max() < 1e-6 * np.abs(exact).max()
    dlogits, norm = rows(dacts["logits"]), rows(acts["ln_f.out"])
    assert np.array_equal(grads["lm_head.weight"], product(dlogits.T, norm))


def test_the_loss_of_the_logits_is_not_rounded(passed):
    model, loss = passed
    logits = rows(model.activations["logits"]).astype(np.float64)
    largest = logits.max(axis=-1)
    lse = largest + np.log(np.exp(logits - largest[:, None]).sum(axis=-1))
    exact = (lse - logits[np.arange(len(logits)), TARGETS.ravel()]).mean()
    assert abs(loss - exact) < 1e-6 * exact


def test_no_stream_and_no_gradient_consists_of_16_bits(passed):
    model, _ = passed
    streams = ["embedding.out"]
    streams += [f"h.{i}.resid_{place}" for i in range(2) for place in ("mid", "post")]
    arrays = {**model.grads} | {name: model.activations[name] for name in streams}
    arrays |= {f"d {name}": model.activation_grads[name] for name in streams}
    for name, array in arrays.items():
        some = array[array != 0]  # positions and tokens that do not occur have no gradient
        # The key's bias has none either: what is there are the few bits that rounding leaves.
        assert np.mean(rounded(some) == some) < 0.5, name


@pytest.mark.parametrize("ops", OPS)
def test_weights_of_1_arrive_where_those_of_float32_do(ops):
    """Steps of 1e-3 are less than half of the distance from 1 to the next bfloat16."""
    arrived = []
    for dtype in ("float32", "bfloat16"):
        model = build(ops, dtype)
        model.params.flat[...] = 1.0
        optimizer = gn.AdamW(model, learning_rate=1e-3, weight_decay=0.0)
        for _ in range(4):
            model.grads.flat[...] = 1.0
            optimizer.step()
        arrived.append(model.params.flat.copy())
    assert np.array_equal(*arrived) and (np.abs(arrived[0] - 0.996) < 1e-5).all()


def kinds(array):
    """Of each element: finite, infinite with its sign, or NaN."""
    sign = np.where(np.isinf(array), np.sign(array), 0)
    return np.where(np.isnan(array), 2, sign)


@pytest.mark.parametrize("value", [1e30, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("name", ["h.0.mlp.c_fc.weight", "h.0.attn.c_attn.weight", "wte.weight"])
def test_what_is_huge_or_not_finite_goes_where_float32_sends_it(name, value):
    found = []
    for dtype in ("float32", "bfloat16"):
        model = build(dtype=dtype, keep=("*",))
        model.params[name][TOKENS[0, 5], 0] = value
        with np.errstate(all="ignore"):
            loss = model.forward(TOKENS, TARGETS)
            model.backward()
        found.append({**model.activations, **model.grads, "loss": np.array(loss)})
    single, rounded = found
    for key, array in single.items():
        assert np.array_equal(kinds(array), kinds(rounded[key])), key


@pytest.mark.parametrize("ops", OPS)
def test_a_run_that_is_saved_and_loaded_goes_on_to_the_bit(ops, tmp_path):
    def steps(model, optimizer, some):
        for step in some:
            tokens, targets = np.random.default_rng(step).integers(0, 37, (2, 3, 20))
            model.forward(tokens, targets)
            model.backward()
            optimizer.step()

    model = build(ops)
    optimizer = gn.AdamW(model)
    steps(model, optimizer, range(3))
    settings = gn.TrainConfig(out_dir=str(tmp_path))
    gn.save(tmp_path / "ckpt.npz", model, optimizer=optimizer, settings=settings, progress={})
    steps(model, optimizer, range(3, 6))
    again = gn.load(tmp_path / "ckpt.npz", ops=ops)
    assert again.model.precision == "bfloat16"
    steps(again.model, again.optimizer, range(3, 6))
    for ours, theirs in (
        (again.model.params, model.params), (again.optimizer.m, optimizer.m),
        (again.optimizer.v, optimizer.v),
    ):  # fmt: skip
        assert ours.flat.tobytes() == theirs.flat.tobytes()
