"""What a run notes of itself: the numbers are those of the update, and training does not notice."""

import json

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.cli import main as cli
from gpt_numpy.training.loop import Interrupted
from gpt_numpy.training.monitor import layer_of, layers, sample, sample_due

CONFIG = gn.GPTConfig(vocab_size=9, block_size=6, n_layer=2, n_head=2, n_embd=8)


def build():
    return gn.GPT(CONFIG, seed=1, dtype="float64", ops="reference")


@pytest.mark.parametrize("kind", ["AdamW", "Muon"])
@pytest.mark.parametrize("steps", [1, 4])
def test_norms_of_gradients_and_updates_are_those_of_the_step(steps, kind):
    model = build()
    optimizer = getattr(gn, kind)(model, learning_rate=0.01, weight_decay=0.3, grad_clip=0.05)
    for k in range(steps):
        x, y = np.random.default_rng(k).integers(0, 9, (2, 2, 6))
        before = {name: param.copy() for name, param in model.params.items()}
        model.forward(x, y)
        model.backward()
        optimizer.step()
    found = layers(optimizer)
    names = {layer: [n for n in model.params if layer_of(n) == layer] for layer in found}
    assert sorted(sum(names.values(), [])) == sorted(model.params)

    def norm(of, layer):
        return np.sqrt(sum(np.square(of(name)).sum() for name in names[layer]))

    for layer, (grad, update) in found.items():
        assert grad == pytest.approx(norm(model.grads.__getitem__, layer), rel=1e-3)
        moved = norm(lambda name: model.params[name] - before[name], layer)
        assert update == pytest.approx(moved / norm(before.__getitem__, layer), rel=1e-3)


def test_a_layer_is_what_reads_and_writes_the_residual_stream():
    model = build()
    layers_of_model = ["embedding", "h.0.attn", "h.0.mlp", "h.1.attn", "h.1.mlp", "head"]
    assert list(dict.fromkeys(map(layer_of, model.params))) == layers_of_model


def test_texts_are_rare_where_evaluations_are_frequent():
    due = [i for i in range(0, 2001, 250) if sample_due(i, 250, 2000, 768)]
    assert due == [0, 500, 1000, 1500, 2000]
    due = [i for i in range(1001) if sample_due(i, 1, 1000, 6)]
    assert due == [0, 1000]


def test_a_text_goes_on_from_its_start_and_can_be_interrupted():
    start = np.array([3])
    text = sample(build(), start, seed=5)
    assert text[0] == 3 and len(set(text.tolist())) > 1
    assert np.array_equal(text, sample(build(), start, seed=5))

    def stop():
        raise Interrupted

    with pytest.raises(Interrupted):
        sample(build(), start, seed=5, poll=stop)


def test_a_run_notes_them_and_resuming_notes_each_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("the quick brown fox " * 50, encoding="utf-8")
    shape = ["--n_layer=1", "--n_head=1", "--n_embd=4", "--block_size=8", "--ops=reference"]
    times = ["--eval_interval=10", "--eval_iters=1", "--log_interval=5", "--data=text.txt"]
    assert cli.main(["train", *shape, *times, "--out_dir=r", "--max_iters=20"]) == 0
    words = ["train", "--init_from=resume", "--out_dir=r", "--max_iters=30"]
    assert cli.main(words) == 0
    log = (tmp_path / "r" / "log.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in log.splitlines()]
    noted = [line["iter"] for line in lines if "layers" in line]
    assert noted == [0, 10, 20, 30]
    texts = {line["iter"]: line["sample"] for line in lines if "sample" in line}
    assert sorted(texts) == [0, 20, 30] and len(texts) == sum("sample" in line for line in lines)
    assert all(set(text) <= set("the quick brown fox ") for text in texts.values())
