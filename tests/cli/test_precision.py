"""A command says once how products in bfloat16 are computed, and `sample` takes a precision."""

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.cli import main as cli
from gpt_numpy.cli.precision import SAMPLING, TRAINING, note_of_emulation

SMALL = ["--n_layer=1", "--n_head=2", "--n_embd=8", "--block_size=8", "--batch_size=2"]
SMALL += ["--max_iters=1", "--eval_iters=1", "--out_dir=r", "--data=t.txt", "--dtype=bfloat16"]
NOTE = "no fast instruction"


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.txt").write_text("abcdefgh ijklm nopq rstu vw\n" * 60)

    def run(*words):
        status = cli.main(list(words))
        out, err = capsys.readouterr()
        return status, out, err

    return run


def set_tile(monkeypatch, name):
    monkeypatch.setattr("gpt_numpy.kernels.bfloat16_tile", lambda: name)


@pytest.mark.parametrize(("tile", "times"), [("emulated", 1), ("avx512_bf16", 0)])
def test_emulation_is_reported_once(tile, times, call, monkeypatch):
    set_tile(monkeypatch, tile)
    status, out, err = call("train", *SMALL, "--ops=kernels")
    assert (status, err.count(NOTE)) == (0, 0) and out.count(NOTE) == times
    assert (TRAINING in out) == bool(times)
    few = ["--out_dir=r", "--num_samples=2", "--max_new_tokens=20", "--window=half"]
    status, out, err = call("sample", *few)
    assert (status, out.count(NOTE)) == (0, 0) and err.count(NOTE) == times
    assert (SAMPLING in err) == bool(times)
    status, out, err = call("sample", *few, "--dtype=float32")
    assert (status, err.count(NOTE)) == (0, 0)


def test_only_kernels_emulate(monkeypatch):
    set_tile(monkeypatch, "emulated")
    config = gn.GPTConfig(vocab_size=3, block_size=2, n_layer=1, n_head=1, n_embd=2)
    for ops, dtype, lines in (
        ("kernels", "bfloat16", 1), ("kernels", "float32", 0), ("reference", "bfloat16", 0)
    ):  # fmt: skip
        assert len(note_of_emulation(gn.GPT(config, ops=ops, dtype=dtype), TRAINING)) == lines


def test_sample_takes_a_precision_that_fits_the_weights(call, monkeypatch):
    assert call("train", *SMALL, "--ops=reference")[0] == 0
    used = []
    generate = "gpt_numpy.cli.commands.sample.stream"
    monkeypatch.setattr(generate, lambda model, *_, **__: used.append(model.precision) or iter(()))
    for word, precision in (
        ([], "bfloat16"), (["--dtype=float32"], "float32"), (["--dtype=bfloat16"], "bfloat16"),
        (["--dtype=float16"], "bfloat16"), (["--dtype=float64"], "bfloat16"),
    ):  # fmt: skip
        status, _, err = call("sample", "--out_dir=r", *word)
        assert status == 0 and used.pop() == precision
        other = word and precision not in word[0]
        assert ("has no effect: the run's is bfloat16" in err) == bool(other)


def test_a_run_of_bfloat16_writes_the_same_text_again(call):
    assert call("train", *SMALL, "--ops=reference")[0] == 0
    texts = [
        call("sample", "--out_dir=r", "--num_samples=1", "--max_new_tokens=9", "--seed=4")[1]
        for _ in range(2)
    ]
    assert texts[0] == texts[1]
    run = gn.load("r/ckpt.npz")
    assert run.model.precision == "bfloat16" and run.model.dtype == np.float32
