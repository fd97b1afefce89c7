"""Muon in training: what is whose, what is saved, learning rates, and what is refused."""

import dataclasses
import math

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.reference.adamw import AdamWSettings, adamw_update
from gpt_numpy.reference.muon import MuonSettings, muon_update
from gpt_numpy.training import checkpoint
from gpt_numpy.training import run_folder as runs
from gpt_numpy.training.log import Log
from gpt_numpy.training.loop import Training, new_run
from gpt_numpy.training.optimizers import optimizer_for, set_learning_rates
from gpt_numpy.training.schedule import learning_rate_at, muon_learning_rate_at
from tests.support.sentences import SMALL
from tests.training.test_loop import go, interrupt_after, losses, start

SHAPE = {"vocab_size": 7, "block_size": 6, "n_layer": 2, "n_head": 2, "n_embd": 8}
MATRICES = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")


@pytest.fixture
def config(config):
    return dataclasses.replace(config, optimizer="muon", lr_schedule="linear", min_lr=1e-3)


def build(**changed):
    return gn.GPT(gn.GPTConfig(**SHAPE | changed), seed=1, dtype="float64", ops="reference")


def step_of(model, seed=0, **settings):
    """One step from random gradients: the optimizer, and the parameters before it."""
    optimizer = gn.Muon(model, **settings)
    model.grads.flat[...] = np.random.default_rng(seed).standard_normal(model.n_params)
    before = {name: param.copy() for name, param in model.params.items()}
    optimizer.step()
    return optimizer, before


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"tied": False, "bias": False},
        {"n_head": 4, "n_kv_head": 2, "activation": "swiglu", "n_inner": 6},
    ],
)
def test_each_parameter_is_updated_once_and_by_its_own_optimizer(changed):
    model = build(**changed)
    optimizer, before = step_of(
        model, learning_rate=0.1, betas=(0.8, 0.9), weight_decay=0.5, grad_clip=0.0,
        muon_learning_rate=0.3, muon_momentum=0.7,
    )  # fmt: skip
    muons = {f"h.{i}.{name}.weight" for i in range(2) for name in MATRICES}
    assert set(optimizer.momentum) == muons and set(optimizer.m) == set(model.params) - muons
    for name, expected in before.items():
        grad = model.grads[name]
        if name in muons:  # each head is a matrix, and so are gates and values
            ends = [grad.shape[1]]
            if "c_attn" in name:
                size = 8 // changed.get("n_head", 2)
                ends = range(size, grad.shape[1] + 1, size)
            elif "c_fc" in name and changed.get("activation") == "swiglu":
                ends = [6, 12]
            for start, end in zip([0, *ends], ends, strict=False):
                part = slice(start, end)
                muon_update(
                    expected[:, part], grad[:, part], np.zeros_like(grad[:, part]),
                    grad_scale=1.0, settings=MuonSettings(0.3, 0.7, 0.5),
                )  # fmt: skip
        else:
            decay = 0.5 if grad.ndim == 2 else 0.0
            adamw_update(
                expected, grad, np.zeros_like(grad), np.zeros_like(grad), step=1, grad_scale=1.0,
                settings=AdamWSettings(0.1, 0.8, 0.9, 1e-8, decay),
            )  # fmt: skip
        assert np.abs(model.params[name] - expected).max() <= 1e-14, name


@pytest.mark.parametrize("place", ["post", "pre"])
def test_the_blocks_of_both_stacks_are_muons(place):
    config = dataclasses.replace(SMALL, norm_place=place)
    model = gn.Transformer(config, seed=1, dtype="float64", ops="reference")
    optimizer, before = step_of(
        model, weight_decay=0.5, grad_clip=0.0, muon_learning_rate=0.3, muon_momentum=0.7
    )
    heads = config.n_head
    parts = {"attn.c_attn": 3 * heads, "cross.c_kv": 2 * heads, "cross.c_q": 1, "mlp.c_fc": 1}
    parts |= dict.fromkeys(("attn.c_proj", "cross.c_proj", "mlp.c_proj"), 1)
    matrices = {
        name: count
        for name in model.params
        for kind, count in parts.items()
        if name.endswith(f"{kind}.weight")
    }
    assert set(optimizer.momentum) == set(matrices) and len(matrices) == 2 * (4 + 7)
    assert set(optimizer.m) == set(model.params) - set(matrices)
    assert "wte.weight" in optimizer.m
    for name, count in matrices.items():
        expected, grad = before[name], model.grads[name]
        for new, g in zip(*(np.split(x, count, axis=1) for x in (expected, grad)), strict=True):
            muon_update(
                new, g, np.zeros_like(g),
                grad_scale=1.0, settings=MuonSettings(0.3, 0.7, 0.5),
            )  # fmt: skip
        assert np.abs(model.params[name] - expected).max() <= 1e-14, name


def test_the_norm_is_of_all_gradients_and_clipping_keeps_steps_out_of_the_mean():
    model = build()
    optimizer, _ = step_of(model, grad_clip=0.5, muon_momentum=0.75)
    norm = np.sqrt(np.square(model.grads.flat).sum())
    assert optimizer.step() == pytest.approx(norm, rel=1e-14)
    name = "h.1.mlp.c_fc.weight"
    mean = (0.25 + 0.75 * 0.25) * model.grads[name] * 0.5 / norm
    assert np.abs(optimizer.momentum[name] - mean).max() <= 1e-6 * np.abs(mean).max()


def test_a_gradient_that_is_not_finite_changes_nothing():
    model = build()
    optimizer, _ = step_of(model)
    before, mean = model.params.flat.copy(), optimizer.momentum.flat.copy()
    model.grads["h.1.attn.c_proj.weight"][0, 0] = math.nan
    with pytest.raises(Exception, match=r"h\.1\.attn\.c_proj\.weight is not finite"):
        optimizer.step()
    assert np.array_equal(model.params.flat, before) and optimizer.steps == 1
    assert np.array_equal(optimizer.momentum.flat, mean)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("muon_learning_rate", value) for value in (-0.1, math.nan, "fast")],
        *[("muon_momentum", value) for value in (-0.1, 1.0, None)],
        *[("weight_decay", -1), ("learning_rate", math.inf)],
    ],
)
def test_a_wrong_setting_is_refused_and_changes_nothing(name, value):
    model = build()
    with pytest.raises(gn.InputError, match=name):
        gn.Muon(model, **{name: value})
    optimizer, _ = step_of(model)
    before = model.params.flat.copy()
    setattr(optimizer, name, value)
    with pytest.raises(gn.InputError, match=name):
        optimizer.step()
    assert np.array_equal(model.params.flat, before) and optimizer.steps == 1


def test_a_misspelt_attribute_is_refused():
    optimizer = gn.Muon(build())
    with pytest.raises(gn.InputError, match="muon_momentum"):
        optimizer.momentum = 0.9
    with pytest.raises(gn.InputError, match="muon_learning_rate"):
        optimizer.muon_learning_rates = 0.9


def test_a_model_of_bfloat16_products_has_the_same_updates():
    models = [gn.GPT(gn.GPTConfig(**SHAPE), dtype=dtype) for dtype in ("float32", "bfloat16")]
    for model in models:
        step_of(model)
    assert np.array_equal(models[0].params.flat, models[1].params.flat)


# ---------------------------------------------------------------- learning rates


@pytest.mark.parametrize(
    ("iteration", "share"),
    [(0, 1 / 11), (9, 10 / 11), (10, 1), (35, 0.775), (60, 0.55), (110, 0.1), (999, 0.1)],
)
def test_a_linear_schedule_and_muons_follows_it(iteration, share):
    config = TrainConfig(
        learning_rate=1e-3, min_lr=1e-4, warmup_iters=10, lr_decay_iters=110,
        lr_schedule="linear", optimizer="muon", muon_learning_rate=0.05,
    )  # fmt: skip
    assert learning_rate_at(iteration, config) == pytest.approx(1e-3 * share, rel=1e-12)
    assert muon_learning_rate_at(iteration, config) == pytest.approx(0.05 * share, rel=1e-12)
    optimizer = gn.Muon(build())
    set_learning_rates(optimizer, iteration, config)
    assert optimizer.learning_rate == learning_rate_at(iteration, config)
    assert optimizer.muon_learning_rate == muon_learning_rate_at(iteration, config)


def test_muon_alone_may_learn_and_neither_need_decay():
    config = TrainConfig(learning_rate=0.0, min_lr=0.0, decay_lr=False, muon_learning_rate=0.05)
    assert muon_learning_rate_at(3, config) == 0.05
    decaying = dataclasses.replace(config, decay_lr=True, warmup_iters=0, lr_decay_iters=10)
    assert muon_learning_rate_at(5, decaying) == 0.05  # there is no share to follow
    to_0 = TrainConfig(min_lr=0.0, warmup_iters=0, lr_decay_iters=10, lr_schedule="linear")
    assert (learning_rate_at(10, to_0), muon_learning_rate_at(10, to_0)) == (0.0, 0.0)


# ---------------------------------------------------------------- runs and files


@pytest.mark.parametrize("forwards", [4, 15, 24])
def test_an_interrupted_run_goes_on_to_the_bit(config, dataset, monkeypatch, forwards):
    whole, log = start(config, dataset)
    go(whole, log)
    expected = losses(config)
    stopped, log = start(config, dataset)
    with monkeypatch.context() as patch:
        interrupt_after(patch, forwards)
        assert go(stopped, log) == "interrupted"
    run, settings = runs.resume(config.out_dir, {})
    resumed = Training(run, settings, dataset)
    assert go(resumed, Log(runs.Path(config.out_dir), run.progress)) == "finished"
    assert losses(config) == expected
    assert np.array_equal(whole.model.params.flat, resumed.model.params.flat)
    for kind, arrays in whole.optimizer.state().items():
        assert np.array_equal(arrays.flat, resumed.optimizer.state()[kind].flat), kind
        assert arrays.flat.any()


def test_a_run_takes_its_settings_and_resuming_new_ones(config, dataset):
    trained, log = start(dataclasses.replace(config, muon_momentum=0.8, grad_clip=0.3), dataset)
    assert isinstance(trained.optimizer, gn.Muon)
    assert (trained.optimizer.muon_momentum, trained.optimizer.grad_clip) == (0.8, 0.3)
    go(trained, log)
    run, settings = runs.resume(config.out_dir, {})
    assert (run.optimizer.muon_momentum, settings.optimizer) == (0.8, "muon")
    run, _ = runs.resume(config.out_dir, {"muon_momentum": 0.6, "beta1": 0.5, "optimizer": "muon"})
    assert (run.optimizer.muon_momentum, run.optimizer.betas[0]) == (0.6, 0.5)


def test_a_run_keeps_its_optimizer(config, dataset):
    trained, log = start(config, dataset)
    go(trained, log)
    with pytest.raises(gn.InputError, match=r"optimizer=adamw, but the run in .* optimizer=muon"):
        runs.resume(config.out_dir, {"optimizer": "adamw"})


def test_a_checkpoint_holds_momentum_and_moments_each_of_its_own(tmp_path):
    model = build()
    optimizer, _ = step_of(model, muon_momentum=0.5, muon_learning_rate=0.25)
    checkpoint.save(tmp_path / "c.npz", model, optimizer=optimizer)
    run = checkpoint.load(tmp_path / "c.npz")
    assert type(run.optimizer) is gn.Muon and run.optimizer.steps == 1
    assert (run.optimizer.muon_momentum, run.optimizer.muon_learning_rate) == (0.5, 0.25)
    with np.load(tmp_path / "c.npz") as file:
        names = {name for name in file.files if name.startswith(("adamw.", "muon."))}
    expected = {f"muon.momentum.{name}" for name in optimizer.momentum}
    assert names == expected | {f"adamw.{kind}.{name}" for name in optimizer.m for kind in "mv"}
    assert np.array_equal(run.optimizer.momentum.flat, optimizer.momentum.flat)
    assert np.array_equal(run.optimizer.v.flat, optimizer.v.flat)


def test_nanogpts_file_has_the_model_without_moments(config, dataset):
    from gpt_numpy.interop.nanogpt_training import optimizer_state

    run = new_run(gn.GPTConfig(**SHAPE), config)
    run.optimizer.steps = 4
    assert optimizer_state(run.config, config, run.optimizer)["state"] == {}


def test_the_default_is_adamw():
    assert type(optimizer_for(build(), TrainConfig())) is gn.AdamW
    with pytest.raises(gn.InputError, match="optimizer='sgd': must be one of adamw, muon"):
        TrainConfig(optimizer="sgd")
    with pytest.raises(gn.InputError, match="lr_schedule='step': must be one of cosine, linear"):
        TrainConfig(lr_schedule="step")
