"""The races of benchmarks/records run, their batches are what they say, their verdict is theirs."""

import numpy as np
import pytest

import gpt_numpy as gn
from benchmarks.records import names
from benchmarks.records.__main__ import main
from benchmarks.records.recipes import RECIPES

TEXT = "\n".join(["emma", "ava", "christopher", "bo", "li"] * 300)
SMALL = ["--n_layer=1", "--n_head=1", "--n_embd=8", "--max_iters=3", "--ops=reference"]


@pytest.mark.parametrize("record", ["tiny", "names"])
def test_a_race_trains_each_seed_and_compares_with_its_target(record, tmp_path, capsys):
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    words = [record, f"--data={tmp_path / 'text.txt'}", "--seeds=2", "--batch_size=4", *SMALL]
    target = RECIPES[record].target
    assert main(words) == 1
    *_, first, second, last = capsys.readouterr().out.splitlines()
    losses = [float(line.split()[-1]) for line in (first, second)]
    assert first.startswith("seed 1: 3 updates, ") and losses[0] != losses[1]
    loss = float(last.split("loss ")[1].split(",")[0])
    assert loss == pytest.approx(sum(losses) / 2, abs=1e-4)
    assert last.endswith(f"NOT below {target}")


def test_every_recipe_is_a_model_and_its_training():
    for recipe in RECIPES.values():
        assert recipe.settings["max_iters"] == recipe.settings["lr_decay_iters"]


def test_names_are_padded_shuffled_and_all_there():
    train, test, vocabulary = names.sequences(TEXT, 16)
    assert (len(train[0]), len(test[0]), vocabulary) == (500, 1000, 15)
    letters = "".join(sorted(set("emmaavachristopherboli")))
    for tokens, targets in zip(*train, strict=True):
        kept = targets[targets >= 0]
        name = "".join(letters[k - 1] for k in kept[:-1])
        assert name in TEXT.split() and tokens[0] == 0 == kept[-1]
        assert np.array_equal(tokens[1 : len(kept)], kept[:-1])
        assert not tokens[len(kept) :].any() and (targets[len(kept) :] == -1).all()
    with pytest.raises(SystemExit, match="the longest name takes 12"):
        names.sequences(TEXT, 11)


def test_a_row_is_filled_with_whole_names_and_an_epoch_has_them_all():
    train, _, _ = names.sequences(TEXT, 16)
    tokens, targets = names.rows_of(train, 24, 7, 0)
    again = []
    for row, wanted in zip(tokens, targets, strict=True):
        kept = wanted[wanted >= 0]
        assert row[0] == 0 == kept[-1] and (wanted[len(kept) :] == -1).all()
        assert np.array_equal(row[1 : len(kept)], kept[:-1])
        again += np.split(kept, np.flatnonzero(kept == 0)[:-1] + 1)
    assert sorted(map(tuple, again)) == sorted(tuple(t[t >= 0]) for t in train[1])
    for row, following in zip(targets, targets[1:], strict=False):
        left = 24 - (row >= 0).sum()
        assert np.flatnonzero(following == 0)[0] + 1 > left  # the next name did not fit
    found = [pair[0] for pair, _ in zip(names.batches(train, 24, 50, 7), range(5), strict=False)]
    assert {batch.shape for batch in found} == {(50, 24)} and np.array_equal(found[0], tokens[:50])
    assert len({batch.tobytes() for batch in found}) == 5


def test_the_loss_over_names_is_the_mean_over_all_targets():
    _, test, vocabulary = names.sequences(TEXT, 16)
    model = gn.GPT(gn.GPTConfig(vocabulary, 16, 1, 1, 8), ops="reference")
    assert names.loss_over(model, test, 300) == pytest.approx(model.forward(*test), rel=1e-6)
