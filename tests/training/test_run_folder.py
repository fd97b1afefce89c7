"""The folder of a run: no start, kill or resume loses what a run has come to."""

import os
import shutil
from pathlib import Path

import pytest

import gpt_numpy as gn
from gpt_numpy.base.errors import InputError, NotFiniteError
from gpt_numpy.cli import main as cli
from gpt_numpy.cli.commands import train as train_command
from gpt_numpy.training import run_folder as runs
from tests.durability.disk import Disk

QUICK = [
    *("tiny", "--n_layer=1", "--n_head=1", "--n_embd=4", "--block_size=8", "--batch_size=2"),
    *("--ops=reference", "--eval_iters=1", "--eval_interval=4", "--max_iters=8", "--keep_last=3"),
    *("--data=text.txt", "--out_dir=r", "--always_save_checkpoint=True"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("the quick brown fox " * 50, encoding="utf-8")
    return tmp_path


@pytest.fixture
def finished(folder):
    """A finished run in r/: the content of its files, by name."""
    assert cli.main(["train", *QUICK]) == 0
    return contents("r")


def contents(place):
    return {path.name: path.read_bytes() for path in Path(place).iterdir() if path.is_file()}


def everything():
    return {path.read_bytes() for path in Path("r").rglob("*") if path.is_file()}


def test_what_a_run_leaves(finished):
    assert sorted(finished) == [
        *("ckpt-00000004.npz", "ckpt-00000008.npz", "ckpt-best.npz", "ckpt.npz", "log.jsonl")
    ]


@pytest.mark.parametrize("error", [NotFiniteError("nan"), MemoryError(), KeyboardInterrupt()])
@pytest.mark.parametrize("name", ["_evaluate", "_iterate"])
def test_no_number_of_starts_that_fail_wipes_a_finished_run(
    finished, monkeypatch, capsys, error, name
):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(train_command.Training, name, fail)
    for _ in range(3):
        assert cli.main(["train", *QUICK]) != 0
        assert set(finished.values()) <= everything()
    assert contents("r/previous") == finished


def test_the_folder_of_a_start_that_failed_says_where_the_run_before_is(finished, capsys):
    runs.begin("r", print)
    os.rename("r/previous", "r/previous-2")
    (Path("r") / runs.LOG).write_text("{}\n")
    assert cli.main(["train", "--init_from=resume", "--out_dir=r"]) == cli.BAD_INPUT
    said = capsys.readouterr().err
    assert "no checkpoint (ckpt.npz)" in said and said.endswith("use --out_dir=r/previous-2\n")
    words = ["--init_from=resume", "--out_dir=r/previous-2", "--max_iters=9"]
    assert cli.main(["train", *words]) == cli.OK


def test_each_run_moves_to_a_subfolder_of_its_own(finished, capsys):
    for number in range(2, 12):
        runs.begin("r", print)
        (Path("r") / runs.LAST).write_bytes(b"%d" % number)
        (Path("r") / runs.LOG).write_bytes(b"log")
    assert contents("r/previous") == finished
    assert contents("r/previous-10") == {runs.LAST: b"10", runs.LOG: b"log"}
    assert "moved the earlier run in r to r/previous-10\n" in capsys.readouterr().out
    shutil.rmtree("r/previous-3")
    for name in contents("r"):
        (Path("r") / name).unlink()
    with pytest.raises(InputError, match="use --out_dir=r/previous-10$"):
        runs.find_checkpoint("r", "last")


def test_an_empty_log_is_no_run(folder, capsys):
    for _ in range(3):
        runs.begin("r", print)
    assert (os.listdir("r"), capsys.readouterr().out) == ([runs.LOG], "")


def test_a_start_killed_between_any_two_renames_loses_nothing(finished, capsys):
    def start(**how):
        with Disk(Path("r").resolve(), **how).between() as disk:
            runs.begin("r", print)
        return [call for call in disk.calls if call[0] == "replace"]

    count = len(start())
    assert count == len(finished) == 5
    for number in range(count):
        shutil.rmtree("r")
        Path("r").mkdir()
        for name, data in finished.items():
            (Path("r") / name).write_bytes(data)
        with pytest.raises(InputError, match="cannot write there"):
            start(fail_at=number)
        assert set(finished.values()) == everything()
        # It can be resumed, as it was; and the next start moves the rest to the same place.
        assert runs.find_checkpoint("r", "last") == Path("r") / runs.LAST
        start()
        assert contents("r/previous") == finished
        assert os.listdir("r/") in ([runs.LOG, "previous"], ["previous", runs.LOG])


# ---------------------------------------------------------------- resuming


@pytest.mark.parametrize(
    ("left", "taken"),
    [
        (["ckpt-best.npz"], "ckpt-best.npz"),
        (["ckpt-00000004.npz", "ckpt-00000008.npz", "ckpt-best.npz"], "ckpt-00000008.npz"),
    ],
)
def test_a_run_without_its_last_checkpoint_resumes_from_what_is_left(finished, capsys, left, taken):
    whole = gn.load("r/ckpt.npz", ops="reference").model.params.flat
    for name in finished.keys() - {*left, runs.LOG}:
        (Path("r") / name).unlink()
    capsys.readouterr()
    assert cli.main(["train", "--init_from=resume", "--out_dir=r"]) == cli.OK
    said = capsys.readouterr().out
    assert f"no ckpt.npz in r: resuming from {taken}\n" in said
    assert (gn.load("r/ckpt.npz", ops="reference").model.params.flat == whole).all()


def test_best_and_last_stand_in_for_each_other(folder):
    Path("r").mkdir()
    for name in ("ckpt-00000004.npz", "ckpt-00000012.npz", "ckpt.npz", "ckpt-best.npz"):
        (Path("r") / name).write_bytes(b"x")

    def found(which):
        return runs.find_checkpoint("r", which).name

    assert (found("best"), found("last")) == ("ckpt-best.npz", "ckpt.npz")
    (Path("r") / "ckpt.npz").unlink()
    assert (found("best"), found("last")) == ("ckpt-best.npz", "ckpt-00000012.npz")
    (Path("r") / "ckpt-best.npz").unlink()
    assert (found("best"), found("last")) == ("ckpt-00000012.npz",) * 2
    assert found("4") == "ckpt-00000004.npz"
    (Path("r") / "ckpt.npz").write_bytes(b"x")
    assert (found("best"), found("last")) == ("ckpt.npz", "ckpt.npz")


# ---------------------------------------------------------------- which ones are kept


def names(place):
    return sorted(int(path.stem[5:]) for path in place.glob("ckpt-*.npz"))


@pytest.mark.parametrize("order", [1, -1])
def test_the_last_are_kept_by_iteration_whatever_the_clock_says(tmp_path, order):
    for k in (5, 9, 10, 100_000_000):
        path = tmp_path / f"ckpt-{k:08d}.npz"
        path.write_bytes(b"x")
        os.utime(path, (10**9 + order * k, 10**9 + order * k))
    runs.drop_oldest(tmp_path, 2, 100_000_001)
    assert names(tmp_path) == [10, 100_000_000]


def test_checkpoints_beyond_this_iteration_are_of_another_continuation_and_stay(tmp_path):
    for k in (2, 4, 6, 50, 60):
        (tmp_path / f"ckpt-{k:08d}.npz").write_bytes(b"x")
    runs.drop_oldest(tmp_path, 2, 7)
    assert names(tmp_path) == [4, 6, 50, 60]
    runs.drop_oldest(tmp_path, 3, 7)
    assert names(tmp_path) == [4, 6, 50, 60]


def test_an_earlier_checkpoint_is_the_last_one_as_it_was(tmp_path):
    runs.keep_earlier(tmp_path, 7)  # there is none yet
    assert os.listdir(tmp_path) == []
    (tmp_path / runs.LAST).write_bytes(b"7")
    runs.keep_earlier(tmp_path, 7)
    assert contents(tmp_path) == {"ckpt-00000007.npz": b"7", runs.LAST: b"7"}


def test_the_settings_of_the_optimizer_can_be_changed_on_resuming(finished):
    changed = {"grad_clip": 0.25, "beta1": 0.5, "beta2": 0.75, "weight_decay": 0.5, "dropout": 0.5}
    run, settings = runs.resume("r", changed)
    assert (run.optimizer.grad_clip, run.optimizer.betas) == (0.25, (0.5, 0.75))
    assert (run.optimizer.weight_decay, run.model.config.dropout) == (0.5, 0.5)
    assert (run.config.dropout, settings.beta2) == (0.5, 0.75)
    run, settings = runs.resume("r", {})
    assert (run.optimizer.grad_clip, run.optimizer.betas) == (1.0, (0.9, 0.99))
    assert (run.model.config.dropout, run.optimizer.weight_decay) == (0.0, 0.1)
    assert (settings.out_dir, settings.init_from) == ("r", "resume")


def test_a_resumed_run_may_name_a_dataset_instead_of_its_file(finished):
    assert runs.resume("r", {})[1].data == "text.txt"
    assert runs.resume("r", {"dataset": "mine"})[1].data == ""
    assert runs.resume("r", {"dataset": "mine", "data": "b.txt"})[1].data == "b.txt"


@pytest.mark.parametrize("name", ["dtype", "n_layer"])
def test_a_resumed_run_keeps_its_shape_and_dtype(finished, name):
    value, other = {"dtype": ("float32", "float64"), "n_layer": (1, 2)}[name]
    runs.resume("r", {name: value})
    with pytest.raises(InputError, match=f"{name}={other}, but the run in r has {name}={value}"):
        runs.resume("r", {name: other})
