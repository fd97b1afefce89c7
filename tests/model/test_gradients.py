"""The whole model against the complex step: every parameter, every activation that has a gradient.

Configurations chosen so that no mistake is invisible: the recipe (repeated tokens, targets
left out, two micro-batches of unequal size, all sizes different, dropout), one with heads =
positions = head size (a swapped layout changes no shape there), one with a single position, one as
GPT-2 starts, one untied, without biases, with sinusoids, and two of what came after GPT-2.
"""

import dataclasses
import re

import numpy as np
import pytest

import gpt_numpy as gn
import gpt_numpy.reference
from gpt_numpy.gradients.model_check import randomise
from gpt_numpy.model.stages import activation_shapes
from gpt_numpy.reference import activation, attention_sublayer, head, mlp_sublayer, norms

RECIPE = gn.GPTConfig(
    vocab_size=11, block_size=7, n_layer=2, n_head=2, n_embd=6, dropout=0.2, activation="gelu"
)
CONFIGS = {
    "recipe": (RECIPE, 5),
    "H = T = D": (dataclasses.replace(RECIPE, n_head=3, n_embd=9, n_layer=1, dropout=0.0), 3),
    "T = 1": (dataclasses.replace(RECIPE, activation="gelu_tanh"), 1),
    "as GPT-2 starts": (dataclasses.replace(RECIPE, activation="gelu_tanh", dropout=0.0), 5),
    "untied, no biases": (
        dataclasses.replace(
            RECIPE, tied=False, bias=False, positions="sinusoidal", activation="relu"
        ),
        5,
    ),
    "Llama": (
        dataclasses.replace(
            RECIPE,
            norm="rmsnorm",
            positions="rotary",
            activation="swiglu",
            bias=False,
            tied=False,
            n_head=4,
            n_kv_head=2,
            n_embd=8,
            n_inner=5,
            n_layer=1,
        ),
        5,
    ),
    "modern": (
        dataclasses.replace(
            RECIPE,
            norm="rmsnorm",
            positions="rotary",
            qk_norm=True,
            activation="relu2",
            n_head=3,
            n_kv_head=1,
            n_layer=1,
            logit_softcap=2.0,
            rope_base=50.0,
            norm_eps=0.1,
        ),
        5,
    ),
}
MODERN = ("Llama", "modern")
CASES = [(n, s) for n in CONFIGS for s in (0, 1, 2) if s == 0 or n not in MODERN]
STEP = 1e-30


def batches(config, T, seed):
    """Two micro-batches with repeated tokens and unequally many targets that count."""
    rng = np.random.default_rng(seed)
    pairs = []
    for left_out in (1, 2):
        tokens = rng.integers(0, config.vocab_size, (2, T))
        tokens[1] = tokens[0, ::-1]
        targets = rng.integers(0, config.vocab_size, (2, T))
        if T > 2:
            targets[:, :left_out] = -1
        pairs.append((tokens, targets))
    return pairs


def total_loss(model, pairs):
    """The loss of both micro-batches together, each with masks of its own."""
    divisor = sum(int((targets != -1).sum()) for _, targets in pairs)
    return sum(
        model.forward(tokens, targets, dropout_key=k + 5, divisor=divisor)
        for k, (tokens, targets) in enumerate(pairs)
    )


def hand_gradients(model, pairs):
    divisor = sum(int((targets != -1).sum()) for _, targets in pairs)
    for k, (tokens, targets) in enumerate(pairs):
        model.forward(tokens, targets, dropout_key=k + 5, divisor=divisor)
        model.backward(accumulate=k > 0)
    return model.grads


def error(hand, exact, largest):
    return np.abs(hand - exact).max() / max(np.abs(exact).max(), 1e-3 * largest)


@pytest.mark.parametrize(("name", "seed"), CASES)
def test_every_parameter_gradient_is_exact(name, seed):
    config, T = CONFIGS[name]
    model = gn.GPT(config, seed=seed, dtype="float64", ops="reference")
    if "starts" not in name:
        randomise(model, seed)
    pairs = batches(config, T, seed)
    model.grads.flat[...] = np.nan  # the first micro-batch assigns
    grads = hand_gradients(model, pairs)

    oracle = gn.GPT(config, seed=None, dtype="complex128", ops="reference")
    oracle.params.flat[...] = model.params.flat
    exact = np.empty(model.n_params)
    for j in range(model.n_params):
        oracle.params.flat[j] += 1j * STEP
        exact[j] = total_loss(oracle, pairs).imag / STEP
        oracle.params.flat[j] = oracle.params.flat[j].real
    largest = np.abs(exact).max()
    start = 0
    for tensor, hand in grads.items():
        part = exact[start : start + hand.size].reshape(hand.shape)
        start += hand.size
        assert error(hand, part, largest) <= 1e-13, tensor


class Nudge:
    """Moves one element of one activation, in the complex direction, as soon as it is written.

    It wraps every function of `reference/` that the model or a sublayer calls with `out=`, so that
    what the composed layers pass between them can be moved, too.
    """

    PRIMITIVES = ("layernorm", "rmsnorm", "linear", "queries_keys", "attention", "cross_entropy")
    LAYERS = ("embedding", "attention_sublayer", "mlp_sublayer")

    def __init__(self, monkeypatch):
        self.array, self.index = None, None
        composed = (attention_sublayer, mlp_sublayer, head, norms)
        wrapped = [(module, name) for module in composed for name in self.PRIMITIVES]
        wrapped += [(gpt_numpy.reference, name) for name in self.LAYERS]
        for module, name in wrapped:
            name += "_forward"
            if hasattr(module, name):
                monkeypatch.setattr(module, name, self.wrapped(getattr(module, name)))
        for name, function in list(activation.FORWARD.items()):
            monkeypatch.setitem(activation.FORWARD, name, self.wrapped(function))

    def wrapped(self, function):
        def call(*args, **kwargs):
            function(*args, **kwargs)
            if kwargs["out"] is self.array:
                self.array[self.index] += 1j * STEP

        return call


@pytest.mark.parametrize(("name", "seed"), CASES)
def test_the_gradient_of_every_input_of_every_layer_is_exact(name, seed, monkeypatch):
    # The losses are the sum's terms. All sequences are moved at once: no sequence sees another.
    config, T = CONFIGS[name]
    model = gn.GPT(config, seed=seed, dtype="float64", ops="reference", keep=("*",))
    if "starts" not in name:
        randomise(model, seed)
    oracle = gn.GPT(config, seed=None, dtype="complex128", ops="reference", keep=("*",))
    oracle.params.flat[...] = model.params.flat
    tokens, targets = batches(config, T, seed)[0]
    kept = int((targets != -1).sum())
    model.forward(tokens, targets, dropout_key=1)
    model.backward()
    nudge = Nudge(monkeypatch)
    oracle.forward(tokens, targets, dropout_key=1)
    losses, exact = oracle.activations["losses"], {}
    for tensor, hand in model.activation_grads.items():
        nudge.array, exact[tensor] = oracle.activations[tensor], np.empty(hand.shape)
        for place in np.ndindex(hand.shape[1:]):
            nudge.index = (slice(None), *place)
            oracle.forward(tokens, targets, dropout_key=1)
            exact[tensor][nudge.index] = losses.imag.sum(axis=1) / (STEP * kept)
    assert len(exact) == 4 + (9 if "h.0.attn.ready" in exact else 8) * config.n_layer
    largest = max(np.abs(value).max() for value in exact.values())
    for tensor, value in exact.items():
        assert error(model.activation_grads[tensor], value, largest) <= 1e-13, tensor


def test_what_is_kept_does_not_change_what_is_computed():
    config, T = CONFIGS["recipe"]
    results = []
    for keep in ((), ("*",), ("h.1.*", "logits")):
        model = gn.GPT(config, dtype="float64", ops="reference", keep=keep)
        randomise(model, 1)
        (tokens, targets), _ = batches(config, T, 1)
        loss = model.forward(tokens, targets, dropout_key=3)
        model.backward()
        results.append((loss, model.grads.flat.copy()))
    for loss, grads in results[1:]:
        assert loss == results[0][0]
        assert np.array_equal(grads, results[0][1])


def test_kept_activations_have_the_shapes_of_the_table():
    config, T = CONFIGS["recipe"]
    model = gn.GPT(config, keep=("*",))
    (tokens, targets), _ = batches(config, T, 0)
    model.forward(tokens, targets)
    model.backward()
    shapes = activation_shapes(config, 2, T)
    assert {name: a.shape for name, a in model.activations.items()} == shapes
    assert all(model.activation_grads[n].shape == shapes[n] for n in model.activation_grads)


def test_the_key_bias_has_no_gradient():
    # Adding one vector to all keys adds the same to all scores of a row: softmax does not change.
    config, T = CONFIGS["recipe"]
    model = gn.GPT(dataclasses.replace(config, dropout=0.0), dtype="float64", ops="reference")
    randomise(model, 0)
    hand_gradients(model, batches(config, T, 0))
    C = config.n_embd
    for i in range(config.n_layer):
        key_bias = model.grads[f"h.{i}.attn.c_attn.bias"][C : 2 * C]
        assert np.abs(key_bias).max() < 1e-15 * np.abs(model.grads.flat).max()


def test_batch_shapes_can_alternate():
    config, _ = CONFIGS["recipe"]
    model = gn.GPT(config, dtype="float64", ops="reference")
    randomise(model, 0)
    rng = np.random.default_rng(0)
    shapes = [(2, 5), (1, 7), (3, 2), (2, 5)]
    draws = [rng.integers(0, config.vocab_size, shape) for shape in shapes]
    for tokens in draws:
        fresh = gn.GPT(config, seed=None, dtype="float64", ops="reference")
        fresh.params.flat[...] = model.params.flat
        for each in (model, fresh):
            each.forward(tokens, tokens)
            each.backward()
        assert np.array_equal(model.grads.flat, fresh.grads.flat)


@pytest.mark.parametrize(
    ("tokens", "targets", "message"),
    [
        (np.zeros((2, 8), int), np.zeros((2, 8), int), "8 positions.*block_size=7"),
        (np.zeros((2, 3)), np.zeros((2, 3), int), "tokens is of type float64"),
        (np.zeros(3, int), np.zeros(3, int), r"tokens has shape \(3,\)"),
        (np.zeros((0, 3), int), np.zeros((0, 3), int), r"shape \(0, 3\)"),
        (np.zeros((2, 3), int), np.zeros((2, 4), int), r"targets has shape \(2, 4\)"),
        (np.full((2, 3), 11), np.zeros((2, 3), int), "tokens contains 11: must be from 0 to 10"),
        (np.full((2, 3), -1), np.zeros((2, 3), int), "tokens contains -1"),
        (np.zeros((2, 3), int), np.full((2, 3), -2), "targets contains -2.*-1 to leave"),
        (np.zeros((2, 3), int), np.full((2, 3), 2**40), "targets contains 1099511627776"),
    ],
)
def test_bad_tokens_are_refused_before_any_kernel_runs(tokens, targets, message):
    model = gn.GPT(RECIPE)
    with pytest.raises(gn.InputError, match=message):
        model.forward(tokens, targets)


def test_backward_needs_a_forward_before_it():
    model = gn.GPT(RECIPE)
    with pytest.raises(gn.InputError, match="no forward"):
        model.backward()
    model.forward(np.zeros((1, 3), int), np.zeros((1, 3), int))
    model.backward()
    with pytest.raises(gn.InputError, match="no forward"):
        model.backward()


@pytest.mark.parametrize("ops", ["kernels", "reference"])
def test_the_callers_tokens_may_change_between_forward_and_backward(ops):
    # As a loop does that fills one array with every batch; the last number is none of the model's.
    rng = np.random.default_rng(0)
    tokens, targets = rng.integers(0, 11, (2, 2, 7))
    results = []
    for changed in (None, 0, 10**9):
        model = gn.GPT(RECIPE, dtype="float64", ops=ops)
        batch = tokens.copy(), targets.copy()
        model.forward(*batch)
        for array in batch:
            array[...] = array if changed is None else changed
        model.backward()
        results.append(model.grads.flat.copy())
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout_key": 1.5}, "dropout_key=1.5"),
        ({"dropout_key": 2**64}, "less than 2^64"),
        ({"divisor": float("nan")}, "divisor=nan"),
        ({"divisor": 0}, "divisor=0: must be the number of targets"),
        ({"divisor": True}, "divisor=True"),
    ],
)
def test_options_of_a_pass_are_checked(options, message):
    tokens = np.zeros((1, 3), int)
    with pytest.raises(gn.InputError, match=re.escape(message)):
        gn.GPT(RECIPE).forward(tokens, tokens, **options)


def test_all_targets_left_out_give_loss_and_gradient_zero():
    model = gn.GPT(RECIPE)
    assert model.forward(np.zeros((1, 3), int), np.full((1, 3), -1)) == 0
    model.backward()
    assert not model.grads.flat.any()


def test_a_name_that_is_not_kept_is_refused_with_advice():
    model = gn.GPT(RECIPE, keep=("h.*.attn.out",))
    model.forward(np.zeros((1, 3), int), np.zeros((1, 3), int))
    assert model.activations["h.1.attn.out"].shape == (1, 3, 6)
    with pytest.raises(KeyError, match="keep="):
        model.activations["logits"]
    with pytest.raises(gn.InputError, match=r"did you mean h\.0\.attn\.out"):
        gn.GPT(RECIPE, keep=("h.0.atn.out",))


def test_logits_are_those_of_the_loss():
    model = gn.GPT(RECIPE, dtype="float64", ops="reference", keep=("logits",))
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 11, (2, 7))
    model.forward(tokens, tokens)
    assert np.array_equal(model.logits(tokens), model.activations["logits"])


def test_initial_parameters_are_gpt2s():
    config = gn.GPTConfig(vocab_size=300, block_size=64, n_layer=8, n_head=4, n_embd=64)
    model = gn.GPT(config, seed=3)
    for name, param in model.params.items():
        if name.endswith("bias"):
            assert not param.any()
        elif ".ln_" in name or name.startswith("ln_f"):
            assert (param == 1).all()
        else:
            expected = 0.02 / 4 if "c_proj" in name else 0.02
            assert param.std() == pytest.approx(expected, rel=0.05)
    other = gn.GPT(config, seed=3, dtype="float64", ops="reference")
    assert np.array_equal(model.params.flat, other.params.flat.astype(np.float32))


def test_projections_and_head_can_start_at_0():
    config = dataclasses.replace(
        RECIPE, tied=False, init_residual="zero", init_head="zero", norm="rmsnorm", qk_norm=True
    )
    model = gn.GPT(config, dtype="float64", ops="reference")
    zero = {n for n, param in model.params.items() if not param.any() and n.endswith("weight")}
    assert zero == {"lm_head.weight", *(n for n in model.params if n.endswith("c_proj.weight"))}
    norms = [p for n, p in model.params.items() if "norm.weight" in n or ".ln_" in n or "ln_f" in n]
    assert all((p == 1).all() for p in norms) and len(norms) == 9
    tokens = np.random.default_rng(0).integers(0, 11, (2, 5))
    assert model.forward(tokens, tokens) == pytest.approx(np.log(11), rel=1e-15)  # all alike
    model.backward()
    assert model.grads["lm_head.weight"].any()  # from here on it learns


@pytest.mark.parametrize("ops", ["kernels", "reference"])
def test_backward_has_the_dropout_of_its_forward_even_if_it_was_changed_since(ops):
    tokens = np.random.default_rng(0).integers(0, RECIPE.vocab_size, (2, 5))
    gradients = []
    for later in (RECIPE.dropout, 0.6, 0.0):
        model = gn.GPT(RECIPE, dtype="float64", ops=ops)
        model.forward(tokens, tokens, dropout_key=3)
        model.set_dropout(later)
        model.backward()
        gradients.append(model.grads.flat.copy())
    assert np.array_equal(gradients[0], gradients[1])
    assert np.array_equal(gradients[0], gradients[2])
