"""The training loop: what it promises about stopping, resuming, evaluating and failing."""

import dataclasses
import json
import math
import os
import signal

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.base.errors import NotFiniteError
from gpt_numpy.base.progress import Progress
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.data.batches import (
    DROPOUT,
    EVALUATE_TRAIN,
    EVALUATE_VAL,
    draw_batch,
    random_key,
    training_batch,
)
from gpt_numpy.training import loop as training
from gpt_numpy.training import run_folder as runs
from gpt_numpy.training.evaluation import evaluate, full_loss
from gpt_numpy.training.log import Log
from gpt_numpy.training.loop import State, Training, new_run
from gpt_numpy.training.optimizer import AdamW
from gpt_numpy.training.schedule import learning_rate_at

SHAPE = {"block_size": 8, "n_layer": 1, "n_head": 2, "n_embd": 8, "dropout": 0.2, "bias": False}


def start(config, dataset, **more):
    """A new run and its log."""
    folder = runs.begin(config.out_dir, lambda text: None)
    run = new_run(GPTConfig(dataset.vocab_size, **SHAPE), config)
    return Training(run, config, dataset, **more), Log(folder)


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


# ---------------------------------------------------------------- what an iteration is


def test_a_run_is_these_calls(config, dataset):
    """Batches in turn, a mask of dropout for each, one divisor, the rate of the schedule."""
    config = dataclasses.replace(config, gradient_accumulation_steps=3, grad_clip=0.5, beta1=0.8)
    trained, log = start(config, dataset)
    assert go(trained, log) == "finished"
    noted = [line for line in losses(config) if "loss" in line]

    model = gn.GPT(GPTConfig(dataset.vocab_size, **SHAPE), seed=config.seed, ops="reference")
    optimizer = AdamW(model, betas=(0.8, config.beta2), grad_clip=0.5)
    for i in range(config.max_iters + 1):
        optimizer.learning_rate = learning_rate_at(i, config)
        loss = 0.0
        for k in range(3):
            x, y = training_batch(dataset.train, 3, 8, seed=config.seed, index=3 * i + k)
            key = random_key(config.seed, DROPOUT, i, k)
            loss += model.forward(x, y, dropout_key=key, divisor=3 * 3 * 8)
            model.backward(accumulate=k > 0)
        norm = optimizer.step()
        assert noted[i]["iter"] == i and noted[i]["lr"] == optimizer.learning_rate
        assert (noted[i]["loss"], noted[i]["grad_norm"]) == (loss, norm)
    assert np.array_equal(trained.model.params.flat, model.params.flat)
    assert trained.tokens_per_iteration == 3 * 3 * 8


def test_evaluation_is_the_mean_over_these_batches(config, dataset):
    config = dataclasses.replace(config, eval_iters=5)
    model = gn.GPT(GPTConfig(dataset.vocab_size, **SHAPE), ops="reference")
    found = evaluate(model, dataset, config, 4)
    for name, tokens, stream in (
        ("train", dataset.train, EVALUATE_TRAIN),
        ("val", dataset.val, EVALUATE_VAL),
    ):
        where = {"seed": config.seed, "stream": stream, "step": 4}
        batches = [draw_batch(tokens, 3, 8, **where, micro_step=k) for k in range(5)]
        each = [model.forward(x, y) for x, y in batches]
        assert len(set(each)) == 5
        assert found[name] == sum(each) / 5


def test_the_full_evaluation_is_of_the_validation_split_alone(config, dataset):
    model = gn.GPT(GPTConfig(dataset.vocab_size, **SHAPE), ops="reference")
    drawn = evaluate(model, dataset, config, 4)
    found = evaluate(model, dataset, dataclasses.replace(config, eval_full=True), 4)
    assert found == {"train": drawn["train"], "val": full_loss(model, dataset.val, 3)}


def test_every_batch_of_an_evaluation_can_be_interrupted(config, dataset):
    model = gn.GPT(GPTConfig(dataset.vocab_size, **SHAPE), ops="reference")
    polls = []
    evaluate(model, dataset, config, 4, lambda: polls.append(1))
    assert len(polls) == 2 * config.eval_iters
    full_loss(model, dataset.val[:50], 3, lambda: polls.append(1))
    assert len(polls) == 2 * config.eval_iters + 3  # 49 targets, 24 in a batch


def test_an_iteration_without_targets_is_divided_by_one(config, dataset, monkeypatch):
    trained, log = start(dataclasses.replace(config, eval_interval=1, max_iters=0), dataset)
    empty = np.zeros((3, 8), np.int64), np.full((3, 8), -1)
    monkeypatch.setattr(training, "training_batch", lambda *a, **k: empty)
    assert go(trained, log) == "finished"
    assert losses(trained.config)[-1]["loss"] == 0


def test_a_constant_learning_rate_is_the_given_one(config):
    constant = dataclasses.replace(config, decay_lr=False, learning_rate=0.5, min_lr=0.1)
    assert {learning_rate_at(i, constant) for i in range(30)} == {0.5}


@pytest.mark.parametrize("min_lr", [1e-4, 0.5, 6e-5])
def test_the_learning_rate_never_rises_above_the_given_one(min_lr):
    config = TrainConfig(learning_rate=3e-5, min_lr=min_lr, warmup_iters=4, lr_decay_iters=20)
    rates = [learning_rate_at(i, config) for i in range(40)]
    assert rates[:4] == sorted(rates[:4]) and set(rates[4:]) == {3e-5}


@pytest.mark.parametrize("tied", [True, False])
def test_matrices_decay_and_vectors_do_not(tied):
    config = GPTConfig(vocab_size=5, block_size=4, n_layer=1, n_head=1, n_embd=4, tied=tied)
    model = gn.GPT(config, dtype="float64", ops="reference")
    optimizer = AdamW(model, learning_rate=0.1, weight_decay=0.5)
    model.params.flat[...] = 1.0
    model.grads.flat[...] = 0.0
    optimizer.step()
    for name, param in model.params.items():
        assert np.allclose(param, 0.95 if param.ndim == 2 else 1.0, rtol=1e-15), name
    assert ("lm_head.weight" in model.params) is not tied


@pytest.mark.parametrize(("clip", "length"), [(0.0, 5.0), (2.5, 2.5), (5.0, 5.0), (9.0, 5.0)])
def test_a_long_gradient_is_clipped_and_a_short_one_is_not(clip, length):
    config = GPTConfig(vocab_size=3, block_size=2, n_layer=1, n_head=1, n_embd=2)
    model = gn.GPT(config, dtype="float64", ops="reference")
    optimizer = AdamW(model, grad_clip=clip, betas=(0.0, 0.0))
    model.grads.flat[...] = 0.0
    model.grads["wte.weight"][0] = 3.0, 4.0
    assert optimizer.step() == optimizer.grad_norm() == 5.0
    assert np.linalg.norm(optimizer.m.flat) == pytest.approx(length, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, -1) for name in ("learning_rate", "weight_decay", "grad_clip", "eps")],
        *[("learning_rate", math.nan), ("grad_clip", math.inf), ("eps", 0), ("betas", (0.9, 1))],
        *[("betas", (-0.1, 0.9)), ("betas", (1.0, 0.9))],
    ],
)
def test_a_setting_of_the_optimizer_that_is_wrong_changes_nothing(name, value):
    is_refused(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("betas", 0.9), ("betas", (0.9,)), ("weight_decay", "0.1"), ("eps", None)],
)
def test_a_setting_of_the_optimizer_of_the_wrong_kind_changes_nothing(name, value):
    is_refused(name, value)


def is_refused(name, value):
    model = gn.GPT(GPTConfig(3, 2, n_layer=1, n_head=1, n_embd=2), ops="reference")
    optimizer = AdamW(model)
    before = model.params.flat.copy()
    model.grads.flat[...] = 1
    setattr(optimizer, name, value)
    with pytest.raises(gn.InputError, match=name):
        optimizer.step()
    assert np.array_equal(model.params.flat, before) and optimizer.steps == 0
    with pytest.raises(gn.InputError, match=name):
        AdamW(model, **{name: value})


# ---------------------------------------------------------------- what is best


def with_losses(monkeypatch, *values):
    left = iter(values)
    monkeypatch.setattr(training, "evaluate", lambda *a: {"train": 1.0, "val": next(left)})


@pytest.mark.parametrize("best", [0, 1, 2])
def test_the_best_is_the_first_of_the_least_losses_even_at_the_start(
    config, dataset, monkeypatch, best
):
    values = [3.0, 3.0, 3.0, 3.0, 3.0]
    values[best:] = [2.0] * (5 - best)
    with_losses(monkeypatch, *values)
    config = dataclasses.replace(config, eval_interval=1, max_iters=4, always_save_checkpoint=False)
    trained, log = start(config, dataset)
    go(trained, log)
    saved = gn.load(runs.find_checkpoint(config.out_dir, "best"))
    assert saved.progress["iteration"] == saved.progress["best_iteration"] == best
    assert saved.progress["best_val_loss"] == trained.state.best_val_loss == 2.0
    assert [line["best"] for line in losses(config) if "best" in line] == [
        i in (0, best) for i in range(5)
    ]
    assert trained.state.evaluations_without_gain == 4 - best
    run, settings = runs.resume(config.out_dir, {"max_iters": 5})
    assert Training(run, settings, dataset).state == trained.state


def test_an_evaluation_without_gain_is_saved_only_if_asked_for(config, dataset, monkeypatch):
    for always, expected in ((True, [0, 4, 8, 12, 13]), (False, [0, 13])):
        with_losses(monkeypatch, 1.0, 2.0, 3.0, 4.0)
        changed = dataclasses.replace(config, always_save_checkpoint=always)
        trained, log = start(changed, dataset)
        saved = iterations_saved(trained)
        go(trained, log)
        assert saved == expected


def test_the_state_goes_through_json():
    for state in (
        State(),
        State(best_val_loss=1.5, best_iteration=0),
        State(5, 1.5, 1, 4, 2),
    ):
        assert State.from_json(json.loads(json.dumps(state.to_json()))) == state
    assert State().to_json()["best_val_loss"] is None and State().best_val_loss == math.inf


# ---------------------------------------------------------------- saving by the clock


class Clock:
    """Seconds that pass only when somebody says so."""

    now = 1e6

    def __call__(self):
        return self.now

    def passing(self, training, name, minutes):
        """Each call of a method takes so long."""
        call = getattr(training, name)

        def slow(*arguments, **keywords):
            result = call(*arguments, **keywords)
            self.now += 60 * minutes
            return result

        vars(training)[name] = slow


def iterations_saved(training):
    """The iteration of every save of the last checkpoint, in turn."""
    saved, save = [], training._save

    def noting(name):
        if name == runs.LAST:
            saved.append(training.state.iteration)
        save(name)

    training._save = noting
    return saved


@pytest.mark.parametrize(
    ("minutes", "each", "expected"),
    [
        (10.0, 4.0, [0, 3, 6, 9, 12, 13]),
        (10.0, 10.0, [0, *range(1, 14)]),
        (10.0, 30.0, [0, *range(1, 14)]),
        (0.5, 0.2, [0, 3, 6, 9, 12, 13]),
        (10.0, 0.1, [0, 12, 13]),
        (0.0, 100.0, [0, 12, 13]),
    ],
)
def test_a_run_is_saved_as_often_as_the_clock_says(config, dataset, minutes, each, expected):
    clock = Clock()
    config = dataclasses.replace(config, eval_interval=100, save_minutes=minutes)
    trained, log = start(config, dataset, clock=clock)
    clock.now += 9999  # what passes before it begins does not count
    clock.passing(trained, "_iterate", each)
    saved = iterations_saved(trained)
    go(trained, log)
    assert [n for n, before in zip(saved, [None, *saved], strict=False) if n != before] == expected


def test_by_default_every_ten_minutes():
    assert TrainConfig().save_minutes == 10


def test_a_save_at_an_evaluation_starts_the_clock_anew(config, dataset):
    clock = Clock()
    trained, log = start(dataclasses.replace(config, eval_interval=2), dataset, clock=clock)
    clock.passing(trained, "_iterate", 4)
    saved = iterations_saved(trained)
    go(trained, log)
    assert saved == [0, 2, 4, 6, 8, 10, 12, 13]


def test_a_long_evaluation_and_a_long_update_do_not_keep_a_run_from_being_saved(
    config, dataset, monkeypatch
):
    clock = Clock()
    trained, log = start(dataclasses.replace(config, eval_interval=5), dataset, clock=clock)
    states, save = [], trained._save
    trained._save = lambda name: (states.append((name, trained.state.to_json())), save(name))
    forward = gn.GPT.forward

    def slow(self, *arguments, **keywords):
        in_evaluation = keywords.get("dropout_key") is None
        if trained.state.iteration == (5 if in_evaluation else 7):
            clock.now += 601
        return forward(self, *arguments, **keywords)

    monkeypatch.setattr(gn.GPT, "forward", slow)
    go(trained, log)
    lasts = [s for name, s in states if name == runs.LAST]
    # In the evaluation before iteration 5, once; and between the micro-batches of iteration 7.
    assert [s["iteration"] for s in lasts] == [0, 5, 5, 7, 8, 10, 12, 13]
    assert [s["evaluated"] for s in lasts if s["iteration"] == 5] == [0, 5]


@pytest.mark.parametrize("each", [4.0, 11.0])
def test_a_run_killed_after_a_save_by_the_clock_goes_on_to_the_bit(config, dataset, each):
    config = dataclasses.replace(config, eval_interval=100)
    whole, log = start(config, dataset)
    go(whole, log)
    expected = losses(config)

    clock = Clock()
    killed, log = start(config, dataset, clock=clock)
    clock.passing(killed, "_iterate", each)
    iterate = killed._iterate

    def kill(progress):
        if killed.state.iteration == 8:
            raise MemoryError
        iterate(progress)

    killed._iterate = kill
    with pytest.raises(MemoryError):
        go(killed, log)
    run, settings = runs.resume(config.out_dir, {})
    assert run.progress["iteration"] == (6 if each == 4 else 8)
    resumed = Training(run, settings, dataset)
    assert go(resumed, Log(runs.Path(config.out_dir), run.progress)) == "finished"
    assert losses(config) == expected
    assert np.array_equal(whole.model.params.flat, resumed.model.params.flat)
    assert np.array_equal(whole.optimizer.m.flat, resumed.optimizer.m.flat)


def test_an_interrupt_right_after_a_resume_keeps_everything(config, dataset):
    trained, log = start(config, dataset)
    batch = trained._batch
    trained._batch = lambda k: (trained.state.iteration == 5 and trained._stop(), batch(k))[1]
    assert go(trained, log) == "interrupted"
    for _ in range(2):
        run, settings = runs.resume(config.out_dir, {})
        resumed = Training(run, settings, dataset)
        resumed._stop()
        log = Log(runs.Path(config.out_dir), run.progress)
        assert go(resumed, log) == "interrupted"
        assert gn.load(runs.Path(config.out_dir) / runs.LAST).progress == run.progress
    kept = gn.load(runs.Path(config.out_dir) / runs.LAST).model.params.flat
    assert np.array_equal(kept, trained.model.params.flat)


# ---------------------------------------------------------------- signals and readers


@pytest.mark.parametrize("kind", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_that_is_ignored_does_not_stop_a_run_and_the_others_do(config, dataset, kind):
    if not hasattr(signal, kind):
        pytest.skip("there is no such signal here")
    kind = getattr(signal, kind)
    for handler, outcome in ((signal.SIG_IGN, "finished"), (signal.SIG_DFL, "interrupted")):
        before = signal.signal(kind, handler)
        try:
            trained, log = start(config, dataset)
            batch = trained._batch
            trained._batch = lambda k, batch=batch: (signal.raise_signal(kind), batch(k))[1]
            assert go(trained, log) == outcome
            assert signal.getsignal(kind) == handler
        finally:
            signal.signal(kind, before)
        saved = gn.load(runs.Path(config.out_dir) / runs.LAST).progress["iteration"]
        assert saved == trained.state.iteration == (13 if outcome == "finished" else 0)


@pytest.mark.parametrize("words", ["step 4:", "iter 6:", "saving checkpoint", "left"])
def test_a_run_whose_reader_is_gone_is_saved_and_goes_on_to_the_bit(config, dataset, words):
    whole, log = start(config, dataset)
    go(whole, log)
    expected = losses(config)
    trained, log = start(config, dataset)
    progress = Progress(config.max_iters + 1)

    def say(line):
        if words in line and trained.state.iteration > 3:
            raise BrokenPipeError(32, "Broken pipe")

    progress.say, progress.terminal = say, False
    with pytest.raises(BrokenPipeError):
        trained.run(log, progress)
    run, settings = runs.resume(config.out_dir, {})
    assert run.progress["iteration"] == trained.state.iteration == (7 if "6" in words else 4)
    resumed = Training(run, settings, dataset)
    assert go(resumed, Log(runs.Path(config.out_dir), run.progress)) == "finished"
    assert losses(config) == expected
    assert np.array_equal(whole.model.params.flat, resumed.model.params.flat)


def test_no_step_uses_more_than_the_whole_machine(config, dataset, monkeypatch):
    ceilings = iter([1.0, 2.0, 1e30, 1e30])
    monkeypatch.setattr(training, "machine_peak", lambda: next(ceilings))
    trained, log = start(dataclasses.replace(config, max_iters=3), dataset)
    said, progress = [], Progress(4)
    progress.say = said.append
    trained.run(log, progress)
    shares = [float(line.split("mfu ")[1][:-1]) for line in said if "mfu" in line]
    assert len(shares) == 4 and all(0 <= share <= 100 for share in shares)
    assert trained._peak == 1e30 or shares[0] == 100
