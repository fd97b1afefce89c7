"""Runs survive: small runs of the campaigns of `python -m tests.durability`, and the rest."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.base.environment import describe, differences
from gpt_numpy.base.errors import InputError
from gpt_numpy.base.threads import VARIABLES
from gpt_numpy.cli import main as cli
from gpt_numpy.cli.commands import train as train_command
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.data import dataset as datasets
from gpt_numpy.data.batches import draw_batch, training_batch
from gpt_numpy.data.token_file import ChangedFileError, TokenFile
from gpt_numpy.files import durable, locks
from gpt_numpy.training import checkpoint
from gpt_numpy.training import precompile as compiling
from gpt_numpy.training import run_folder as runs
from tests.durability import crashes, damage, interrupts, kills, ranks, resumes
from tests.durability.subject import Subject, command, digest, environment, finish, losses
from tests.parallel.processes import mpiexec

posix = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    return Subject(tmp_path_factory.mktemp("subject"), iterations=20)


@pytest.fixture
def run(subject):
    """A run of 20 iterations that has come to its end, in a folder of its own."""
    place = subject.folder / "here"
    shutil.copytree(subject.folder / "whole", place)
    yield place
    shutil.rmtree(place)


@posix
@pytest.mark.parametrize(
    ("campaign", "count"),
    [(kills, 5), (interrupts, 5), (crashes, 25), (damage, 400), (resumes, 3)],
    ids=["kills", "interrupts", "crashes", "damage", "resumes"],
)
def test_a_small_campaign_misses_nothing(tmp_path, campaign, count):
    result = campaign.campaign(tmp_path, count, seed=1)
    assert result["trials"] >= count
    assert (result["missed"], result["faults"]) == (0, [])


@pytest.mark.skipif(mpiexec() is None, reason="there is no mpiexec: pip install -e '.[mpi]'")
def test_a_small_campaign_against_processes_misses_nothing(tmp_path):
    pytest.importorskip("mpi4py", reason="mpi4py is not installed: pip install -e '.[mpi]'")
    result = ranks.campaign(tmp_path, 3, seed=1, iterations=20)
    assert (result["trials"], result["missed"], result["faults"]) == (3, 0, [])


@posix
def test_the_command_prints_a_table_and_writes_json(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.durability", "damage", "--count=8"]
        + [f"--json={tmp_path / 'r.json'}"],
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "damage             8 trials     0 missed" in done.stdout
    assert json.loads((tmp_path / "r.json").read_text())["damage"]["trials"] == 8


# ---------------------------------------------------------------- what is kept


def test_the_last_ones_are_kept_under_their_iterations(run, subject):
    kept = sorted(path.name for path in (run / "run").glob("*.npz"))
    assert kept == ["ckpt-00000018.npz", "ckpt-00000020.npz", "ckpt-best.npz", "ckpt.npz"]
    for which, iteration in (("18", 18), ("20", 20), ("last", 21)):
        path = runs.find_checkpoint(str(run / "run"), which)
        training = subject.resume(run, path)
        assert training.state.iteration == iteration
        assert digest(training) == subject.digests[iteration]
        assert path.stat().st_nlink == 1  # no two names of one file: damage to one spares the other
    with pytest.raises(InputError, match="best or last, or the iteration .* kept: 18, 20"):
        runs.find_checkpoint(str(run / "run"), "19")


def test_one_is_kept_unless_more_are_asked_for(tmp_path, subject):
    training = subject.begin(tmp_path)
    training.config = TrainConfig(**vars(training.config) | {"keep_last": 1})
    finish(training)
    kept = sorted(path.name for path in (tmp_path / "run").glob("*.npz"))
    assert kept == ["ckpt-best.npz", "ckpt.npz"]
    assert TrainConfig().keep_last == 1


def test_a_file_system_without_links_gets_copies(tmp_path, monkeypatch):
    def refuse(*names):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a").write_bytes(b"content")
    durable.preserve(tmp_path / "a", "b")
    assert (tmp_path / "b").read_bytes() == b"content"
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_a_run_killed_between_two_evaluations_without_gain_goes_on_from_its_best(
    tmp_path, subject, monkeypatch
):
    training = subject.begin(tmp_path)
    training.config = TrainConfig(**vars(training.config) | {"always_save_checkpoint": False})
    values = iter([3.0, 1.0, *[2.0] * 20])
    monkeypatch.setattr(
        "gpt_numpy.training.loop.evaluate", lambda *a: {"train": 1.0, "val": next(values)}
    )
    iterate = training._iterate

    def killed(progress):
        if training.state.iteration == 9:
            raise MemoryError  # as abrupt as a kill, for this process
        return iterate(progress)

    training._iterate = killed
    with pytest.raises(MemoryError):
        finish(training)
    assert subject.resume(tmp_path).state.iteration == 2


def test_a_best_checkpoint_that_a_crash_prevented_is_made_up_for(tmp_path, subject, monkeypatch):
    values = iter([3.0, 2.0, 1.0, *[4.0] * 20])
    monkeypatch.setattr(
        "gpt_numpy.training.loop.evaluate", lambda *a: {"train": 1.0, "val": next(values)}
    )
    training = subject.begin(tmp_path)
    save = training._save

    def crash(name):
        if name == runs.BEST and training.state.iteration == 4:
            raise MemoryError
        save(name)

    training._save = crash
    with pytest.raises(MemoryError):
        finish(training)
    best = tmp_path / "run" / runs.BEST
    assert checkpoint.load(best).progress["iteration"] == 2
    finish(subject.resume(tmp_path))
    assert checkpoint.load(best).progress["iteration"] == 4


def test_a_damaged_last_checkpoint_names_those_to_go_on_from(run):
    last = run / "run" / runs.LAST
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"ckpt-00000018\.npz, .*ckpt-best\.npz\), rename it"):
        runs.resume(str(run / "run"), {})
    (run / "run" / "ckpt-00000018.npz").rename(last)  # what it says
    assert runs.resume(str(run / "run"), {})[0].progress["iteration"] == 18


# ---------------------------------------------------------------- one run, one folder


@posix
def test_a_second_run_in_a_folder_is_refused_and_disturbs_nothing(tmp_path, subject, capsys):
    (tmp_path / "one").mkdir()
    shutil.copy(subject.folder / "text.txt", tmp_path)
    with command(tmp_path / "one", "--ops=reference", "--max_iters=1000000") as first:
        try:
            for line in first.stdout:
                if line.startswith(b"step 4:"):
                    break
            place = f"--out_dir={tmp_path / 'one' / 'run'}"
            for words in (["--init_from=resume"], [f"--data={tmp_path / 'text.txt'}", "tiny"]):
                assert cli.main(["train", *words, place]) == cli.BAD_INPUT
                said = capsys.readouterr().err
                assert f"another run is training there (process {first.pid} on " in said
            assert first.poll() is None and not (tmp_path / "one" / "run" / "previous").exists()
        finally:
            first.kill()
            first.communicate()
    assert (tmp_path / "one" / "run" / locks.NAME).exists()
    (tmp_path / "one" / "run" / f"{durable.TEMPORARY}00.npz").write_bytes(b"half")
    assert cli.main(["train", "--init_from=resume", place, "--max_iters=200"]) == cli.OK
    assert not [path for path in os.listdir(tmp_path / "one" / "run") if path[0] == "."]


def test_a_lock_is_held_once_and_given_back(tmp_path):
    for _ in range(3):
        with locks.locked(tmp_path, pytest.fail):
            assert str(os.getpid()) in (tmp_path / locks.NAME).read_text()
            with pytest.raises(InputError, match="another run is training there"):
                with locks.locked(tmp_path, pytest.fail):
                    pytest.fail("two hold it")
            assert (tmp_path / locks.NAME).exists()
    assert os.listdir(tmp_path) == []


@posix
def test_many_that_want_a_lock_never_hold_it_together(tmp_path):
    holding, most, taken = [], [0], [0]

    def want():
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            try:
                with locks.locked(tmp_path, pytest.fail):
                    holding.append(1)
                    most[0] = max(most[0], len(holding))
                    taken[0] += 1
                    holding.pop()
            except InputError:
                pass

    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1 and taken[0] > 10


@posix
def test_a_file_system_without_locks_says_so(tmp_path, monkeypatch):
    import fcntl

    def refuse(*arguments):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    said = []
    with locks.locked(tmp_path, said.append):
        pass
    assert "without locks" in said[0] and os.listdir(tmp_path) == []


# ---------------------------------------------------------------- disks and folders


@posix
def test_a_full_disk_is_one_line_and_the_last_checkpoint_is_good(tmp_path, subject):
    shutil.copy(subject.folder / "text.txt", tmp_path)
    (tmp_path / "full").mkdir()
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000)); "
        "from gpt_numpy.cli import main as cli; sys.exit(cli.main(sys.argv[1:]))"
    )
    with command(tmp_path / "full", "--ops=reference", "--max_iters=30") as process:
        process.communicate()
    before = (tmp_path / "full" / "run" / runs.LAST).read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", program, "train", "--init_from=resume", "--max_iters=60"]
        + [f"--out_dir={tmp_path / 'full' / 'run'}"],
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert done.returncode == cli.BAD_INPUT
    assert done.stderr.count("\n") == 1 and "File too large" in done.stderr
    assert (tmp_path / "full" / "run" / runs.LAST).read_bytes() == before
    assert not [path for path in os.listdir(tmp_path / "full" / "run") if path[0] == "."]


def test_a_folder_that_vanishes_is_not_made_anew(tmp_path, subject):
    training = subject.begin(tmp_path)
    evaluate = training._evaluate

    def vanish(progress):
        if training.state.iteration == 4:
            (tmp_path / "run").rename(tmp_path / "elsewhere")
        return evaluate(progress)

    training._evaluate = vanish
    with pytest.raises(InputError, match="was moved or removed|the folder is gone"):
        finish(training)
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match=r"out_dir=.*the folder is gone; the run was at"):
        training._save_last()
    assert not (tmp_path / "run").exists()
    assert checkpoint.load(tmp_path / "elsewhere" / runs.LAST).progress["iteration"] == 2


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_may_not_be_written_is_one_line(run, capsys):
    (run / "run").chmod(0o500)
    assert cli.main(["train", "--init_from=resume", f"--out_dir={run / 'run'}"]) == cli.BAD_INPUT
    (run / "run").chmod(0o700)
    assert "cannot write there" in capsys.readouterr().err


# ---------------------------------------------------------------- tokens in files


def test_tokens_in_a_file_are_those_of_an_array(tmp_path):
    tokens = np.random.default_rng(0).integers(0, 60000, 5000).astype("<u2")
    tokens.tofile(tmp_path / "t.bin")
    row = TokenFile(tmp_path / "t.bin", "<u2")
    assert (len(row), row.dtype) == (5000, np.dtype("<u2"))
    assert np.array_equal(row, tokens) and np.array_equal(row[10:-7], tokens[10:-7])
    assert row[9:3].shape == (0,)
    for draw in (draw_batch, training_batch):
        where = {"stream": 2, "step": 5} if draw is draw_batch else {"index": 17}
        for one, other in zip(
            draw(row, 7, 13, seed=3, **where), draw(tokens, 7, 13, seed=3, **where), strict=True
        ):
            assert one.dtype == other.dtype and np.array_equal(one, other)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: os.truncate(path, 100), "has changed while it was in use"),
        (lambda path: path.unlink(), "cannot be read any more"),
        (lambda path: path.write_bytes(bytes(range(200)) * 20), "has changed"),
    ],
)
def test_a_file_of_tokens_that_changes_ends_a_run_that_can_go_on(
    tmp_path, monkeypatch, capsys, change, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "mine").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("train.bin", "val.bin"):
        rng.integers(0, 9, 2000).astype("<u2").tofile(tmp_path / "data" / "mine" / name)
    path = tmp_path / "data" / "mine" / "train.bin"
    whole = path.read_bytes()
    words = ["train", "tiny", "--dataset=mine", "--n_embd=8", "--n_head=2", "--block_size=8"]
    words += ["--max_iters=12", "--eval_interval=50", "--eval_iters=1", "--ops=reference"]
    assert cli.main([*words, "--out_dir=whole"]) == cli.OK

    batch = train_command.Training._batch

    def changing(self, micro_step):
        if self.state.iteration == 7 and path.exists():
            change(path)
        return batch(self, micro_step)

    with monkeypatch.context() as patch:
        patch.setattr(train_command.Training, "_batch", changing)
        capsys.readouterr()
        assert cli.main([*words, "--out_dir=r"]) == cli.BAD_INPUT
    assert said in capsys.readouterr().err
    path.write_bytes(whole)
    assert cli.main(["train", "--init_from=resume", "--out_dir=r"]) == cli.OK
    assert losses(Path("r"))[1:] == losses(Path("whole"))[1:]
    one, other = (gn.load(f"{name}/ckpt.npz").model.params.flat for name in ("r", "whole"))
    assert np.array_equal(one, other)


def test_a_file_shortened_within_a_batch_is_noticed(tmp_path, monkeypatch):
    np.arange(100, dtype="<u2").tofile(tmp_path / "t.bin")
    row = TokenFile(tmp_path / "t.bin", "<u2")
    os.truncate(tmp_path / "t.bin", 100)
    monkeypatch.setattr("gpt_numpy.data.token_file._state", lambda file: row._state)
    assert row[40:50].tolist() == list(range(40, 50))
    with pytest.raises(ChangedFileError, match="was truncated"):
        row[45:55]


# ---------------------------------------------------------------- resuming


def resumed_with(run, capsys, *words):
    status = cli.main(["train", "--init_from=resume", f"--out_dir={run / 'run'}", *words])
    out, err = capsys.readouterr()
    return status, out, err


def test_resuming_with_other_data_names_both(run, subject, tmp_path, capsys):
    (tmp_path / "other.txt").write_text("abcd \n" * 500)
    before = subject.dataset.fingerprint[:16]
    now = datasets.open_dataset("", str(tmp_path / "other.txt")).fingerprint[:16]
    status, _, err = resumed_with(run, capsys, f"--data={tmp_path / 'other.txt'}")
    assert status == cli.BAD_INPUT
    assert "text.txt" in err and "other.txt" in err and before in err and now in err


def test_resuming_with_another_tokenizer_names_both(run, capsys, monkeypatch):
    text = datasets._from_text

    def permuted(name, content, tokenizer=None):
        dataset = text(name, content)
        other = type(dataset.tokenizer)(dataset.tokenizer.characters[::-1])
        object.__setattr__(dataset, "tokenizer", other)
        return dataset

    monkeypatch.setattr(datasets, "_from_text", permuted)
    status, _, err = resumed_with(run, capsys, "--max_iters=22")
    assert status == cli.BAD_INPUT and "resume with the same tokenizer" in err
    assert err.count("a tokenizer of 6 tokens with fingerprint") == 2


def test_resuming_elsewhere_says_that_bits_may_differ(run, capsys, monkeypatch):
    status, out, _ = resumed_with(run, capsys, "--max_iters=21")
    assert status == cli.OK and "may differ" not in out
    monkeypatch.setattr("gpt_numpy.base.environment.processor", lambda: "Z80 (z80)")
    status, out, _ = resumed_with(run, capsys, "--max_iters=22")
    assert status == cli.OK
    assert "the last bits may differ from those of an uninterrupted run: processor " in out
    assert "now" in out and "Z80 (z80) now" in out


@pytest.mark.parametrize("name", ["gpt_numpy", "numpy", "processor", "BLAS", "numba", "llvmlite"])
def test_what_bits_depend_on_is_recorded_and_compared(name):
    now = describe("kernels")
    assert now[name] not in ("", "unknown")
    assert differences(now | {name: "1"}, now) == [f"{name} 1 then, {now[name]} now"]
    assert differences(now, now) == differences({}, now) == []
    assert differences(now | {"python": "2.7"}, now) == []
    assert "numba" not in describe("reference")


def test_threads_change_the_bits_of_the_blas_alone(monkeypatch):
    for name in VARIABLES:
        monkeypatch.setenv(name, "2")
    before = describe("kernels"), describe("reference")
    for name in VARIABLES:
        monkeypatch.setenv(name, "7")
    assert differences(before[0], describe("kernels")) == []
    assert differences(before[1], describe("reference")) == ["threads of the BLAS 2 then, 7 now"]


# ---------------------------------------------------------------- compiling and stopping


def test_an_interrupt_while_compiling_ends_at_once(tmp_path, subject, monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(compiling, "one_step", lambda *arguments: release.wait(60))
    training = subject.begin(tmp_path)
    vars(training.model)["ops_name"] = "kernels"
    threading.Timer(0.2, lambda: signal.raise_signal(signal.SIGINT)).start()
    start = time.monotonic()
    assert finish(training) == "interrupted"
    assert time.monotonic() - start < 2
    release.set()
    faults, iteration = subject.faults(tmp_path)
    assert (faults, iteration) == ([], 0)


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "relu"])
def test_the_step_before_the_first_compiles_all_that_training_takes(
    tmp_path, monkeypatch, activation
):
    from gpt_numpy.kernels.engine.jit import kernel

    config = TrainConfig(out_dir=str(tmp_path))
    shape = GPTConfig(50, block_size=40, n_layer=2, n_head=2, n_embd=24, dropout=0.1)
    model = gn.GPT(type(shape)(**vars(shape) | {"activation": activation}), ops="kernels")
    for one in kernel.every:
        monkeypatch.setattr(one, "_compiled", {})
    compiling.one_step(model, config)
    compiled = {one.name for one in kernel.every if one._compiled}
    tokens = np.zeros((5, 40), np.int64)
    for k in range(2):
        model.forward(tokens, tokens, dropout_key=5)
        model.backward(accumulate=k > 0)
    gn.AdamW(model).step()
    model.forward(tokens, tokens)
    assert {one.name for one in kernel.every if one._compiled} == compiled != set()


def test_an_error_in_the_background_is_left_to_the_first_step(tmp_path, subject, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(compiling, "one_step", fail)
    model = subject.begin(tmp_path).model
    vars(model)["ops_name"] = "kernels"
    compiling.compile_in_background(model, TrainConfig(), lambda: None)
