"""One run in several processes: the same bits, one voice, and nobody left behind."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

import gpt_numpy as gn
from tests.parallel.processes import RUN, alive, arrays, lines, mpiexec, run, start
from tests.support.commands import ENVIRONMENT

pytest.importorskip("mpi4py", reason="mpi4py is not installed: pip install -e '.[mpi]'")
pytestmark = pytest.mark.skipif(mpiexec() is None, reason="there is no mpiexec")
PATIENCE = 10.0  # seconds until all processes of a run that fails are gone


@pytest.fixture(scope="module", params=["adamw", "muon"])
def alone(request, tmp_path_factory):
    """The folder in which one process trained, without mpiexec."""
    folder = tmp_path_factory.mktemp("alone")
    status, _, err = run(folder, 1, "train", *RUN, f"--optimizer={request.param}", "--out_dir=r")
    assert status == 0, err
    return folder / "r"


def same(ours, theirs):
    ours, theirs = arrays(ours), arrays(theirs)
    assert ours.keys() == theirs.keys()
    assert not [name for name in ours if ours[name].tobytes() != theirs[name].tobytes()]


def optimizer(folder):
    """The flag with which the run in this folder was started."""
    return f"--optimizer={gn.load(folder / 'ckpt.npz').optimizer.KIND}"


@pytest.mark.parametrize("processes", [2, 4])
def test_the_bits_are_those_of_one_process(tmp_path, alone, processes):
    words = ["train", *RUN, optimizer(alone), "--out_dir=r", "--threads=1"]
    status, out, err = run(tmp_path, processes, *words)
    assert status == 0, err
    same(tmp_path / "r", alone)
    assert lines(tmp_path / "r") == lines(alone)
    assert out.count("Initializing a new model") == 1 == out.count("step 6:")
    assert f"{processes} processes" in out


def test_a_run_goes_on_in_another_number_of_processes(tmp_path, alone):
    for count, last in ((4, 2), (2, 4), (1, 6)):
        words = ["--init_from=resume"] if last > 2 else [*RUN, optimizer(alone)]
        words = [*words, "--out_dir=r", f"--max_iters={last}"]
        status, _, err = run(tmp_path, count, "train", *words)
        assert status == 0, err
    same(tmp_path / "r", alone)


def test_evaluation_alone(tmp_path, alone):
    words = ["train", "--init_from=resume", f"--out_dir={alone}", "--eval_only=True"]
    ours, theirs = (run(tmp_path, n, *words, "--eval_full=True")[1] for n in (1, 2))
    found = [re.findall("step 7: .*", text) for text in (ours, theirs)]
    assert found[0] == found[1] and len(found[0]) == 1


@pytest.mark.parametrize(
    "words, message",
    [
        (["train", *RUN, "--gradient_accumulation_steps=3"], "use a multiple of 2"),
        (["train", "--foo=1"], "unknown setting --foo"),
        (["train", *RUN, "--out_dir=t.txt/x"], "cannot write there"),
        (["sample"], "start it without mpiexec"),
        (["train", "--init_from=resume", "--out_dir=nothing"], "no such folder"),
    ],
)
def test_bad_input_is_reported_once(tmp_path, words, message):
    status, _, err = run(tmp_path, 2, *words)
    assert (status, err.count("gpt-numpy:")) == (2, 1), err
    assert message in err
    assert [path.name for path in tmp_path.iterdir()] == ["t.txt"]  # nothing half begun


def different(folder, words, other):
    """Run two processes with settings of their own each."""
    ours = [sys.executable, "-m", "gpt_numpy", "train", *RUN]
    command = [mpiexec(), "-n", "1", *ours, *words, ":", "-n", "1", *ours, *other]
    done = subprocess.run(
        command,
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "words, other, message",
    [
        (["--data=t.txt"], ["--data=u.txt"], "the data of process 1"),
        (["--seed=1"], ["--seed=2"], "the settings of process 1"),
        (["--out_dir=a"], ["--out_dir=b"], "of process 1"),
        (["--data=t.txt"], ["--data=missing.txt"], "process 1: "),
    ],
)
def test_processes_that_differ_are_refused(tmp_path, words, other, message):
    for name, text in (("t.txt", "to be or not "), ("u.txt", "or to be not ")):
        (tmp_path / name).write_text(text * 50, encoding="utf-8")
    status, err = different(tmp_path, words, other)
    assert (status, err.count("gpt-numpy:")) == (2, 1), err
    assert message in err


def test_a_killed_process_ends_all(tmp_path):
    words = ["train", *RUN, "--max_iters=100000", "--out_dir=killed", "--always_save_checkpoint=1"]
    with start(tmp_path, 2, *words) as process:
        for line in process.stdout:
            if line.startswith("step 6"):
                break
        os.kill(max(alive("--out_dir=killed")), signal.SIGKILL)
        killed = time.monotonic()
        process.communicate(timeout=60)
    assert process.returncode != 0
    while alive("--out_dir=killed") and time.monotonic() - killed < PATIENCE:
        time.sleep(0.1)
    assert not alive("--out_dir=killed")
    progress = gn.load(tmp_path / "killed" / "ckpt.npz").progress
    words = ["train", "--init_from=resume", "--out_dir=killed"]
    status, _, err = run(tmp_path, 1, *words, f"--max_iters={progress['iteration']}")
    assert status == 0, err  # whole, and not locked


@pytest.mark.parametrize("to_one", [True, False])
def test_a_signal_ends_all_at_the_same_update(tmp_path, to_one):
    words = ["train", *RUN, "--max_iters=100000", "--out_dir=stopped"]
    with start(tmp_path, 2, *words) as process:
        for line in process.stdout:
            if line.startswith("iter 2"):
                break
        os.kill(max(alive("--out_dir=stopped")) if to_one else process.pid, signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out.count("interrupted: iteration") == 1
    iteration = int(re.search(r"interrupted: iteration (\d+)", out)[1])
    assert gn.load(tmp_path / "stopped" / "ckpt.npz").progress["iteration"] == iteration
    assert not (tmp_path / "stopped" / ".lock").exists()


FAILING = """
import sys
import gpt_numpy as gn
with gn.parallel.start() as world:
    if world.rank == 1:
        raise gn.InputError("the disk of process 1 is gone")
    world.agree(0)
"""


def test_an_error_in_one_process_ends_all(tmp_path):
    (tmp_path / "failing.py").write_text(FAILING, encoding="utf-8")
    done = subprocess.run(
        [mpiexec(), "-n", "2", sys.executable, "failing.py"],
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("the disk of process 1 is gone") == 1
