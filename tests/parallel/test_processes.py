"""One run in several processes: the same bits, one voice, and nobody left behind."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import gpt_numpy as gn
from gpt_numpy.base.threads import VARIABLES
from tests.parallel.processes import RUN, alive, arrays, lines, mpiexec, run, start
from tests.support.commands import ENVIRONMENT

pytest.importorskip("mpi4py", reason="mpi4py is not installed: pip install -e '.[mpi]'")
pytestmark = pytest.mark.skipif(mpiexec() is None, reason="there is no mpiexec")
PATIENCE = 10.0  # seconds until all processes of a run that fails are gone


# The reference has the bits of NumPy's BLAS, which depend on its number of threads.
KINDS = {
    "kernels": ["--ops=kernels"],
    "adamw": ["--threads=1"],
    "muon": ["--optimizer=muon", "--threads=1"],
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Of a kind of run, the folder in which one process trained, without mpiexec."""
    folder, made = tmp_path_factory.mktemp("alone"), {}

    def trained(kind):
        if kind not in made:
            words = ["train", *RUN, *KINDS[kind], f"--out_dir={kind}"]
            status, _, err = run(folder, 1, *words)
            assert status == 0, err
            made[kind] = folder / kind
        return made[kind]

    return trained


def same(ours, theirs):
    ours, theirs = arrays(ours), arrays(theirs)
    assert ours.keys() == theirs.keys()
    assert not [name for name in ours if ours[name].tobytes() != theirs[name].tobytes()]


@pytest.mark.parametrize("kind, processes", [("kernels", 4), ("adamw", 2), ("muon", 2)])
def test_the_bits_are_those_of_one_process(tmp_path, alone, kind, processes):
    words = ["train", *RUN, *KINDS[kind], "--out_dir=r", "--threads=1"]
    status, out, err = run(tmp_path, processes, *words)
    assert status == 0, err
    same(tmp_path / "r", alone(kind))
    assert lines(tmp_path / "r") == lines(alone(kind))
    assert out.count("Initializing a new model") == 1 == out.count("step 6:")
    assert f"{processes} processes" in out


def test_a_run_goes_on_in_another_number_of_processes(tmp_path, alone):
    for count, last in ((4, 2), (2, 4), (1, 6)):
        words = ["--init_from=resume"] if last > 2 else [*RUN, *KINDS["muon"]]
        words = [*words, "--out_dir=r", f"--max_iters={last}", "--threads=1"]
        status, _, err = run(tmp_path, count, "train", *words)
        assert status == 0, err
    same(tmp_path / "r", alone("muon"))


def test_evaluation_alone(tmp_path, alone):
    words = ["train", "--init_from=resume", f"--out_dir={alone('muon')}", "--eval_only=True"]
    ours, theirs = (run(tmp_path, n, *words, "--eval_full=True")[1] for n in (1, 2))
    found = [re.findall("step 7: .*", text) for text in (ours, theirs)]
    assert found[0] == found[1] and len(found[0]) == 1


def test_the_example_prints_the_digits_of_one_process(tmp_path):
    path = str(Path(gn.__file__).parents[1] / "examples" / "several_processes.py")
    commands = [sys.executable, path], [mpiexec(), "-n", "2", sys.executable, path]
    ours, theirs = (
        subprocess.run(c, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True)
        for c in commands
    )
    assert ours.stdout.splitlines()[2:] == theirs.stdout.splitlines()[2:]
    assert "1 in all, 4 of 4" in ours.stdout and "2 in all, 2 of 4" in theirs.stdout


def test_bench_times_an_update_next_to_the_model_of_its_cost(tmp_path):
    words = [word for word in RUN if word.startswith(("--n_", "--block", "--batch"))]
    words = ["bench", "--parallel", *words, "--ops=reference"]
    status, out, err = run(tmp_path, 2, *words, "--gradient_accumulation_steps=4")
    assert status == 0, err
    assert out.count("for 4 micro-batches") == out.count("the model of the cost says") == 1
    # Half of the gradients out, and half of the parameters, of 104 thousand; in MB.
    sent = float(re.search(r"it sends ([\d.]+) MB", out)[1])
    assert sent == pytest.approx(4 * parameters(words) / 1e6, abs=0.01)


def parameters(words):
    """How many parameters the model of these flags has."""
    shape = {k: int(v) for k, v in (word[2:].split("=") for word in words if "--n_" in word)}
    return gn.GPT(gn.GPTConfig(65, 16, **shape), ops="reference").n_params


@pytest.mark.parametrize(
    "words, message",
    [
        (["train", *RUN, "--gradient_accumulation_steps=3"], "use a multiple of 2"),
        (["train", "--foo=1"], "unknown setting --foo"),
        (["train", *RUN, "--out_dir=t.txt/x"], "cannot write there"),
        (["sample"], "start it without mpiexec"),
        (["bench"], "or add --parallel"),
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


EXCHANGE = """
import numpy as np
import gpt_numpy as gn
from gpt_numpy.base.threads import physical_cores, wanted_threads
from gpt_numpy.parallel.tree_sum import sum_rows
from gpt_numpy.parallel.world import ROUND

with gn.parallel.start() as world:
    assert wanted_threads() == max(1, physical_cores() // world.size)
    for size in (5, 100_000, 2 * world.size * ROUND + 7):
        rows = np.random.default_rng(size).standard_normal((world.size, size), dtype="f4")
        vector, (start, stop) = rows[world.rank].copy(), world.segment(size)
        total = sum_rows(rows.copy())
        world.add_up(vector)
        assert np.array_equal(vector[start:stop], total[start:stop])
        assert np.array_equal(vector[:start], rows[world.rank, :start])
        world.hand_on(vector)
        assert np.array_equal(vector, total)
    parts = world.numbers(np.arange(world.rank, dtype=float))
    assert parts.tolist() == [k for rank in range(world.size) for k in range(rank)]
    assert world.texts("x" * world.rank) == ["x" * rank for rank in range(world.size)]
    assert world.agree(1 << world.rank) == 2**world.size - 1
    print(world.size, "exchanged everything")
"""


def script(folder, text, processes):
    """Run a program in several processes, which choose their number of threads themselves."""
    (folder / "script.py").write_text(text, encoding="utf-8")
    command = [mpiexec(), "-n", str(processes), sys.executable, "script.py"]
    free = {key: value for key, value in ENVIRONMENT.items() if key not in VARIABLES}
    return subprocess.run(
        command, cwd=folder, env=free, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("processes", [2, 3])
def test_every_element_is_exchanged(tmp_path, processes):
    done = script(tmp_path, EXCHANGE, processes)
    assert (done.returncode, done.stdout) == (0, f"{processes} exchanged everything\n"), done.stderr


FAILING = """
import sys
import gpt_numpy as gn
with gn.parallel.start() as world:
    if world.rank == 1:
        raise gn.InputError("the disk of process 1 is gone")
    world.agree(0)
"""


def test_an_error_in_one_process_ends_all(tmp_path):
    done = script(tmp_path, FAILING, 2)
    assert done.returncode == 2
    assert done.stderr.count("the disk of process 1 is gone") == 1
