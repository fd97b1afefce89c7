"""SIGKILL to one of several processes at random moments: all end, and nothing is lost or locked.

Each trial kills one process of a run, or the mpiexec that started them, and the next goes on in
another number of processes. Needs mpi4py and mpiexec (extra `mpi`), and Linux's /proc.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from gpt_numpy.base.errors import InputError
from gpt_numpy.files.durable import TEMPORARY
from gpt_numpy.files.locks import locked
from gpt_numpy.training import run_folder as runs
from tests.durability.subject import Subject, environment, losses
from tests.parallel.processes import mpiexec

PATIENCE = 10.0  # seconds until all processes must be gone
LONGEST = 1.0  # seconds from the first line to the kill
STARTING = 1.2  # of those killed while they start: seconds from the start to the kill
COUNTS = (2, 4, 2, 4, 2, 3)  # processes, in turn
# Of more than one chunk, so that every process has parameters to update; 12 micro-batches.
WORDS = ["--n_embd=48", "--gradient_accumulation_steps=12", "--batch_size=1"]
MARK = "GPT_NUMPY_TRIAL"  # a variable that all processes of a trial have


def campaign(folder, count, seed, iterations=60):
    """Kill a process of a run, resume it in another number of them, until it has come to its end.

    Three processes divide the sums in another way than a power of two, so the bits of such a run
    are not compared, only that its checkpoints are whole.
    """
    subject, rng = Subject(folder, iterations=iterations, more=WORDS), random.Random(seed)
    result = {"trials": 0, "missed": 0, "faults": [], "within a save": 0, "while starting": 0}
    result |= {
        "mpiexec itself": 0,
        "runs that came to their end": 0,
        "longest wait in seconds": 0.0,
    }
    chain, iteration, same_bits = folder / "chain", 0, True
    chain.mkdir()
    while result["trials"] < count:
        processes = COUNTS[result["trials"] % len(COUNTS)]
        same_bits = same_bits and processes != 3
        ended, killed, seconds = _run_and_kill(chain, subject.words, processes, rng)
        left_over = list((chain / "run").glob(f"{TEMPORARY}*"))
        faults, iteration = _faults(subject, chain, iteration, same_bits=same_bits)
        if seconds > PATIENCE:
            faults.append(f"processes were still there {PATIENCE} s after {killed} was killed")
        if not ended:
            result["trials"] += 1
            result["within a save"] += bool(left_over)
            result["while starting"] += killed.endswith("starting")
            result["mpiexec itself"] += killed.startswith("mpiexec")
            result["longest wait in seconds"] = max(
                result["longest wait in seconds"], round(seconds, 2)
            )
        if iteration == max(subject.digests):
            if same_bits and losses(chain / "run") != subject.log:
                faults.append("the log of the run differs from that of one process")
            result["runs that came to their end"] += 1
            shutil.rmtree(chain)
            chain.mkdir()
            iteration, same_bits = 0, True
        result["missed"] += bool(faults)
        result["faults"] += faults
    return result


def _faults(subject, chain, at_least, *, same_bits):
    """What is wrong with the folder of a run; and the iteration of its last checkpoint."""
    found, iteration = [], 0
    if not (chain / "run").exists():
        return (["the folder is gone"] if at_least else []), 0
    if same_bits:
        found, iteration = subject.faults(chain, at_least)
    elif (chain / "run" / runs.LAST).exists():
        iteration = subject.resume(chain).state.iteration
        if iteration < at_least:
            found.append(f"went back from iteration {at_least} to {iteration}")
    try:
        with locked(chain / "run", found.append):
            pass
    except InputError as error:
        found.append(f"locked: {error}")
    return found, iteration


def _run_and_kill(chain, words, processes, rng):
    """Whether it came to its end before the kill, what was killed, and seconds until all ended."""
    start = ["--init_from=resume"] if (chain / "run" / runs.LAST).exists() else words
    mark = f"{chain}-{time.monotonic_ns()}"
    line = [mpiexec(), "-n", str(processes), sys.executable, "-m", "gpt_numpy", "train"]
    line += [*start, f"--out_dir={chain / 'run'}", "--threads=1", "--ops=reference"]
    starting = rng.random() < 0.2
    with subprocess.Popen(
        line, env=environment(**{MARK: mark}), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        if starting:
            time.sleep(rng.uniform(0, STARTING))
        else:
            for printed in process.stdout:
                if printed.startswith((b"num non-decayed", b"Resuming")):
                    break
            time.sleep(rng.uniform(0, LONGEST))
        everyone = marked(mark)
        ranks = [pid for pid in everyone if is_rank(pid)]
        victim = rng.choice([process.pid, *ranks, *ranks])
        ended = process.poll() is not None
        if not ended:
            with contextlib.suppress(ProcessLookupError):  # it may just have ended
                os.kill(victim, signal.SIGKILL)
        killed, what = time.monotonic(), "mpiexec" if victim == process.pid else "a process"
        process.communicate()
        while marked(mark) or any(map(holds_files, everyone)):
            if time.monotonic() - killed > PATIENCE:
                break
            time.sleep(0.02)
        seconds = time.monotonic() - killed
        for pid in marked(mark):  # they would disturb the next trial
            os.kill(pid, signal.SIGKILL)
    if ended and process.returncode:
        raise RuntimeError(f"exit status {process.returncode} before anything was killed")
    return ended, f"{what}{' while starting' * starting}", seconds


def marked(mark):
    """The processes that have this mark among their variables."""
    found, wanted = [], f"{MARK}={mark}".encode()
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if wanted in entry.read_bytes().split(b"\0"):
                found.append(int(entry.parent.name))
        except OSError:  # of another user, or gone
            continue
    return found


def holds_files(pid):
    """Whether a process is there and no zombie: one that ends loses its variables before its files,
    and with these its lock.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


def is_rank(pid):
    """Whether a process is one of those that compute."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(sys.executable.encode())
    except OSError:
        return False
