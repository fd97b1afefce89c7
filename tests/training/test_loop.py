"""The training loop: what it promises about stopping, resuming, evaluating and failing."""

import dataclasses
import json
import os
import re
import signal

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.base.errors import NotFiniteError
from gpt_numpy.base.progress import Progress
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.data.dataset import open_dataset
from gpt_numpy.training import loop as training
from gpt_numpy.training import run_folder as runs
from gpt_numpy.training.evaluation import evaluate, full_loss
from gpt_numpy.training.log import Log
from gpt_numpy.training.loop import Training, new_run
from gpt_numpy.training.optimizer import AdamW
from gpt_numpy.training.schedule import learning_rate_at

SHAPE = {"block_size": 8, "n_layer": 1, "n_head": 2, "n_embd": 8, "dropout": 0.2, "bias": False}


@pytest.fixture
def dataset(tmp_path):
    path = tmp_path / "text.txt"
    rng = np.random.default_rng(0)
    path.write_text("".join(rng.choice(list("abcd \n"), 3000)), encoding="utf-8")
    return open_dataset("", str(path), say=lambda text: None)


@pytest.fixture
def config(tmp_path):
    return TrainConfig(
        out_dir=str(tmp_path / "run"),
        batch_size=3,
        gradient_accumulation_steps=2,
        max_iters=12,
        eval_interval=4,
        eval_iters=2,
        warmup_iters=2,
        lr_decay_iters=12,
        learning_rate=1e-2,
        ops="reference",
    )


def start(config, dataset):
    """A new run and its log."""
    folder = runs.begin(config.out_dir, lambda text: None)
    run = new_run(GPTConfig(dataset.vocab_size, **SHAPE), config)
    return Training(run, config, dataset), Log(folder)


def go(trained, log):
    return trained.run(log, Progress(trained.config.max_iters + 1))


def losses(config):
    """What the log says, without what depends on the clock."""
    lines = (runs.Path(config.out_dir) / runs.LOG).read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "ms"} for line in lines]


def interrupt_after(monkeypatch, count):
    """Ctrl-C while micro-batch number `count` is being computed."""
    seen = 0
    forward = gn.GPT.forward

    def counted(self, *args, **kwargs):
        nonlocal seen
        seen += 1
        if seen == count:
            os.kill(os.getpid(), signal.SIGINT)
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(gn.GPT, "forward", counted)


def test_max_iters_plus_one_updates_as_in_nanogpt(config, dataset):
    trained, log = start(config, dataset)
    assert go(trained, log) == "finished"
    assert trained.optimizer.steps == config.max_iters + 1
    evaluated = [line["iter"] for line in losses(config) if "val_loss" in line]
    assert evaluated == [0, 4, 8, 12]


@pytest.mark.parametrize("forwards", [1, 4, 9, 15, 16, 24, 37])
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
    assert np.array_equal(whole.optimizer.v.flat, resumed.optimizer.v.flat)
    assert resumed.state == whole.state


def test_evaluation_does_not_change_what_is_trained_on(config, dataset):
    weights = []
    for eval_interval in (4, 1000):
        changed = dataclasses.replace(config, eval_interval=eval_interval)
        trained, log = start(changed, dataset)
        go(trained, log)
        weights.append(trained.model.params.flat.copy())
    assert np.array_equal(*weights)


def test_accumulated_micro_batches_equal_one_large_batch(config, dataset):
    model = gn.GPT(
        GPTConfig(dataset.vocab_size, **SHAPE | {"dropout": 0.0}), dtype="float64", ops="reference"
    )
    rng = np.random.default_rng(0)
    tokens, targets = rng.integers(0, 5, (6, 8)), rng.integers(0, 5, (6, 8))
    targets[:2, 3:] = -1
    large_loss = model.forward(tokens, targets)
    model.backward()
    large = model.grads.flat.copy()
    divisor = int((targets >= 0).sum())
    loss = 0.0
    for k in range(3):
        part = slice(2 * k, 2 * k + 2)
        loss += model.forward(tokens[part], targets[part], divisor=divisor)
        model.backward(accumulate=k > 0)
    assert loss == pytest.approx(large_loss, rel=1e-14)
    assert np.abs(model.grads.flat - large).max() <= 1e-14 * np.abs(large).max()


def test_best_and_last_checkpoint_are_kept_apart(config, dataset, monkeypatch):
    values = iter([3.0, 2.0, 1.0, 2.5])
    monkeypatch.setattr(training, "evaluate", lambda *a: {"train": 1.0, "val": next(values)})
    trained, log = start(config, dataset)
    go(trained, log)
    best = gn.load(runs.find_checkpoint(config.out_dir, "best"))
    last = gn.load(runs.find_checkpoint(config.out_dir, "last"))
    assert best.progress["iteration"] == 8
    assert last.progress["iteration"] == 13
    assert last.progress["best_val_loss"] == 1.0
    assert last.tokenizer.decode(last.tokenizer.encode("abcd")) == "abcd"


def test_patience_ends_a_run_that_does_not_get_better(config, dataset, monkeypatch):
    values = iter([1.0, 2.0, 3.0, 4.0])
    monkeypatch.setattr(training, "evaluate", lambda *a: {"train": 1.0, "val": next(values)})
    trained, log = start(dataclasses.replace(config, patience=2), dataset)
    assert go(trained, log) == "out of patience"
    assert trained.state.iteration == 8


def test_a_loss_that_is_not_finite_says_where_it_went_wrong(config, dataset):
    trained, log = start(config, dataset)
    trained.model.params["h.0.mlp.c_fc.weight"][0, 0] = np.nan
    with pytest.raises(NotFiniteError, match=r"parameter h\.0\.mlp\.c_fc\.weight is not finite"):
        go(trained, log)
    trained, log = start(config, dataset)
    trained.model.params["h.0.attn.c_proj.weight"][...] = 3e38
    with (
        np.errstate(all="ignore"),
        pytest.raises(NotFiniteError, match=r"iteration \d+: .* not finite"),
    ):
        go(trained, log)


def test_a_gradient_that_is_not_finite_changes_nothing(dataset):
    model = gn.GPT(GPTConfig(dataset.vocab_size, **SHAPE))
    optimizer = AdamW(model)
    before = model.params.flat.copy()
    model.grads["wpe.weight"][1, 1] = np.inf
    with pytest.raises(NotFiniteError, match=r"wpe\.weight"):
        optimizer.step()
    assert np.array_equal(before, model.params.flat)
    assert optimizer.steps == 0


def test_the_full_evaluation_is_the_mean_over_every_target(dataset):
    model = gn.GPT(GPTConfig(dataset.vocab_size, **SHAPE), dtype="float64", ops="reference")
    tokens = dataset.val[:50].astype(np.int64)
    total = 0.0
    for start_at in range(0, 49, 8):
        piece = tokens[start_at : min(start_at + 9, 50)]
        total += model.forward(piece[None, :-1], piece[None, 1:]) * (len(piece) - 1)
    assert full_loss(model, tokens, batch_size=3) == pytest.approx(total / 49, rel=1e-12)


def test_evaluation_is_without_dropout_and_the_same_each_time(config, dataset):
    model = gn.GPT(GPTConfig(dataset.vocab_size, **SHAPE), ops="reference")
    first = evaluate(model, dataset, config, 4)
    assert first == evaluate(model, dataset, config, 4)
    assert first != evaluate(model, dataset, config, 8)


def test_resuming_with_another_shape_names_both_values(config, dataset):
    trained, log = start(config, dataset)
    go(trained, log)
    with pytest.raises(gn.InputError, match=r"n_embd=16, but the run .* has n_embd=8"):
        runs.resume(config.out_dir, {"n_embd": 16})


def test_resuming_takes_new_settings_over_the_old(config, dataset):
    trained, log = start(config, dataset)
    go(trained, log)
    run, settings = runs.resume(config.out_dir, {"max_iters": 20, "weight_decay": 0.0})
    assert (settings.max_iters, settings.batch_size) == (20, config.batch_size)
    assert run.optimizer.weight_decay == 0.0
    assert run.optimizer.steps == 13


def test_a_new_run_keeps_the_files_of_the_one_before(config, dataset):
    for _ in range(2):
        trained, log = start(config, dataset)
        go(trained, log)
    previous = runs.Path(config.out_dir) / runs.PREVIOUS
    assert {path.name for path in previous.iterdir()} == {runs.LAST, runs.BEST, runs.LOG}


@pytest.mark.parametrize(
    ("iteration", "expected"),
    [(0, 1e-3 / 11), (9, 1e-3 * 10 / 11), (10, 1e-3), (60, 0.55e-3), (110, 1e-4), (500, 1e-4)],
)
def test_the_learning_rate_follows_nanogpts_schedule(iteration, expected):
    config = TrainConfig(learning_rate=1e-3, min_lr=1e-4, warmup_iters=10, lr_decay_iters=110)
    assert learning_rate_at(iteration, config) == pytest.approx(expected, rel=1e-12)


def test_the_schedule_has_no_division_by_zero():
    config = TrainConfig(warmup_iters=5, lr_decay_iters=5)
    assert [learning_rate_at(i, config) for i in (4, 5, 6)] == [
        pytest.approx(6e-4 * 5 / 6),
        6e-5,
        6e-5,
    ]


def test_adamw_equals_the_algorithm_in_plain_python():
    config = GPTConfig(vocab_size=3, block_size=2, n_layer=1, n_head=1, n_embd=2)
    model = gn.GPT(config, dtype="float64", ops="reference")
    optimizer = AdamW(model, learning_rate=0.1, betas=(0.8, 0.9), weight_decay=0.5, grad_clip=0.3)
    rng = np.random.default_rng(0)
    expected = {name: param.ravel().tolist() for name, param in model.params.items()}
    m = {name: [0.0] * len(values) for name, values in expected.items()}
    v = {name: [0.0] * len(values) for name, values in expected.items()}
    for t in range(1, 51):
        model.grads.flat[...] = rng.standard_normal(model.n_params) * (0.01 if t % 2 else 1)
        norm = sum(float(g) ** 2 for g in model.grads.flat) ** 0.5
        scale = min(1.0, 0.3 / (norm + 1e-6))
        for name, values in expected.items():
            decay = 0.5 if model.params[name].ndim >= 2 else 0.0
            for j, raw in enumerate(model.grads[name].ravel().tolist()):
                g = raw * scale
                m[name][j] = 0.8 * m[name][j] + 0.2 * g
                v[name][j] = 0.9 * v[name][j] + 0.1 * g * g
                m_hat, v_hat = m[name][j] / (1 - 0.8**t), v[name][j] / (1 - 0.9**t)
                values[j] -= 0.1 * (decay * values[j] + m_hat / (v_hat**0.5 + 1e-8))
        assert optimizer.step() == pytest.approx(norm, rel=1e-14)
    for name, values in expected.items():
        got = model.params[name].ravel()
        assert np.abs(got - values).max() <= 1e-12 * max(np.abs(values).max(), 1)


def test_no_step_uses_more_than_the_machine_has(config, dataset, monkeypatch, capsys):
    monkeypatch.setattr(training, "machine_peak", lambda: 1.0)  # measured while others worked
    go(*start(dataclasses.replace(config, log_interval=1), dataset))
    shares = [float(share) for share in re.findall(r"mfu ([\d.]+)%", capsys.readouterr().out)]
    assert shares and max(shares) <= 100
