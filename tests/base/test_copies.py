"""Copies of models and optimizers are whole; an assignment that would do nothing is refused."""

import copy
import pickle

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.training.checkpoint import Run

CONFIG = gn.GPTConfig(vocab_size=11, block_size=5, n_layer=2, n_head=2, n_embd=6, dropout=0.1)
TOKENS = np.arange(10).reshape(2, 5)
COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
}


def trained(ops="kernels", keep=()):
    model = gn.GPT(CONFIG, seed=1, ops=ops, keep=keep)
    optimizer = gn.AdamW(model, learning_rate=1e-2)
    step(model, optimizer)
    return model, optimizer


def step(model, optimizer):
    loss = model.forward(TOKENS, TOKENS, dropout_key=3)
    model.backward()
    optimizer.step()
    return loss


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("ops", ["kernels", "reference"])
def test_a_copied_model_computes_the_same_and_is_another(how, ops):
    model, _ = trained(ops, keep=("h.*.attn.out",))
    twin = COPIES[how](model)
    assert np.array_equal(twin.grads.flat, model.grads.flat)
    before = model.params.flat.copy()
    assert twin.forward(TOKENS, TOKENS) == model.forward(TOKENS, TOKENS)
    assert list(twin.activations) == list(model.activations)
    twin.params["wte.weight"][...] *= 2
    assert np.array_equal(model.params.flat, before)
    assert twin.forward(TOKENS, TOKENS) != model.forward(TOKENS, TOKENS)


@pytest.mark.parametrize("how", COPIES)
def test_a_copied_optimizer_goes_on_with_its_own_copy_of_the_model(how):
    model, optimizer = trained()
    twin = COPIES[how](optimizer)
    assert twin.model is not model and twin.steps == 1
    losses = [[step(o.model, o) for _ in range(3)] for o in (optimizer, twin)]
    assert losses[0] == losses[1]
    assert np.array_equal(model.params.flat, twin.model.params.flat)
    with pytest.raises(gn.InputError, match="optimizer.learning_rate"):
        twin.lr = 1.0


@pytest.mark.parametrize("how", COPIES)
def test_a_copied_run_keeps_model_and_optimizer_together(how):
    model, optimizer = trained()
    twin = COPIES[how](Run(model, CONFIG, optimizer=optimizer, progress={"iteration": 1}))
    assert twin.optimizer.model is twin.model and twin.progress == {"iteration": 1}


@pytest.mark.parametrize("how", COPIES)
def test_the_arrays_of_a_copy_lie_in_its_own_flat_buffer(how):
    model, _ = trained()
    params = COPIES[how](model.params)
    params["wpe.weight"][...] = 7
    assert (params.flat == 7).sum() == params["wpe.weight"].size
    assert list(params) == list(model.params) and not (model.params.flat == 7).any()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("params", r"model\.params\[name\]\[\.\.\.\] = values"),
        ("grads", r"model\.grads\[name\]\[\.\.\.\] = values"),
        ("config", "GPT\\(config\\)"),
        ("dtype", "dtype=..."),
        ("ops", "ops=..."),
        ("ops_name", "fixed"),
        ("activations", "gn.replaced"),
        ("activation_grads", "gn.replaced"),
        ("n_params", "fixed"),
        ("positions", "fixed"),
        ("training", "dropout_key"),
        ("colour", "no attribute 'colour'"),
    ],
)
def test_assigning_what_a_model_would_ignore_is_refused(name, said):
    model, _ = trained()
    before = model.forward(TOKENS, TOKENS)
    with pytest.raises(gn.InputError, match=said):
        setattr(model, name, object())
    assert model.forward(TOKENS, TOKENS) == before


@pytest.mark.parametrize("name", ["m", "v", "model", "lr", "beta1"])
def test_assigning_what_an_optimizer_would_ignore_is_refused(name):
    _, optimizer = trained()
    with pytest.raises(gn.InputError, match=name):
        setattr(optimizer, name, 0)
    optimizer.learning_rate, optimizer.betas = 1e-4, (0.8, 0.9)
    optimizer.step()


def test_a_named_array_is_written_not_replaced():
    model, _ = trained()
    model.params.flat += 0  # in place, which assigns the same array again
    with pytest.raises(gn.InputError, match=r"\['wte.weight'\]\[\.\.\.\] = values"):
        model.params["wte.weight"] = np.zeros((11, 6))
    with pytest.raises(gn.InputError, match="flat"):
        model.params.flat = np.zeros(3)
