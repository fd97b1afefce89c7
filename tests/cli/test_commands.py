"""What commands decide before and after their work: settings that count, lines that are printed."""

import re

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.cli import main as cli
from gpt_numpy.cli.commands import train as train_command
from gpt_numpy.config.presets import PRESETS
from gpt_numpy.data.tokenizers.characters import CharTokenizer
from gpt_numpy.training.checkpoint import Run
from tests.support.commands import QUICK, TEXT, caller

CHARACTERS = sorted(set(TEXT))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path


@pytest.fixture
def call(capsys):
    return caller(capsys)


def saved(path, characters=CHARACTERS, **changed):
    shape = {"vocab_size": len(characters), "block_size": 8, "n_layer": 1, "n_head": 2, "n_embd": 8}
    model = gn.GPT(gn.GPTConfig(**shape | changed), ops="reference")
    gn.save(path, model, tokenizer=CharTokenizer(characters))
    return model


def test_fine_tuning_has_no_dropout_unless_it_is_asked_for(call):
    saved("m.npz", dropout=0.3)
    more = [word for word in QUICK if not word.startswith("--n_")] + ["--init_from=m.npz"]
    for words, rate in ((["--out_dir=a"], 0.0), (["--out_dir=b", "--dropout=0.2"], 0.2)):
        assert call("train", *more, *words)[0] == cli.OK
        assert gn.load(f"{words[0][10:]}/ckpt.npz").config.dropout == rate


def test_data_whose_tokens_mean_something_else_is_refused(call):
    saved("m.npz", CHARACTERS[::-1])
    assert call("prepare", "t.txt", "--dataset=d")[0] == cli.OK
    more = [word for word in QUICK if not word.startswith(("--n_", "--data"))]
    status, _, err = call("train", *more, "--init_from=m.npz", "--dataset=d")
    assert status == cli.BAD_INPUT
    assert "prepare the text with the model's own, gpt-numpy prepare FILE --tokenizer=m.npz" in err
    assert call("prepare", "t.txt", "--dataset=e", "--tokenizer=m.npz")[0] == cli.OK
    status, _, err = call("train", *more, "--init_from=m.npz", "--dataset=e")
    assert status == cli.OK, err


def test_an_evaluation_that_is_not_finite_has_the_status_of_one(call):
    model = saved("m.npz")
    model.params["ln_f.weight"][0] = np.nan
    gn.save("m.npz", model, tokenizer=CharTokenizer(CHARACTERS))
    more = [word for word in QUICK if not word.startswith("--n_")]
    status, out, err = call("train", *more, "--init_from=m.npz", "--eval_only")
    assert status == cli.NOT_FINITE and "the evaluation loss is not finite" in err
    assert "step 0: train loss nan" in out


def test_without_a_preset_the_default_one_is_trained(call, folder, monkeypatch):
    (folder / "c.py").write_text("batch_size = 3\n")
    started = []
    monkeypatch.setattr(train_command, "_train", lambda run, *rest: started.append(run) or 0)
    monkeypatch.setattr(train_command, "new_run", lambda shape, *_: Run(None, shape))
    for words, width, said in (([], PRESETS["tiny"]["n_embd"], True), (["c.py"], 768, False)):
        status, out, err = call("train", *words, "--data=t.txt", "--block_size=8", "--n_layer=1")
        assert status == cli.OK, err
        assert started.pop().config.n_embd == width
        assert ("starting from the preset tiny" in out) == said


def test_log_probabilities_are_printed_below_each_text(call):
    saved("m.npz")
    words = ("--num_samples=2", "--max_new_tokens=5", "--logprobs", "--ops=reference")
    status, out, err = call("sample", "--init_from=m.npz", "--start=To", *words)
    assert status == cli.OK, err
    sums = re.findall(r"^log-probability (-\d+\.\d+), (-\d+\.\d+) a token$", out, re.MULTILINE)
    assert len(sums) == 2 == out.count("---------------")
    for total, mean in sums:
        assert float(mean) == pytest.approx(float(total) / 5, abs=1e-4)
