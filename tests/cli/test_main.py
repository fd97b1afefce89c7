"""The command as people use and misuse it: one clear line, the right status, nothing half done."""

import errno
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.base.errors import NotFiniteError
from gpt_numpy.base.signals import KINDS
from gpt_numpy.cli import main as cli
from gpt_numpy.cli.commands import sample as sample_command
from gpt_numpy.cli.commands import train as train_command
from gpt_numpy.cli.exit_status import CHECK_FAILED
from gpt_numpy.training import checkpoint
from gpt_numpy.training import run_folder as runs
from tests.support.commands import ENVIRONMENT, QUICK, TEXT, caller


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPT_NUMPY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "t.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path


@pytest.fixture
def call(capsys):
    return caller(capsys)


@pytest.fixture
def refused(call, folder):
    """Run a command that must be refused, with one line and without a trace on the disk."""

    def run(*words, said):
        before = everything(folder)
        status, _, err = call(*words)
        assert status == cli.BAD_INPUT, err
        assert err.startswith("gpt-numpy: ") and err.count("\n") == 1, err
        assert said in err
        assert everything(folder) == before
        return err

    return run


def everything(folder):
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def trained(call):
    """A run in the folder `r`."""
    status, out, err = call("train", *QUICK, "--out_dir=r")
    assert (status, err) == (0, "")
    return out


# ---------------------------------------------------------------- what works


def test_train_sample_resume_and_gradcheck(call, trained, folder):
    assert sorted(os.listdir("r")) == ["ckpt-best.npz", "ckpt.npz", "log.jsonl"]
    status, out, err = call("sample", "--out_dir=r", "--num_samples=2", "--max_new_tokens=30")
    assert (status, err) == (0, "")
    assert out.count("\n---------------\n") == 2
    assert set(out.replace("-", "")) <= set(TEXT)
    status, out, _ = call("train", "--init_from=resume", "--out_dir=r", "--max_iters=6")
    assert status == 0 and "Resuming training from r" in out and "iter 6: loss" in out
    status, out, _ = call("gradcheck", "--out_dir=r", "--batch_size=1")
    assert status == 0 and "all exact" in out and "h.0.attn.c_attn.weight" in out


def test_the_lines_that_people_grep_are_nanogpts(trained):
    for pattern in (
        r"^Overriding: n_layer = 1$",
        r"^found vocab_size = \d+ \(inside t.txt\)$",
        r"^tokens per iteration will be: 16$",
        r"^number of parameters: \d+\.\d\dM$",
        r"^num decayed parameter tensors: 6, with [\d,]+ parameters$",
        r"^num non-decayed parameter tensors: 3, with [\d,]+ parameters$",
        r"^step 2: train loss \d\.\d{4}, val loss \d\.\d{4}$",
        r"^iter 3: loss \d\.\d{4}, time \d+\.\d\dms, mfu \d+\.\d\d%$",
        r"^saving checkpoint to r$",
    ):
        assert re.search(pattern, trained, re.MULTILINE), pattern


def test_nanogpts_own_command_line(call, folder):
    (folder / "config").mkdir()
    (folder / "config" / "train_shakespeare_char.py").write_text(
        "import time\nout_dir = 'out-shakespeare-char'\nwandb_run_name = 'a' + str(time.time())\n"
        "eval_interval = 250 # keep frequent because we'll overfit\nwandb_log = False\n"
        "dataset = 'shakespeare_char'\ngradient_accumulation_steps = 1 * 2\nn_layer = 6\n"
    )
    (folder / "data" / "shakespeare_char").mkdir(parents=True)
    for split in ("train", "val"):
        tokens = np.random.default_rng(0).integers(0, 65, 500).astype("<u2")
        tokens.tofile(folder / "data" / "shakespeare_char" / f"{split}.bin")
    words = (
        "config/train_shakespeare_char.py --device=cpu --compile=False --eval_iters=2 "
        "--log_interval=1 --block_size=8 --batch_size=2 --n_layer=1 --n_head=2 --n_embd=8 "
        "--max_iters=3 --lr_decay_iters=3 --dropout=0.0 --backend=nccl --ops=reference"
    )
    status, out, err = call("train", *words.split())
    assert (status, err) == (0, "")
    assert "tokens per iteration will be: 32" in out
    run = checkpoint.load("out-shakespeare-char/ckpt.npz")
    assert (run.config.bias, run.config.activation, run.config.n_layer) == (False, "gelu", 1)
    status, out, _ = call(
        "sample",
        "--out_dir=out-shakespeare-char",
        "--device=cpu",
        "--num_samples=1",
        "--start=5 17",
    )
    assert status == 0 and out.startswith("5 17 ")


def test_an_earlier_run_is_moved_away_and_not_mixed_with_the_new_one(call, trained, folder):
    before = (folder / "r" / "ckpt.npz").read_bytes()
    status, out, _ = call("train", *QUICK, "--out_dir=r", "--seed=2")
    assert status == 0 and "moved the earlier run in r to r/previous" in out
    assert (folder / "r" / "previous" / "ckpt.npz").read_bytes() == before
    assert (folder / "r" / "ckpt.npz").read_bytes() != before


def test_evaluating_only_writes_nothing(call, trained, folder):
    before = everything(folder)
    status, out, _ = call("train", *QUICK, "--eval_only", "--out_dir=p")
    assert status == 0 and re.search(r"^step 0: train loss .*, val loss", out, re.MULTILINE)
    status, out, _ = call("train", "--init_from=resume", "--out_dir=r", "--eval_only=True")
    assert status == 0 and re.search(r"^step 5: train loss .*, val loss", out, re.MULTILINE)
    assert everything(folder) == before


def test_sampling_is_decided_by_the_seed(call, trained):
    words = ("sample", "--out_dir=r", "--num_samples=1", "--max_new_tokens=40")
    assert call(*words) == call(*words)
    assert call(*words) != call(*words, "--seed=5")


def test_prompts_come_from_the_command_line_and_from_files(call, trained, folder):
    (folder / "p.txt").write_text("not to be", encoding="utf-8")
    for start in ("not to be", "FILE:p.txt"):
        status, out, _ = call("sample", "--out_dir=r", f"--start={start}", "--num_samples=1")
        assert status == 0 and out.startswith("not to be")
    status, out, _ = call("sample", "--out_dir=r", "--start=" + TEXT[:300], "--max_new_tokens=5")
    assert status == 0 and out.startswith(TEXT[:300])


def test_gradcheck_fails_when_a_gradient_is_wrong(call, monkeypatch):
    from gpt_numpy.model import implementations as model

    ops = model.load_ops("reference")
    right = ops.mlp_sublayer_backward

    def wrong(*arguments, **keywords):
        right(*arguments, **keywords)
        keywords["dweights"].fc_weight[0, 0] *= -1

    monkeypatch.setattr(ops, "mlp_sublayer_backward", wrong)
    words = ("--n_layer=1", "--block_size=2", "--ops=reference")
    status, out, _ = call("gradcheck", *words)
    assert status == CHECK_FAILED
    assert "1 of 16 gradients WRONG" in out
    assert re.search(r"h.0.mlp.c_fc.weight .* WRONG", out)
    monkeypatch.undo()
    assert call("gradcheck", *words)[0] == 0


def test_gradcheck_prints_json_and_reports_progress_to_stderr(call):
    status, out, err = call("gradcheck", "--n_layer=1", "--block_size=2", "--json")
    report = json.loads(out)
    assert status == 0 and report["ok"] and len(report["rows"]) == 16
    assert max(row["error"] for row in report["rows"]) <= 1e-13
    assert "complex step in each of" in err


@pytest.mark.parametrize("method", ["directions", "differences"])
def test_gradcheck_of_a_configuration_along_directions(call, method):
    words = ["--n_layer=1", "--block_size=8", f"--method={method}", "--ops=kernels"]
    status, out, _ = call("gradcheck", *words)
    assert status == 0 and "all exact" in out and "about" in out.splitlines()[0]
    assert ("through the model's own forward pass agree" in out) == (method == "directions")


def test_gradcheck_takes_differences_where_memory_is_short(call, monkeypatch):
    from gpt_numpy.model import memory

    monkeypatch.setattr(memory, "_memory", lambda: 200_000)
    status, out, _ = call("gradcheck", "--n_layer=1", "--n_head=1", "--n_embd=16")
    assert status == 0
    said, _, report = out.partition("\n")
    assert said.startswith("not enough memory for the complex step")
    assert report.startswith("central differences")
    status, _, err = call(
        "gradcheck", "--n_layer=1", "--n_embd=16", "--n_head=1", "--method=elements"
    )
    assert status == cli.BAD_INPUT and "of memory" in err


def test_gradcheck_of_one_position_has_something_to_check(call):
    _, out, _ = call("gradcheck", "--block_size=1", "--n_layer=1", "--ops=reference")
    norms = re.findall(r"mlp.c_fc.weight +\S+ x \S+ +(\S+)", out)
    assert float(norms[0]) > 0


# ---------------------------------------------------------------- help


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_help_lists_every_setting(call, command):
    for words in ((command, "--help"), (command, "-h"), ("help", command), (command, "x", "-h")):
        status, out, _ = call(*words)
        assert status == 0
        for name in cli.types_of(command):
            assert f"--{name}=" in out
        assert "--threads=N" in out and "MISSING" not in out


def test_help_shows_the_defaults_of_the_command(call):
    for command, n_embd in (("train", 768), ("bench", 128), ("gradcheck", 6)):
        assert f"residual stream [{n_embd}]" in call(command, "--help")[1]


def test_help_names_every_command(call):
    for words in ((), ("--help",), ("-h",), ("help",)):
        status, out, _ = call(*words)
        assert status == 0
        assert all(f"  {command} " in out for command in cli.COMMANDS)
    assert call("--version") == (0, f"gpt-numpy {gn.__version__}\n", "")


def test_help_comes_at_once_because_nothing_heavy_is_imported():
    code = (
        "import sys, gpt_numpy.cli.main as c; s = c.main(['train', '--help']); "
        "print(s, [m for m in ('numpy', 'numba', 'tqdm') if m in sys.modules])"
    )
    best = 9.0
    for _ in range(3):  # the machine may be busy
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT
        )
        best = min(best, time.perf_counter() - start)
    assert done.stdout.splitlines()[-1] == "0 []"
    assert best < 0.5


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], "did you mean train?"),
        (["tiny"], "did you mean gpt-numpy train tiny?"),
        (["--n_layer=4"], "did you mean gpt-numpy train --n_layer=4?"),
        (["train", "tinny"], "did you mean tiny?"),
        (["train", "--n_layers=4"], "did you mean --n_layer?"),
        (["train", "--n_layer", "4"], "write --n_layer=VALUE"),
        (["train", "n_layer=4"], "did you mean --n_layer"),
        (["train", "--compile", "False"], "--key=False"),
        (["train", "--n_layer=x"], "--n_layer='x'"),
        (["train", "--n_layer=0"], "n_layer=0"),
        (["train", "--learning_rate=nan"], "learning_rate"),
        (["train", "--n_embd=10", "--n_head=4"], "try n_embd=12"),
        (["train", "--seed=1e30"], "seed"),
        (["train", "--device=cuda"], "use --device=cpu"),
        (["train", "--init_from=gpt2"], "gpt2: there is no such folder"),
        (["train", "--threads=0"], "--threads='0'"),
        (["train", "--threads", "2"], "--threads"),
        (["train", "nope.py"], "cannot read nope.py"),
        (["train", "--dataset=shakespear"], "shakespeare"),
        (["train", "--data=nope.txt"], "data='nope.txt'"),
        (["train", "--data=t.txt", "--dataset=names"], "exclude each other"),
        (["train", "--data=t.txt", "--block_size=100000"], "use --block_size="),
        (["train", *QUICK, "--batch_size=1000000000000"], "batch_size=1000000000000"),
        (["train", *QUICK, "--n_layer=1000000000"], "n_layer=1000000000"),
        (["train", *QUICK, "--n_embd=1000000000000"], "n_embd=1000000000000"),
        (["train", *QUICK, "--gradient_accumulation_steps=1e12"], "gradient_accumulation_steps="),
        (["train", *QUICK, "--out_dir=t.txt"], "out_dir='t.txt' is a file"),
        (["train", *QUICK, "--out_dir=t.txt/x"], "out_dir='t.txt/x'"),
        (["train", *QUICK, "--out_dir=/proc/x"], "out_dir='/proc/x'"),
        (["train", "--init_from=resume", "--out_dir=x"], "no such folder"),
        (["train", "--init_from=resume", "--out_dir=."], "holds no checkpoint"),
        (["sample"], "train one with"),
        (["sample", "--out_dir="], "out_dir is empty"),
        (["sample", "--out_dir=t.txt"], "it is a file"),
        (["sample", "--temperature=1e-400"], "would be rounded to 0"),
        (["train", *QUICK, "--grad_clip=1e-400"], "would be rounded to 0"),  # 0: no clipping
        (["train", *QUICK, "--max_iters=1e-400"], "would be rounded to 0"),
        (["bench", "--batch_size=1000000000000"], "batch_size=1000000000000"),
        (["sample", "--init_from=/dev/null"], "neither a regular file nor a folder"),
        (["sample", "tiny"], "settings only"),
        (["sample", "--checkpoint=worst"], "best or last"),
        (["sample", "--top_p=0"], "top_p=0.0"),
        (["gradcheck", "nope"], "neither a preset"),
        (["gradcheck", "--batch_size=1000000000000"], "batch_size=1000000000000"),
        (["gradcheck", "--n_embd=100000000"], "n_embd=100000000"),
        (["gradcheck", "--vocab_size=1"], "vocab_size=1"),
        (["gradcheck", "--tolerance=0"], "tolerance"),
    ],
)
def test_what_cannot_be_used_is_refused(refused, words, said):
    refused(*words, said=said)


@pytest.mark.parametrize("content", [b"", b"a", b"abc", b"\xff\xfe" * 100])
def test_texts_that_cannot_be_trained_on_are_refused(refused, folder, content):
    (folder / "bad.txt").write_bytes(content)
    refused("train", *QUICK, "--data=bad.txt", said="bad.txt")


def test_a_folder_name_with_a_zero_byte_is_refused(refused, folder):
    (folder / "c.toml").write_text('out_dir = "a\\u0000b"')
    refused("train", *QUICK, "c.toml", said="zero byte")


def test_a_run_that_does_not_fit_the_question_is_refused(refused, trained, folder):
    (folder / "other.txt").write_text(TEXT[::-1], encoding="utf-8")
    resume = ("train", "--init_from=resume", "--out_dir=r", "--max_iters=9")
    refused(*resume, "--n_layer=2", said="n_layer=2, but the run in r has n_layer=1")
    refused(*resume, "--dtype=float64", said="dtype=float32")
    refused(*resume, "--data=other.txt", said="resume with the same data")
    refused(*resume, "--dataset=nothing", said="dataset='nothing'")
    refused("train", "--init_from=resume", "--out_dir=r", said="give a larger --max_iters")
    refused("gradcheck", "--out_dir=r", "--n_layer=2", said="does not go with --out_dir")
    refused("sample", "--out_dir=rr", said="r")
    (folder / "t.txt").write_text(TEXT + "x", encoding="utf-8")
    refused("gradcheck", "--out_dir=r", said="t.txt: the text has 1 character that the tokenizer")
    (folder / "t.txt").write_text(TEXT + "T", encoding="utf-8")
    refused("gradcheck", "--out_dir=r", said="has changed since training")


def test_a_prompt_that_cannot_be_used_is_refused(refused, trained, folder, monkeypatch):
    monkeypatch.setattr(sample_command, "_LONGEST_PROMPT", 1000)
    (folder / "empty").write_bytes(b"")
    (folder / "latin").write_bytes(b"\xe4")
    for start, said in (
        ("", "start='' is empty"),
        ("To be → or", "start='To be → or'"),
        ("\udcff", "does not know"),
        ("Ä" * 10_000, "'Ä'"),
        ("FILE:", "write FILE:PATH"),
        ("FILE:none", "No such file"),
        ("FILE:/dev/zero", "has more than 1000 bytes"),
        ("FILE:empty", "is empty"),
        ("FILE:latin", "not UTF-8"),
    ):
        refused("sample", "--out_dir=r", f"--start={start}", said=said)
    refused("sample", "--out_dir=r", "--max_new_tokens=1e12", said="max_new_tokens=1000000000000")
    refused("sample", "--out_dir=r", "--num_samples=1e12", said="num_samples=1000000000000")


def test_a_model_without_a_tokenizer_takes_numbers(refused, call, folder):
    config = gn.GPTConfig(vocab_size=9, block_size=4, n_layer=1, n_head=1, n_embd=4)
    gn.save("m/ckpt.npz", gn.GPT(config, ops="reference"))
    refused("sample", "--out_dir=m", "--ops=reference", "--start=abc", said="--start='5 17'")
    refused("sample", "--out_dir=m", "--ops=reference", "--start=9", said="contains 9")
    status, out, err = call(
        "sample", "--out_dir=m", "--ops=reference", "--start=5 8", "--num_samples=1"
    )
    assert status == 0 and out.startswith("5 8 ")
    assert err == "the model has no tokenizer: its tokens are printed as numbers\n"


def test_damaged_checkpoints_are_refused(refused, trained, folder):
    path = folder / "r" / "ckpt-best.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    refused("sample", "--out_dir=r", said="damaged")
    path.write_bytes(data[:1000])
    refused("sample", "--out_dir=r", said="its end is missing")
    path.write_bytes(b"")
    refused("gradcheck", "--out_dir=r", said="not a gpt_numpy checkpoint")


@pytest.mark.parametrize(
    "progress",
    [
        {"iteration": 3, "a": 1},
        {"iteration": "3"},
        {"iteration": -1},
        {"iteration": None},
        {"a": 1},
        {"best_val_loss": "low"},
    ],
)
def test_a_checkpoint_whose_progress_makes_no_sense_is_refused(refused, trained, progress):
    run = checkpoint.load("r/ckpt.npz")
    changed = progress if "a" in progress else run.progress | progress
    checkpoint.save(
        "r/ckpt.npz",
        run.model,
        tokenizer=run.tokenizer,
        optimizer=run.optimizer,
        settings=run.settings,
        progress=changed,
        dataset=run.dataset,
    )
    refused("train", "--init_from=resume", "--out_dir=r", "--max_iters=9", said="progress")


def test_without_a_network_the_message_says_what_to_do(refused, monkeypatch):
    import urllib.request

    def unreachable(*arguments, **keywords):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", unreachable)
    refused("train", "--dataset=names", said="--data=FILE")


def test_a_log_that_cannot_be_written_ends_the_run_with_one_line(call, monkeypatch, folder):
    def begin(out_dir, say):
        (folder / out_dir / runs.LOG).mkdir(parents=True)
        return folder / out_dir

    monkeypatch.setattr(train_command, "begin", begin)
    status, _, err = call("train", *QUICK, "--out_dir=r")
    assert status == cli.BAD_INPUT
    assert err.count("\n") == 1 and "log.jsonl: Is a directory" in err
    assert os.listdir("r") == [runs.LOG]


def test_a_checkpoint_that_cannot_be_written_ends_the_run_with_one_line(call, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    status, _, err = call("train", *QUICK, "--out_dir=r")
    assert status == cli.BAD_INPUT
    assert err.count("\n") == 1 and "cannot save r/ckpt.npz: No space left" in err
    assert os.listdir("r") == [runs.LOG]


# ---------------------------------------------------------------- other ends


def test_a_loss_that_is_not_finite_has_a_status_of_its_own(call):
    status, _, err = call("train", *QUICK, "--out_dir=r", "--learning_rate=1e30", "--grad_clip=0")
    assert status == cli.NOT_FINITE
    assert err.count("\n") == 1 and "iteration 1" in err and "not finite" in err


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (MemoryError(), 2, "out of memory"),
        (OSError(5, "Input/output error"), 2, "Input/output error"),
        (NotFiniteError("no"), 3, "gpt-numpy: no"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (BrokenPipeError(), 0, ""),
    ],
)
def test_every_end_has_its_status(call, monkeypatch, error, status, said):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(sample_command, "run", fail)
    code, _, err = call("sample")
    assert code == status and said in err and err.count("\n") == bool(said)


def test_signals_mean_afterwards_what_they_meant_before(call):
    before = [signal.getsignal(kind) for kind in KINDS]
    call("train", "--nonsense")
    call("train", *QUICK, "--out_dir=r")
    assert [signal.getsignal(kind) for kind in KINDS] == before


STARTED = []


@pytest.fixture(autouse=True)
def nothing_goes_on_running():
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            process.kill()
            process.communicate()


def python(*words, **keywords):
    environment = ENVIRONMENT | {"PYTHONUNBUFFERED": "1"} | keywords.pop("env", {})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | keywords
    if os.name == "posix":
        # A shell starts what runs in the background with SIGINT ignored, and that is inherited.
        pipes["preexec_fn"] = lambda: [signal.signal(kind, signal.SIG_DFL) for kind in KINDS]
    STARTED.append(
        subprocess.Popen([sys.executable, "-m", "gpt_numpy", *words], env=environment, **pipes)
    )
    return STARTED[-1]


def lines_until(process, wanted):
    for line in process.stdout:
        if wanted in line:
            return
    raise AssertionError(f"{wanted!r} never came: {process.stderr.read()}")


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_training_saves_and_prints_how_to_resume(call, kind):
    words = (*QUICK, "--max_iters=1000000", "--eval_interval=1000000", "--out_dir=r s")
    process = python("train", *words)
    lines_until(process, b"iter 5:")
    process.send_signal(kind)
    process.send_signal(kind)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (cli.INTERRUPTED, b"")
    assert out.endswith(b"continue with: gpt-numpy train --init_from=resume --out_dir='r s'\n")
    assert sorted(os.listdir("r s")) == ["ckpt-best.npz", "ckpt.npz", "log.jsonl"]
    done = checkpoint.load("r s/ckpt.npz").progress["iteration"]
    last = done + 2
    status, out, _ = call(
        "train", "--init_from=resume", "--out_dir=r s", f"--max_iters={last}", "--eval_interval=9"
    )
    assert status == 0
    iterations = [int(n) for n in re.findall(r"^iter (\d+):", out, re.MULTILINE)]
    assert iterations == [done, done + 1, done + 2]


@pytest.mark.skipif(os.name != "posix", reason="signals and terminals as POSIX has them")
def test_a_run_started_without_interrupts_goes_on(call):
    command = shlex.join([sys.executable, "-m", "gpt_numpy", "train", *QUICK, "--out_dir=r"])
    for kind in ("INT", "HUP"):
        line = f"trap '' {kind}; exec {command} --max_iters=1000000 --eval_interval=1000000"
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        environment = ENVIRONMENT | {"PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(["sh", "-c", line], env=environment, **pipes)
        STARTED.append(process)
        lines_until(process, b"iter 5:")
        process.send_signal(getattr(signal, f"SIG{kind}"))
        for _ in range(20):
            assert process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=30)[1] == b""
        assert process.returncode == cli.INTERRUPTED


@pytest.mark.skipif(os.name != "posix", reason="signals and terminals as POSIX has them")
def test_a_terminal_that_closes_ends_a_run_which_is_saved(call):
    import pty

    pid, terminal = pty.fork()
    if pid == 0:
        words = [*QUICK, "--out_dir=r", "--max_iters=1000000", "--eval_interval=1000000"]
        os.execve(sys.executable, [sys.executable, "-m", "gpt_numpy", "train", *words], ENVIRONMENT)
    said = b""
    while b"iter 20:" not in said:
        said += os.read(terminal, 10_000)
    os.close(terminal)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (cli.INTERRUPTED, cli.BAD_INPUT)  # by the signal, or by the next line
    assert checkpoint.load("r/ckpt.npz").progress["iteration"] > 20
    assert call("train", "--init_from=resume", "--out_dir=r", "--max_iters=0")[0] == cli.BAD_INPUT


def test_a_min_lr_above_the_learning_rate_is_said_with_a_remedy_that_works(call):
    words = [*QUICK, "--out_dir=r", "--learning_rate=3e-05"]
    status, out, _ = call("train", *words)
    said = re.search(r"min_lr=0.0001 is above learning_rate=3e-05.* give (--min_lr=\S+)", out)
    assert status == 0 and said
    lines = Path("r/log.jsonl").read_text(encoding="utf-8").splitlines()
    assert max(json.loads(line).get("lr", 0) for line in lines) <= 3e-5
    for remedy in (said[1], "--decay_lr=False"):
        status, out, _ = call("train", *words, remedy)
        assert status == 0 and "is above" not in out


def wait_until_it_catches(process, kind):
    """Wait until a process has a handler for a signal, as the system sees it, or a while."""
    status = Path(f"/proc/{process.pid}/status")
    end = time.monotonic() + (20 if status.exists() else 3)
    while time.monotonic() < end:
        time.sleep(0.05)
        if status.exists():
            caught = re.search(r"SigCgt:\s*(\w+)", status.read_text(encoding="utf-8"))
            if caught and int(caught[1], 16) >> (kind - 1) & 1:
                return


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", ["sample", "gradcheck", "evaluate"])
def test_other_commands_are_interrupted_without_a_traceback(trained, command, kind):
    words = {
        "sample": ["sample", "--out_dir=r", "--max_new_tokens=1000000"],
        "gradcheck": ["gradcheck", "--block_size=64", "--batch_size=20", "--ops=reference"],
        "evaluate": ["train", *QUICK, "--eval_only", "--eval_iters=100000000"],
    }[command]
    process = python(*words)
    if command == "sample":
        wait_until_it_catches(process, signal.SIGTERM)  # it says nothing before it has written
    else:
        lines_until(process, {"gradcheck": b"complex step", "evaluate": b"Initializing"}[command])
    process.send_signal(kind)
    process.send_signal(kind)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (cli.INTERRUPTED, b"gpt-numpy: interrupted\n")


def test_a_reader_that_goes_away_is_no_error(trained):
    for words in (["sample", "--out_dir=r", "--num_samples=20"], ["train", "--help"]):
        read, write = os.pipe()
        os.close(read)
        process = python(*words, stdout=write, env={"PYTHONUNBUFFERED": ""})
        os.close(write)
        assert process.communicate(timeout=30)[1] == b""
        assert process.returncode == 0


def test_a_training_whose_reader_goes_away_is_interrupted(folder):
    read, write = os.pipe()
    os.close(read)
    process = python("train", *QUICK, "--out_dir=r", stdout=write, env={"PYTHONUNBUFFERED": ""})
    os.close(write)
    assert process.communicate(timeout=30)[1] == b""
    assert process.returncode == cli.INTERRUPTED


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_an_output_that_cannot_be_written_is_one_line(trained):
    with open("/dev/full", "wb") as full:
        process = python("sample", "--out_dir=r", stdout=full, env={"PYTHONUNBUFFERED": ""})
        _, err = process.communicate(timeout=30)
    assert process.returncode == cli.BAD_INPUT
    assert err.count(b"\n") == 1 and b"No space left" in err


def test_characters_that_the_terminal_does_not_have_are_escaped(folder):
    (folder / "t.txt").write_text("äöü→" * 200, encoding="utf-8")
    process = python("train", *QUICK, "--out_dir=ä", env={"PYTHONIOENCODING": "ascii"})
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, b"")
    assert b"saved in \\xe4" in out


# ---------------------------------------------------------------- bench


def test_bench_times_every_layer_and_names_the_comparison(call, folder):
    status, out, err = call(
        "bench", "tiny", "--ops=reference", "--n_layer=1", "--batch_size=1", "--block_size=8"
    )
    assert (status, err) == (0, "")
    for layer in ("embedding", "attention", "MLP", "head and loss", "optimizer"):
        assert f"\n{layer} " in out
    assert out.endswith("python -m benchmarks.bench_step tiny\n")
