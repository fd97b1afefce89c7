"""What a command reads: prompts, paths with ~, pipes, and models of another vocabulary."""

import dataclasses
import importlib.util
import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.base.errors import InputError
from gpt_numpy.cli import main as cli
from gpt_numpy.cli.commands.convert import run as cli_convert
from gpt_numpy.cli.options import ConvertConfig
from gpt_numpy.cli.settings import field_types
from gpt_numpy.data.prepare import prepare
from gpt_numpy.data.tokenizers.byte_pairs import END_OF_TEXT, BPETokenizer
from gpt_numpy.data.tokenizers.characters import CharTokenizer
from gpt_numpy.interop import open_run
from gpt_numpy.training.monitor import sample
from gpt_numpy.training.run_folder import find_checkpoint, make_folder, resume
from tests.support.commands import ENVIRONMENT, QUICK, TEXT

SHORT = ["--num_samples=1", "--max_new_tokens=3", "--ops=reference"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPT_NUMPY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "t.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path


@pytest.fixture
def call(capsys):
    """Run the command, which must succeed: what it printed, and what it reported."""

    def run(*words):
        status = cli.main(list(words))
        out, err = capsys.readouterr()
        assert status == 0, err
        return out, err

    return run


def saved(path, tokenizer, vocab_size=None):
    config = gn.GPTConfig(vocab_size or tokenizer.vocab_size, 8, n_layer=1, n_head=2, n_embd=8)
    gn.save(path, gn.GPT(config, ops="reference"), tokenizer=tokenizer)


# ---------------------------------------------------------------- sample without a start


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("ACGT" * 90, "A"),
        ("one line " * 40, " "),
        ("tabs\tand blanks " * 30, " "),
        ("old\rMac\r" * 40, "\r"),
    ],
)
def test_the_command_that_training_prints_works_for_every_text(call, folder, text, start):
    (folder / "t.txt").write_bytes(text.encode())
    out, _ = call("train", *QUICK, "--out_dir=r")
    printed = out.splitlines()[-1].partition("gpt-numpy ")[2].split()
    assert printed == ["sample", "--out_dir=r"]
    out, err = call(*printed, *SHORT)
    assert out.startswith(start) and err.count("\n") == 1
    assert f"it starts with {start!r}" in err


def test_a_start_that_was_given_is_never_replaced(capsys, folder):
    saved("m.npz", CharTokenizer("ACGT"))
    assert cli.main(["sample", "--init_from=m.npz", "--start=\n", *SHORT]) == cli.BAD_INPUT
    assert "start='\\n'" in capsys.readouterr().err


def test_a_line_break_is_the_start_where_the_model_knows_it(call):
    saved("m.npz", CharTokenizer("\n ab"))
    out, err = call("sample", "--init_from=m.npz", *SHORT)
    assert out.startswith("\n") and err == ""


# ---------------------------------------------------------------- commands that can be typed


def test_the_command_that_prepare_prints_can_be_typed(call):
    words = call("prepare", "t.txt", "--dataset=a b")[0].splitlines()[-1].split("gpt-numpy ")[1]
    assert shlex.split(words) == ["train", "tiny", "--dataset=a b"]


def test_the_runs_that_a_message_names_can_be_typed(folder):
    (folder / "run 1").mkdir()
    saved(folder / "run 1" / "ckpt.npz", CharTokenizer("ab"))
    with pytest.raises(InputError, match="known: 'run 1'"):
        find_checkpoint("elsewhere", "last")


def test_a_model_without_training_state_says_how_to_train_it_further(folder):
    (folder / "run 1").mkdir()
    saved(folder / "run 1" / "ckpt.npz", CharTokenizer("ab"))
    with pytest.raises(InputError, match="--init_from='run 1' and another --out_dir"):
        resume("run 1", {})


def test_a_link_to_nothing_is_no_folder_of_a_run(folder):
    (folder / "link").symlink_to(folder / "nothing")
    with pytest.raises(InputError, match="out_dir='link' is a link to nothing"):
        make_folder("link")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_with_a_name_is_not_a_missing_file(folder):
    os.mkfifo(folder / "pipe")
    with pytest.raises(InputError, match="'pipe': is not a regular file"):
        prepare(["pipe"], folder / "data")


def test_a_model_is_not_converted_over_a_file(folder):
    saved(folder / "m.npz", CharTokenizer("ab"))
    with pytest.raises(InputError, match=r"t\.txt is a file: name another folder"):
        cli_convert(["m.npz", "t.txt"], field_types(ConvertConfig))


# ---------------------------------------------------------------- a vocabulary rounded up


@pytest.fixture
def padded():
    """A model whose most likely tokens are not in its tokenizer."""
    saved("m.npz", CharTokenizer("\n ab"), 64)
    run = gn.load("m.npz")
    run.model.params["wte.weight"][:4] = 0
    gn.save("m.npz", run.model, tokenizer=run.tokenizer)
    return "m.npz"


def test_tokens_beyond_the_tokenizer_are_never_drawn(call, padded):
    words = "--num_samples=3", "--max_new_tokens=40", "--top_k=0", "--ops=reference"
    for more in ((), ("--temperature=0",), ("--top_p=0.9",), ("--repetition_penalty=1.5",)):
        out, err = call("sample", f"--init_from={padded}", *words, *more)
        texts = out.split("---------------\n")[:3]
        assert [len(text) for text in texts] == [42] * 3 and set("".join(texts)) <= set("\n ab")
        assert err.count("\n") == 1 and "the model has 64 tokens, its tokenizer 4" in err


def test_training_goes_on_from_such_a_model_and_logs_what_it_writes(call, padded, folder):
    (folder / "t.txt").write_text("ab \n" * 100)
    out, _ = call("train", *QUICK, f"--init_from={padded}", "--out_dir=r")
    assert "the model has 64 tokens, its tokenizer 4" in out
    out, err = call("sample", "--out_dir=r", *SHORT)
    assert len(gn.load("r/ckpt.npz").model.params["wte.weight"]) == 64
    call("inspect", "--out_dir=r", "--text=ab a", "--html=p.html")


def test_the_text_that_training_writes_has_tokens_of_the_tokenizer_alone(padded):
    run = open_run(padded)
    tokens = sample(run.model, np.zeros(1, np.int64), 5, run.tokenizer.vocab_size)
    assert tokens.size == 49 and tokens.max() < 4
    assert sample(run.model, np.zeros(1, np.int64), 5).max() >= 4


# ---------------------------------------------------------------- strings


@pytest.fixture
def byte_pairs():
    pytest.importorskip("tokenizers", reason="the extra `bpe` is not installed")
    return BPETokenizer.train([TEXT], 300)


def test_end_of_text_in_a_prompt_is_one_token_as_in_nanogpt(byte_pairs, call):
    end = byte_pairs.end_of_text
    text = f"{END_OF_TEXT}To be{END_OF_TEXT}"
    assert byte_pairs.encode_prompt(text).tolist() == [end, *byte_pairs.encode("To be"), end]
    assert end not in byte_pairs.encode(text)
    assert np.array_equal(byte_pairs.encode_prompt(TEXT), byte_pairs.encode(TEXT))
    saved("m.npz", byte_pairs)
    out, _ = call("sample", "--init_from=m.npz", f"--start={END_OF_TEXT}", *SHORT)
    assert out.startswith(END_OF_TEXT)


def test_a_separator_may_be_a_line_break(byte_pairs, call, folder):
    (folder / "t.txt").write_text("one\ntwo\nthree\nfour\n" * 9)
    call("prepare", "t.txt", "--dataset=d", "--tokenizer=train", "--separator=\\n")
    tokens = np.fromfile("data/d/train.bin", "<u2")
    tokenizer = BPETokenizer.from_file(folder / "data/d/tokenizer.json")
    start = tokenizer.decode(tokens[:12])
    assert start.startswith(f"one{END_OF_TEXT}two{END_OF_TEXT}three")


def test_a_prompt_from_a_file_keeps_its_line_ends(call, folder):
    saved("m.npz", CharTokenizer("\r\nab"))
    (folder / "p.txt").write_bytes(b"\xef\xbb\xbfa\r\nb")
    done = subprocess.run(
        [sys.executable, "-m", "gpt_numpy", "sample", "--init_from=m.npz", "--start=FILE:p.txt",
         "--num_samples=1", "--max_new_tokens=0", "--ops=reference"],
        env=ENVIRONMENT, capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith(b"a\r\nb")


# ---------------------------------------------------------------- ~ and pipes


def test_a_leading_tilde_is_the_home_folder_everywhere(call, folder):
    home = folder / "home"
    (folder / "t.txt").rename(home / "t.txt")
    (home / "c.toml").write_text('out_dir = "~/toml"\ndata = "~/t.txt"\n')
    (home / "c.py").write_text('out_dir = "~/py"\ndata = "~/t.txt"\n')
    quick = [word for word in QUICK if not word.startswith("--data")]
    call("train", "~/c.toml", *quick)
    call("train", "~/c.py", *quick)
    call("train", *quick, "--data=~/t.txt", "--out_dir=~/flag")
    call("train", *quick, "--init_from=resume", "--out_dir=~/flag", "--max_iters=5")
    call("train", *quick, "--data=~/t.txt", "--init_from=~/flag", "--out_dir=~/fine")
    (home / "p.txt").write_text("To be")
    call("sample", "--out_dir=~/flag", "--start=FILE:~/p.txt", *SHORT)
    call("sample", "--init_from=~/flag", "--start=To", *SHORT)
    call("inspect", "--out_dir=~/flag", "--text=To be", "--html=~/p.html")
    call("gradcheck", "--out_dir=~/flag", "--method=directions", "--batch_size=1")
    if importlib.util.find_spec("matplotlib"):
        call("plot", "~/flag", "--out=~/l.svg")
        assert (home / "l.svg").exists()
    call("convert", "~/flag", "~/converted", "--format=gpt_numpy")
    call("prepare", "~/t.txt", "--dataset=d", "--tokenizer=~/flag")
    made = {"toml", "py", "flag", "fine", "p.html", "converted"}
    assert made <= {path.name for path in home.iterdir()}
    assert not (folder / "~").exists()


def test_a_tilde_without_a_home_is_refused(monkeypatch, capsys, folder):
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as for an unknown user
    assert cli.main(["train", *QUICK, "--out_dir=~/r"]) == cli.BAD_INPUT
    assert "out_dir='~/r': there is no home folder for ~" in capsys.readouterr().err
    assert not (folder / "~").exists()


def test_texts_come_through_pipes_of_the_shell(folder):
    (folder / "u.txt").write_text("more of it\n" * 50)
    command = f"{sys.executable} -m gpt_numpy"
    lines = [
        f"{command} train {' '.join(QUICK)} --data=<(cat t.txt) --out_dir=r",
        f"cat t.txt | {command} train {' '.join(QUICK)} --data=/dev/stdin --out_dir=s",
        f"{command} prepare <(cat t.txt) u.txt --dataset=d",
    ]
    for line in lines:
        done = subprocess.run(["bash", "-c", line], env=ENVIRONMENT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert (
        np.fromfile("data/d/train.bin", "<u2").size + np.fromfile("data/d/val.bin", "<u2").size
        == len(TEXT) + 550
    )
    assert gn.load("r/ckpt.npz").dataset == gn.load("s/ckpt.npz").dataset


# ---------------------------------------------------------------- no traceback


def test_a_vocabulary_that_is_none_is_refused_in_one_line(byte_pairs, capsys, folder):
    (folder / "v").mkdir()
    (folder / "v" / "merges.txt").write_text("#version: 0.2\n")
    for content in ('{"a": "x"}', '{"a": -1}', '{"a": 1.5}', '{"a": null}', f'{{"a": {10**30}}}'):
        (folder / "v" / "vocab.json").write_text(content)
        assert cli.main(["prepare", "t.txt", "--dataset=d", "--tokenizer=v"]) == cli.BAD_INPUT
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and "vocab.json is not a table of tokens" in err


@pytest.mark.parametrize("penalty", ["5e-324", "1e-300", "1e-38", "1e39", "1e308"])
def test_any_penalty_is_finite(call, penalty):
    saved("m.npz", CharTokenizer("\nab"))
    for more in ("--temperature=0", "--top_p=0.5", "--top_k=2"):
        call("sample", "--init_from=m.npz", f"--repetition_penalty={penalty}", more, *SHORT)


class OnlyWrites:
    """An output without a file below it, as a program that embeds Python may set it."""

    def write(self, text):
        """Take everything."""

    def flush(self):
        """Nothing waits."""


@pytest.mark.parametrize("out", [None, OnlyWrites()])
@pytest.mark.parametrize("err", [None, OnlyWrites()])
def test_a_command_runs_with_any_output(monkeypatch, out, err):
    saved("m.npz", CharTokenizer("ab"))
    for words, status in (
        (["sample", "--init_from=m.npz", *SHORT], 0),
        (["sample", "--init_from=none"], cli.BAD_INPUT),
        (["train", *QUICK], 0),
    ):
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        assert cli.main(words) == status
        for stream in (sys.stdout, sys.stderr):
            if not isinstance(stream, OnlyWrites):
                stream.close()  # it was opened instead of None


def test_a_disk_error_with_any_output_is_no_traceback(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cli, "_run", full)
    monkeypatch.setattr(sys, "stdout", OnlyWrites())
    assert cli.main(["train"]) == cli.BAD_INPUT


# ---------------------------------------------------------------- a model's own tokenizer


def test_a_text_is_prepared_with_the_tokenizer_of_a_run(call, folder):
    call("train", *QUICK, "--out_dir=r")
    (folder / "u.txt").write_text(TEXT[7:70] * 30)
    call("prepare", "u.txt", "--dataset=d", "--tokenizer=r")
    call("prepare", "u.txt", "--dataset=e", "--tokenizer=r/ckpt.npz")
    quick = [word for word in QUICK if not word.startswith("--data")]
    call("train", *quick, "--init_from=r", "--dataset=d", "--out_dir=fine")
    run = gn.load("r/ckpt.npz")
    assert gn.load("fine/ckpt.npz").tokenizer.to_json() == run.tokenizer.to_json()


def test_a_model_without_a_tokenizer_cannot_prepare(capsys):
    config = gn.GPTConfig(9, 8, n_layer=1, n_head=1, n_embd=8)
    gn.save("m.npz", gn.GPT(config, ops="reference"))
    assert cli.main(["prepare", "t.txt", "--dataset=d", "--tokenizer=m.npz"]) == cli.BAD_INPUT
    assert "the model there has none" in capsys.readouterr().err


def test_sampling_refuses_a_vocabulary_that_is_none():
    from gpt_numpy.generation.sampling import Sampling

    assert dataclasses.asdict(Sampling())["vocab_size"] == 0
    with pytest.raises(InputError, match="vocab_size=-1"):
        Sampling(vocab_size=-1)


@pytest.mark.parametrize("numbers", ["9", "-1", "0 9 1"])
def test_token_numbers_that_the_model_has_not_are_refused_by_name(capsys, numbers):
    config = gn.GPTConfig(9, 8, n_layer=1, n_head=1, n_embd=8)
    gn.save("m.npz", gn.GPT(config, ops="reference"))
    words = ["sample", "--init_from=m.npz", *SHORT]
    assert cli.main([*words, f"--start={numbers}"]) == cli.BAD_INPUT
    assert re.match(
        rf"gpt-numpy: start='{numbers}' contains (9|-1): must be from 0 to vocab_size - 1 = 8",
        capsys.readouterr().err,
    )
    assert cli.main([*words, "--start=0 8"]) == 0
