"""SIGKILL at random moments: no checkpoint is lost, and every resume goes on to the bit."""

import random
import shutil
import time

from gpt_numpy.files.durable import TEMPORARY
from tests.durability.subject import Subject, command, losses

LONGEST = 0.5  # seconds from the first line to the kill


def campaign(folder, count, seed):
    """Kill a run, resume it, kill it again, until it has come to its end; then begin another."""
    subject, rng = Subject(folder), random.Random(seed)
    result = {"trials": 0, "missed": 0, "faults": [], "within a save": 0, "before the first": 0}
    result["runs that came to their end"] = 0
    chain, iteration = folder / "chain", 0
    chain.mkdir()
    while result["trials"] < count:
        ended = _run_and_kill(chain, rng.uniform(0, LONGEST))
        left_over = list((chain / "run").glob(f"{TEMPORARY}*"))
        faults, iteration = subject.faults(chain, at_least=iteration)
        if ended and (left_over or (chain / "run" / ".lock").exists()):
            faults.append("what the killed processes left was not cleared away")
        if not ended:
            result["trials"] += 1
            result["within a save"] += bool(left_over)
            result["before the first"] += iteration == 0
        if iteration == max(subject.digests):
            if losses(chain / "run") != subject.log:
                faults.append("the log of the run differs from that of the run never stopped")
            result["runs that came to their end"] += 1
            shutil.rmtree(chain)
            chain.mkdir()
            iteration = 0
        result["missed"] += bool(faults)
        result["faults"] += faults
    return result


def _run_and_kill(chain, seconds):
    """Whether the run came to its end before it was killed."""
    with command(chain, "--ops=reference") as process:
        for line in process.stdout:
            if line.startswith((b"num non-decayed", b"Resuming")):
                break
        time.sleep(seconds)
        process.kill()
        _, err = process.communicate()
    if process.returncode not in (0, -9):
        raise RuntimeError(f"exit status {process.returncode}: {err.decode()}")
    return process.returncode == 0
