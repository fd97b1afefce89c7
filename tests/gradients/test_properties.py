"""What must hold of right gradients whatever the numbers: slopes, remainders, adjoints, invariants.

These hold without an oracle, at sizes where one element at a time takes too long, and on both
implementations where they can.
"""

import dataclasses

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.config.choices import IMPLEMENTATIONS
from gpt_numpy.gradients.derivatives import STEP
from gpt_numpy.gradients.model_check import randomise
from gpt_numpy.model.implementations import load_ops
from gpt_numpy.reference.dropout import Dropout
from gpt_numpy.reference.embedding import EmbeddingWeights
from gpt_numpy.reference.head import HeadKept, HeadSettings, HeadWeights

CONFIG = gn.GPTConfig(
    vocab_size=11, block_size=7, n_layer=2, n_head=2, n_embd=6, activation="gelu_tanh"
)
MILLION = gn.GPTConfig(
    vocab_size=1000, block_size=40, n_layer=4, n_head=4, n_embd=136, dropout=0.2, activation="gelu"
)
EXACT = 1e-15  # of the largest number that took part


def build(config, ops="reference", dtype="float64", keep=(), seed=0):
    model = gn.GPT(config, seed=None, dtype=dtype, ops=ops, keep=keep)
    randomise(model, seed)
    return model


def batch(config, shape=(2, 7), seed=0):
    """Tokens, some of which repeat, and targets, some of which are left out."""
    rng = np.random.default_rng(seed)
    tokens, targets = rng.integers(0, config.vocab_size, (2, *shape))
    tokens[:, -1], targets[:, shape[1] // 2] = tokens[:, 0], -1
    return tokens, targets


@pytest.fixture(params=IMPLEMENTATIONS)
def ops(request):
    return request.param


# Along directions.


@pytest.mark.parametrize("ops", IMPLEMENTATIONS)
def test_slopes_of_a_model_of_a_million_parameters(ops):
    model = build(MILLION, ops)
    assert model.n_params > 1_000_000
    tokens, targets = batch(MILLION, (2, 12))
    model.forward(tokens, targets, dropout_key=3)
    model.backward()
    oracle = gn.GPT(MILLION, seed=None, dtype="complex128", ops="reference")
    for seed in range(3):
        direction = np.random.default_rng(seed).standard_normal(model.n_params)
        oracle.params.flat[...] = model.params.flat + 1j * STEP * direction
        slope = oracle.forward(tokens, targets, dropout_key=3).imag / STEP
        error = abs(direction @ model.grads.flat - slope)
        assert error <= 1e-11 * max(abs(slope), np.linalg.norm(model.grads.flat))


def taylor_orders(model, tokens, targets, direction, grads):
    """How fast the remainder J(x + hv) - J(x) - h v.g falls as h halves: 2 if g is the gradient.

    h is small enough for the third derivative, and large enough for rounding, not to show.
    """
    start, slope = model.params.flat.copy(), direction @ grads
    loss, remainders = model.forward(tokens, targets), []
    for k in range(4):
        h = 4e-5 / 2**k
        model.params.flat[...] = start + h * direction
        remainders.append(abs(model.forward(tokens, targets) - loss - h * slope))
    model.params.flat[...] = start
    return np.log2(np.divide(remainders[:-1], remainders[1:]))


@pytest.mark.parametrize("ops", IMPLEMENTATIONS)
def test_the_taylor_remainder_is_of_second_order_in_20_directions(ops):
    model, (tokens, targets) = build(CONFIG, ops), batch(CONFIG)
    model.forward(tokens, targets)
    model.backward()
    grads = model.grads.flat.copy()
    for seed in range(20):
        direction = np.random.default_rng(seed).standard_normal(model.n_params)
        orders = taylor_orders(model, tokens, targets, direction, grads)
        assert np.abs(orders - 2).max() <= 0.02, seed
        wrong = taylor_orders(model, tokens, targets, direction, grads * (1 + 1e-2 * direction))
        assert wrong.min() < 1.9, seed


# Linear pieces: <A x, y> = <x, A^T y>, with backward in the place of A^T.


def assert_adjoint(pairs_in, pairs_out):
    """The inner products of (dx, x), summed, and of (out, dout) agree to rounding."""
    one, other = (sum(float((a * b).sum()) for a, b in pairs) for pairs in (pairs_in, pairs_out))
    size = sum(np.linalg.norm(a) * np.linalg.norm(b) for a, b in pairs_out)
    assert abs(one - other) <= 1e-14 * size


def normal(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).standard_normal(shape)


def empty(*shape):
    return np.full(shape, np.nan)


def layer(package, module, name):
    """A primitive's forward and backward."""
    home = __import__(f"gpt_numpy.{package}.{module}", fromlist=[module])
    return getattr(home, f"{name}_forward"), getattr(home, f"{name}_backward")


def test_the_linear_layer_is_the_adjoint_of_its_backward(ops):
    forward, backward = layer(ops, "linear", "linear")
    x, weight, bias, dout = normal(2, 5, 9), normal(9, 13), normal(13), normal(2, 5, 13)
    dx, dweight, dbias = empty(2, 5, 9), empty(9, 13), empty(13)
    backward(dout, x, weight, bias, dx=dx, dweight=dweight, dbias=dbias)
    out = empty(2, 5, 13)
    forward(x, weight, None, out=out)
    assert_adjoint([(dx, x)], [(out, dout)])  # linear in x
    assert_adjoint([(dweight, weight)], [(out, dout)])  # and in the weight
    forward(0 * x, weight, bias, out=out)
    assert_adjoint([(dbias, bias)], [(out, dout)])  # and in the bias


def test_the_embedding_is_the_adjoint_of_its_backward(ops):
    forward, backward = layer(ops, "embedding", "embedding")
    tokens, _ = batch(CONFIG)
    wte, wpe, dout = normal(11, 6), normal(9, 6), normal(2, 7, 6)
    for rate in (0.0, 0.4):
        out, dwte, dwpe = empty(2, 7, 6), empty(11, 6), empty(9, 6)
        weights, dweights = EmbeddingWeights(wte, wpe), EmbeddingWeights(dwte, dwpe)
        dropout = Dropout.of(rate, 5, 1)
        forward(tokens, weights, dropout=dropout, out=out)
        backward(dout, tokens, weights, tied=False, dropout=dropout, dweights=dweights)
        assert_adjoint([(dwte, wte), (dwpe, wpe)], [(out, dout)])


@pytest.mark.parametrize("shape", [(2, 7, 6), (33, 1031)])
def test_dropout_is_its_own_adjoint(ops, shape):
    forward, backward = layer(ops, "dropout", "dropout")
    x, dout, out, dx = normal(*shape), normal(*shape, seed=1), empty(*shape), empty(*shape)
    forward(x, Dropout.of(0.3, 5, 1), out=out)
    backward(dout, Dropout.of(0.3, 5, 1), dx=dx)
    assert_adjoint([(dx, x)], [(out, dout)])


def test_attention_is_linear_in_the_values_and_backward_is_the_adjoint(ops):
    # Heads are split and merged on the way, and the weights, dropped out or not, are one matrix.
    forward, backward = layer(ops, "attention", "attention")
    B, T, H, D = 2, 9, 3, 5
    qkv, dout = normal(B, T, 3 * H * D), normal(B, T, H * D)
    for rate in (0.0, 0.4):
        out, lse, dqkv = empty(B, T, H * D), empty(B, H, T), empty(B, T, 3 * H * D)
        dropout = Dropout.of(rate, 7, 2)
        forward(qkv, H, dropout, out=out, lse=lse)
        backward(dout, qkv, H, dropout, out=out, lse=lse, dqkv=dqkv)
        values = slice(2 * H * D, None)
        assert_adjoint([(dqkv[..., values], qkv[..., values])], [(out, dout)])


def test_the_head_is_linear_in_its_weight_and_its_backward_is_the_adjoint(ops):
    functions = load_ops(ops)
    x, gamma, weight, dout = normal(2, 5, 6), normal(6), normal(11, 6), normal(2, 5, 11)
    out, mean, rstd, norm = empty(2, 5, 11), empty(2, 5), empty(2, 5), empty(2, 5, 6)
    weights, kept = HeadWeights(gamma, None, weight), HeadKept(mean, rstd, norm, None, None)
    functions.head_forward(x, weights, kept, settings=HeadSettings(), out=out)
    dx, dnorm, dgamma, dweight = empty(2, 5, 6), empty(2, 5, 6), empty(6), empty(11, 6)
    functions.head_backward(
        dout, x, weights, kept, settings=HeadSettings(),
        dx=dx, dweights=HeadWeights(dgamma, None, dweight),
        dkept=HeadKept(None, None, dnorm, None, None),
    )  # fmt: skip
    assert_adjoint([(dweight, weight)], [(out, dout)])
    assert_adjoint([(dnorm, norm)], [(out, dout)])
    assert_adjoint([(dgamma, gamma)], [(out, dout)])


def test_the_residual_sum_hands_its_gradient_to_both_of_its_terms(ops):
    # With the last projection at zero the branch adds nothing, and dx is dout, to the bit.
    config = dataclasses.replace(CONFIG, n_layer=1)
    model = build(config, ops, keep=("*",))
    for name in ("attn", "mlp"):
        model.params[f"h.0.{name}.c_proj.weight"][...] = 0
    model.forward(*batch(config))
    model.backward()
    grads = model.activation_grads
    assert np.array_equal(grads["h.0.resid_mid"], grads["h.0.resid_post"])
    assert np.array_equal(grads["embedding.out"], grads["h.0.resid_mid"])
    assert grads["h.0.resid_post"].any()


# Invariants.


def test_rows_of_the_logits_gradient_sum_to_zero(ops):
    # Adding one number to all logits of a position changes no probability.
    model = build(CONFIG, ops, keep=("logits",))
    model.forward(*batch(CONFIG))
    model.backward()
    dlogits = model.activation_grads["logits"]
    assert np.abs(dlogits.sum(axis=-1)).max() <= EXACT * np.abs(model.grads.flat).max()
    assert not dlogits[:, 3].any()  # the target there is left out


def test_the_key_bias_has_no_gradient(ops):
    # Adding one vector to all keys adds the same to all scores of a row: softmax does not change.
    model = build(CONFIG, ops)
    model.forward(*batch(CONFIG))
    model.backward()
    C = CONFIG.n_embd
    for i in range(CONFIG.n_layer):
        bias = model.grads[f"h.{i}.attn.c_attn.bias"]
        assert np.abs(bias[C : 2 * C]).max() <= EXACT * np.abs(model.grads.flat).max()
        assert np.abs(bias[:C]).max() > 1e-3 * np.abs(bias).max()


@pytest.mark.parametrize("C", [6, 64, 127])
def test_the_layer_norms_gradient_is_orthogonal_to_what_it_takes_away(ops, C):
    # It takes away mean and scale, so there is no slope along ones, nor along x - mean.
    forward, backward = layer(ops, "layernorm", "layernorm")
    x, dout, weight = 2 + normal(3, 4, C), normal(3, 4, C), normal(C)
    out, mean, rstd, dx = empty(3, 4, C), empty(3, 4), empty(3, 4), empty(3, 4, C)
    forward(x, weight, None, out=out, mean=mean, rstd=rstd)
    backward(dout, x, weight, None, mean, rstd, dx=dx, dweight=empty(C), dbias=None)
    xhat = (x - mean[..., None]) * rstd[..., None]
    size = C * np.abs(dx).max()  # sums of C numbers
    assert np.abs(dx.sum(axis=-1)).max() <= EXACT * size
    # eps inside of rstd leaves a share of eps / variance of the slope along x - mean.
    along = (dx * xhat).sum(axis=-1)
    left = 1e-5 * rstd**2 * ((dout * weight) * xhat).sum(axis=-1) * rstd
    assert np.abs(along - left).max() <= EXACT * size


def test_positions_do_not_see_the_future_to_the_bit(ops):
    model, T, V = build(CONFIG, ops, keep=("*",)), 7, CONFIG.vocab_size
    tokens, _ = batch(CONFIG)
    for last in range(T):
        targets = np.full(tokens.shape, -1)
        targets[:, last] = 4
        model.forward(tokens, targets)
        model.backward()
        for name, grad in model.activation_grads.items():
            if name not in ("losses", "logits"):
                assert not grad[:, last + 1 :].any(), (name, last)
                assert grad[:, last].any(), (name, last)
        assert not model.grads["wpe.weight"][last + 1 :].any()
        before = model.logits(tokens)[:, : last + 1]
        changed = tokens.copy()
        changed[:, last + 1 :] = (changed[:, last + 1 :] + 1) % V
        assert np.array_equal(model.logits(changed)[:, : last + 1], before)


def test_rows_that_nobody_used_have_no_gradient_to_the_bit(ops):
    model = build(dataclasses.replace(CONFIG, tied=False), ops)
    tokens = np.array([[3, 1, 3, 5]])
    model.forward(tokens, tokens)
    model.backward()
    assert not model.grads["wpe.weight"][4:].any()
    used = model.grads["wte.weight"].any(axis=1)
    assert used.nonzero()[0].tolist() == [1, 3, 5]


def test_the_order_of_the_sequences_does_not_matter(ops):
    tokens, targets = batch(CONFIG, (4, 7))
    results = []
    for order in ([0, 1, 2, 3], [2, 0, 3, 1]):
        model = build(CONFIG, ops)
        loss = model.forward(tokens[order], targets[order])
        model.backward()
        results.append((loss, model.grads.flat.copy(), model.logits(tokens[order])))
    (loss, grads, logits), (loss2, grads2, logits2) = results
    assert loss == pytest.approx(loss2, rel=1e-14)
    assert np.abs(grads - grads2).max() <= 10 * EXACT * np.abs(grads).max()
    assert np.abs(logits[[2, 0, 3, 1]] - logits2).max() <= 10 * EXACT * np.abs(logits).max()


def test_micro_batches_add_up_to_the_big_batch(ops):
    # Their means are not averaged: each target counts the same, wherever it stands.
    tokens, targets = batch(CONFIG, (4, 7))
    targets[3, 1:] = -1
    kept = int((targets != -1).sum())
    whole, parts = build(CONFIG, ops), build(CONFIG, ops)
    loss = whole.forward(tokens, targets)
    whole.backward()
    total = 0.0
    for k, rows in enumerate((slice(0, 1), slice(1, 3), slice(3, 4))):
        total += parts.forward(tokens[rows], targets[rows], divisor=kept)
        parts.backward(accumulate=k > 0)
    assert total == pytest.approx(loss, rel=1e-14)
    assert (
        np.abs(parts.grads.flat - whole.grads.flat).max() <= 1e-13 * np.abs(whole.grads.flat).max()
    )
