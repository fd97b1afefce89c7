"""A run that an earlier version stopped goes on as that version went on (earlier/README.md)."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.cli import main as cli

EARLIER = Path(__file__).parent / "earlier"
EXPECTED = json.loads((EARLIER / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    shutil.copytree(EARLIER, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("name", "iteration"), [("ckpt.npz", 6), ("ckpt-best.npz", 5)])
def test_both_checkpoints_load_whole(name, iteration):
    run = gn.load(Path("run") / name)
    assert run.progress["iteration"] == run.optimizer.steps == iteration
    assert (run.model.dtype, run.model.ops_name) == (np.float64, "reference")
    assert (run.config.dropout, run.config.bias, run.settings.seed) == (0.1, True, 11)
    assert run.tokenizer.decode(run.tokenizer.encode("The ")) == "The "


def test_it_resumes_with_the_losses_and_weights_of_the_earlier_version(capsys):
    assert cli.main(["train", "--init_from=resume", "--out_dir=run", "--max_iters=11"]) == 0
    log = Path("run/log.jsonl").read_text(encoding="utf-8").splitlines()
    lines = [line for line in map(json.loads, log) if line["iter"] >= 6]
    assert len(lines) == len(EXPECTED["log"])
    for line, expected in zip(lines, EXPECTED["log"], strict=True):
        for name, value in expected.items():
            close = isinstance(value, float)
            assert line[name] == (pytest.approx(value, rel=1e-10) if close else value), name
    model = gn.load("run/ckpt.npz").model
    rng = np.random.default_rng(0)
    assert list(model.params) == list(EXPECTED["weights"])
    for name, (along, norm) in EXPECTED["weights"].items():
        direction = rng.standard_normal(model.params[name].shape)
        assert np.linalg.norm(model.params[name]) == pytest.approx(norm, rel=1e-12), name
        limit = 1e-12 * norm * np.linalg.norm(direction)
        assert (model.params[name] * direction).sum() == pytest.approx(along, abs=limit), name


def test_it_samples_what_the_earlier_version_sampled(capsys):
    words = ["--start=The ", "--num_samples=1", "--max_new_tokens=30", "--seed=3"]
    assert cli.main(["sample", "--out_dir=run", *words]) == 0
    assert EXPECTED["sample"] in capsys.readouterr().out


def test_its_gradients_are_right(capsys):
    assert cli.main(["gradcheck", "--out_dir=run"]) == 0
