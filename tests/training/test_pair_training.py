"""Training of an encoder-decoder: what an update and an evaluation are, stopping and resuming."""

import dataclasses
import json
import math
import os
import signal
from pathlib import Path

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.base.progress import Progress
from gpt_numpy.config.decoding import Decoding
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.config.transformer import PAD
from gpt_numpy.config.translation import TranslationConfig
from gpt_numpy.data.batches import DROPOUT, EVALUATE_TRAIN, EVALUATE_VAL, TRAIN, random_key
from gpt_numpy.data.pair_dataset import open_pairs
from gpt_numpy.generation.translating import translate
from gpt_numpy.parallel.world import World
from gpt_numpy.training import bleu
from gpt_numpy.training import run_folder as runs
from gpt_numpy.training.log import LOG, Log
from gpt_numpy.training.loop import evaluation_line, new_run
from gpt_numpy.training.monitor import layer_of
from gpt_numpy.training.pair_training import TranslationTraining, mean_loss, translated
from gpt_numpy.training.schedule import learning_rate_at, muon_learning_rate_at, noam_rate
from tests.support.sword_modules import pretend_verses

SHAPE = {
    "source_size": 8, "target_size": 8, "n_layer": 1, "n_head": 2, "n_embd": 8,
    "dropout": 0.2, "label_smoothing": 0.1,
}  # fmt: skip


@pytest.fixture
def config(tmp_path):
    return TranslationConfig(
        out_dir=str(tmp_path / "run"), dataset="copy", task_size=5, batch_tokens=30,
        gradient_accumulation_steps=2, max_iters=6, eval_interval=3, eval_iters=2, eval_pairs=4,
        lr_schedule="noam", warmup_iters=3, ops="reference", weight_decay=0.0,
    )  # fmt: skip


def start(config, dataset=None):
    dataset = dataset or open_pairs(config, (8, 8))
    folder = runs.begin(config.out_dir, lambda text: None)
    run = new_run(gn.TransformerConfig(vocab_size=dataset.vocab_size, **SHAPE), config)
    return TranslationTraining(run, config, dataset), Log(folder)


def go(trained, log):
    return trained.run(log, Progress(trained.config.max_iters + 1))


def logged(config):
    lines = (Path(config.out_dir) / LOG).read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "ms"} for line in lines]


def test_the_papers_schedule():
    # Equation 3, with the step counted from 1.
    for step, rate in ((1, 512**-0.5 * 4000**-1.5), (4000, 512**-0.5 * 4000**-0.5)):
        assert noam_rate(step, 512, 4000) == pytest.approx(rate, rel=1e-15)
    config = TrainConfig(lr_schedule="noam", warmup_iters=4, noam_factor=2.0)
    rates = [learning_rate_at(iteration, config, 16) for iteration in range(16)]
    expected = [2 / 4 * min((k + 1) ** -0.5, (k + 1) * 4**-1.5) for k in range(16)]
    assert rates == pytest.approx(expected, rel=1e-15)
    assert max(rates) == rates[3] and rates[15] == pytest.approx(rates[3] / 2)
    assert learning_rate_at(0, dataclasses.replace(config, warmup_iters=0), 16) == 0.5
    constant = dataclasses.replace(config, decay_lr=False, learning_rate=0.25)
    assert learning_rate_at(7, constant, 16) == 0.25
    # Muon's rate has its own peak.
    assert muon_learning_rate_at(3, config) == config.muon_learning_rate
    assert muon_learning_rate_at(15, config) == pytest.approx(config.muon_learning_rate / 2)


def test_a_run_is_these_calls(config):
    trained, log = start(config)
    assert go(trained, log) == "finished"
    dataset = open_pairs(config, (8, 8))
    model = gn.Transformer(
        gn.TransformerConfig(vocab_size=dataset.vocab_size, **SHAPE), seed=1337, ops="reference"
    )
    optimizer = gn.AdamW(model, betas=(0.9, 0.95), weight_decay=0.0)
    for i in range(7):
        optimizer.learning_rate = 8**-0.5 * min((i + 1) ** -0.5, (i + 1) * 3**-1.5)
        batches = [
            dataset.train.batch(30, seed=1337, stream=TRAIN, index=2 * i + k) for k in (0, 1)
        ]
        divisor = sum(int((target[:, 1:] != PAD).sum()) for _, target in batches)
        for k, (source, target) in enumerate(batches):
            key = random_key(1337, DROPOUT, i, k)
            model.forward(source, target, dropout_key=key, divisor=divisor)
            model.backward(accumulate=k > 0)
        optimizer.step()
    assert np.array_equal(model.params.flat, trained.model.params.flat)


@pytest.mark.parametrize(
    ("forwards", "settings"), [(2, {}), (9, {}), (18, {}), (11, {"optimizer": "muon"})]
)
def test_an_interrupted_run_goes_on_to_the_bit(config, monkeypatch, forwards, settings):
    config = dataclasses.replace(config, **settings)
    whole, log = start(config)
    go(whole, log)
    expected = logged(config)
    seen, forward = 0, gn.Transformer.forward

    def interrupted(self, *args, **kwargs):
        nonlocal seen
        seen += 1
        if seen == forwards:
            os.kill(os.getpid(), signal.SIGINT)
        return forward(self, *args, **kwargs)

    stopped, log = start(config)
    with monkeypatch.context() as patch:
        patch.setattr(gn.Transformer, "forward", interrupted)
        assert go(stopped, log) == "interrupted"
    run, settings = runs.resume(config.out_dir, {})
    assert type(run.optimizer) is type(whole.optimizer) and settings == dataclasses.replace(
        config, init_from="resume"
    )
    assert run.tokenizer.to_json() == whole.dataset.tokenizer.to_json()
    dataset = open_pairs(settings, (8, 8), tokenizer=run.tokenizer)
    assert dataset.fingerprint == run.dataset
    resumed = TranslationTraining(run, settings, dataset)
    assert go(resumed, Log(Path(config.out_dir), run.progress)) == "finished"
    assert logged(config) == expected
    assert np.array_equal(whole.model.params.flat, resumed.model.params.flat)
    assert np.array_equal(whole.optimizer.v.flat, resumed.optimizer.v.flat)
    if config.optimizer == "muon":
        assert np.array_equal(whole.optimizer.momentum.flat, resumed.optimizer.momentum.flat)


def test_an_evaluation_by_hand(config):
    config = dataclasses.replace(config, eval_pairs=6, eval_iters=3)
    trained, _ = start(config)
    model, dataset = trained.model, trained.dataset
    measured = trained.measure()

    def loss(split, stream):
        batches = [split.batch(30, seed=1337, stream=stream, index=k) for k in range(3)]
        counts = [int((target[:, 1:] != PAD).sum()) for _, target in batches]
        losses = [model.forward(*batch, smoothing=False) for batch in batches]
        return np.dot(losses, counts) / sum(counts)

    assert measured["train"] == pytest.approx(loss(dataset.train, EVALUATE_TRAIN), rel=1e-12)
    assert measured["val"] == pytest.approx(loss(dataset.val, EVALUATE_VAL), rel=1e-12)
    assert measured["perplexity"] == pytest.approx(math.exp(measured["val"]), rel=1e-12)
    assert measured["exact"] == 0
    # Other batches of training at another iteration, the same ones of the test.
    later = [mean_loss(model, split, config, k) for split, k in ((dataset.train, 1),)]
    assert later[0] != measured["train"]
    line = evaluation_line({"train": 1.0, "val": 0.5, "perplexity": 1.6, "exact": 0.25, "bleu": 9})
    assert line == "train loss 1.0000, val loss 0.5000, perplexity 1.6, exact 25.00%, BLEU 9.0"


def test_the_test_of_verses_is_evaluated_alone(config, monkeypatch, tmp_path):
    monkeypatch.setenv("GPT_NUMPY_CACHE", str(tmp_path / "cache"))
    pretend_verses(monkeypatch, [(f"{k:05b}", f"{k:b}") for k in range(32)] * 2)
    config = dataclasses.replace(
        config, dataset="verses", task_size=0, eval_only=True, eval_test=True, eval_full=True
    )
    trained, _ = start(config)
    data = trained.dataset
    measured = trained.measure()
    losses = [mean_loss(trained.model, split, config, None) for split in (data.val, data.test)]
    assert list(measured) == ["train", "test", "perplexity", "exact"]
    assert measured["test"] == losses[1] != losses[0]
    seen = []
    module = "gpt_numpy.training.pair_training.translated"
    monkeypatch.setattr(module, lambda model, dataset, texts, *_, **__: seen.extend(texts) or texts)
    trained.measure()
    assert set(seen) <= {source for source, _ in data.test.texts(99, seed=0, stream=0)}


def test_exact_matches_are_counted(config, monkeypatch):
    trained, _ = start(config)
    pairs = trained.dataset.val.texts(4, seed=1337, stream=EVALUATE_VAL)
    answers = [pairs[0][1], pairs[1][1] + "0", "", pairs[3][1]]
    module = "gpt_numpy.training.pair_training.translated"
    monkeypatch.setattr(module, lambda model, dataset, sources, how, **_: answers)
    assert trained.measure()["exact"] == 0.5
    monkeypatch.setattr(bleu, "bleu_score", lambda *texts: 12.5)
    monkeypatch.setattr("gpt_numpy.training.pair_training.bleu_score", lambda *texts: 12.5)
    trained.config = dataclasses.replace(config, bleu=True)
    assert trained.measure()["bleu"] == 12.5


def test_bleu_is_sacrebleus_or_says_what_to_install(monkeypatch):
    sacrebleu = pytest.importorskip("sacrebleu")
    texts = ["the cat sat on the mat today", "a dog"], ["the cat sat on the mat", "a dog"]
    score = bleu.bleu_score(*texts)
    assert score == sacrebleu.corpus_bleu(texts[0], [texts[1]]).score and 50 < score < 100
    monkeypatch.setitem(__import__("sys").modules, "sacrebleu", None)
    with pytest.raises(gn.InputError, match=r"pip install 'gpt_numpy\[translate\]'"):
        bleu.bleu_score(*texts)


def test_the_whole_test_is_evaluated_where_it_is_stored(config, tmp_path):
    pairs = [(f"{k:04b}", f"{k:b}") for k in range(16)] + [("1" * 7, "0" * 6)]
    for name, column in (("a", 0), ("b", 1)):
        (tmp_path / name).write_text("\n".join(pair[column] for pair in pairs))
    config = dataclasses.replace(
        config, dataset="pairs", task_size=0, source=str(tmp_path / "a"), target=str(tmp_path / "b")
    )
    trained, _ = start(config)
    model, val = trained.model, trained.dataset.train  # of stored pairs, all of either split
    total = count = 0
    for source, target in val.all_batches(1):
        n = int((target[:, 1:] != PAD).sum())
        total, count = total + n * model.forward(source, target, smoothing=False), count + n
    full = dataclasses.replace(config, batch_tokens=1, eval_iters=1, eval_full=True)
    assert mean_loss(model, val, full, None) == pytest.approx(total / count, rel=1e-6)
    # In fewer batches, with padding: the same mean.
    fewer = dataclasses.replace(full, batch_tokens=35)
    assert any((target == PAD).any() for _, target in val.all_batches(35))
    assert mean_loss(model, val, fewer, None) == pytest.approx(total / count, rel=1e-6)


def test_translations_are_texts_in_their_order(config):
    trained, _ = start(config)
    sources, how = ["12345", "1", "90"], Decoding(beam=2)
    written = translated(trained.model, trained.dataset, sources, how)
    assert written == [translated(trained.model, trained.dataset, [s], how)[0] for s in sources]
    with pytest.raises(gn.InputError, match="reads at most source_size=8"):
        translate(trained.model, [[3] * 9])


class HandedInError(Exception):
    """What one of several processes hands in."""


class Part(World):
    """One of several processes; it ends where it would exchange what it has computed."""

    def __init__(self, rank, size, everyone=None):
        super().__init__()
        self.rank, self.size, self.everyone = rank, size, everyone

    def numbers(self, values):
        return np.concatenate(self._exchanged(values))

    def texts(self, text):
        return self._exchanged(text)

    def _exchanged(self, mine):
        if self.everyone is None:
            raise HandedInError(mine)
        return self.everyone


def divided(function, size):
    """What the processes hand in, and the result of all of them."""
    handed_in = []
    for rank in range(size):
        with pytest.raises(HandedInError) as caught:
            function(Part(rank, size))
        handed_in.append(caught.value.args[0])
    return handed_in, function(Part(0, size, handed_in))


def test_an_evaluation_is_divided_among_processes(config):
    config = dataclasses.replace(config, eval_iters=5)
    trained, _ = start(config)
    model, dataset = trained.model, trained.dataset

    def loss(world):
        return mean_loss(model, dataset.val, config, None, world=world)

    parts, whole = divided(loss, 3)
    assert [len(part) for part in parts] == [2, 2, 1] and whole == loss(World())
    sources = [source for source, _ in dataset.val.texts(5, seed=1, stream=EVALUATE_VAL)]

    def write(world):
        return translated(model, dataset, sources, Decoding(beam=2), world=world)

    parts, written = divided(write, 3)
    assert [len(json.loads(part)) for part in parts] == [2, 2, 1]
    assert written == write(World())


def test_layers_of_the_log():
    names = {
        "wte.weight": "embedding",
        "encoder.h.3.ln_1.weight": "encoder.h.3.attn",
        "encoder.h.0.attn.c_attn.bias": "encoder.h.0.attn",
        "encoder.h.0.ln_2.weight": "encoder.h.0.mlp",
        "encoder.ln_f.weight": "encoder.ln_f",
        "decoder.h.1.ln_2.bias": "decoder.h.1.cross",
        "decoder.h.1.cross.c_kv.weight": "decoder.h.1.cross",
        "decoder.h.1.ln_3.bias": "decoder.h.1.mlp",
        "decoder.ln_f.weight": "head",
    }
    assert {name: layer_of(name) for name in names} == names


MUON = {"optimizer": "muon", "muon_learning_rate": 0.1, "lr_schedule": "linear"}


def test_a_run_with_muon_is_these_calls(config):
    config = dataclasses.replace(config, **MUON, gradient_accumulation_steps=1)
    trained, log = start(config)
    assert go(trained, log) == "finished"
    model = gn.Transformer(trained.model.config, seed=1337, ops="reference")
    optimizer = gn.Muon(model, betas=(0.9, 0.95), weight_decay=0.0)
    for i in range(7):
        optimizer.learning_rate = learning_rate_at(i, config)
        optimizer.muon_learning_rate = muon_learning_rate_at(i, config)
        source, target = trained.dataset.train.batch(30, seed=1337, stream=TRAIN, index=i)
        model.forward(source, target, dropout_key=random_key(1337, DROPOUT, i, 0))
        model.backward()
        optimizer.step()
    assert np.array_equal(model.params.flat, trained.model.params.flat)


def test_a_checkpoint_holds_an_encoder_decoder(tmp_path):
    shape = gn.TransformerConfig(vocab_size=7, **SHAPE)
    model = gn.Transformer(shape, ops="reference")
    gn.save(tmp_path / "a.npz", model)
    found = gn.load(tmp_path / "a.npz", ops="reference")
    assert type(found.model) is gn.Transformer and found.config == shape
    assert np.array_equal(found.model.params.flat, model.params.flat)
    with pytest.raises(gn.InputError, match="is an encoder-decoder, and a GPT is needed"):
        gn.from_pretrained(tmp_path / "a.npz", ops="reference")
