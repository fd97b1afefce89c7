"""A signal at random moments, once or twice: an end in time, and a valid checkpoint.

SIGINT, SIGTERM or SIGHUP. One trial in ten interrupts a run whose kernels are being compiled.
"""

import contextlib
import random
import shutil
import time

from gpt_numpy.base.signals import KINDS
from gpt_numpy.training import run_folder as runs
from tests.durability.subject import ITERATIONS, Subject, command

LIMIT = 2.0  # seconds from the signal to the end; a micro-step of this run takes a millisecond
LONGEST, COMPILING = 0.5, 8.0  # seconds in which the signal comes, after the run has begun
INTERRUPTED = 130


def campaign(folder, count, seed):
    """Interrupt a run, resume it, interrupt it again; some while they compile."""
    subject, rng = Subject(folder), random.Random(seed)
    result = {"trials": 0, "missed": 0, "faults": [], "while compiling": 0, "second signals": 0}
    result["seconds to the end, at most"] = 0.0
    iteration = 0
    while result["trials"] < count:
        compiling = result["trials"] % 10 == 9
        place = folder / ("compiled" if compiling else "chain")
        if compiling:
            shutil.rmtree(place, ignore_errors=True)
        place.mkdir(exist_ok=True)
        kind, again = rng.choice(KINDS), rng.random() < 0.5
        moment = rng.uniform(0, COMPILING if compiling else LONGEST)
        status, seconds, err = _interrupt(place, compiling, kind, again, moment)
        if status == 0:  # it came to its end before the signal: nothing was tried
            shutil.rmtree(place)
            iteration = 0
            continue
        faults = _faults(status, seconds, err)
        result["seconds to the end, at most"] = round(
            max(result["seconds to the end, at most"], seconds), 3
        )
        if not (place / "run" / runs.LAST).exists():
            faults.append("there is no checkpoint")
        more, reached = subject.faults(place, at_least=0 if compiling else iteration)
        faults += more
        iteration = iteration if compiling else reached
        result["trials"] += 1
        result["while compiling"] += compiling
        result["second signals"] += again
        result["missed"] += bool(faults)
        result["faults"] += faults
        if iteration > ITERATIONS:
            shutil.rmtree(place)
            iteration = 0
    return result


def _interrupt(place, compiling, kind, again, moment):
    """The exit status, the seconds from the signal to the end, and the standard error."""
    ops, more = "--ops=reference", {}
    if compiling:
        ops, more = "--ops=kernels", {"NUMBA_CACHE_DIR": str(place / "machine code")}
    with command(place, ops, **more) as process:
        for line in process.stdout:
            if line.startswith((b"step", b"iter")) or (compiling and b"non-decayed" in line):
                break
        time.sleep(moment)
        start = time.monotonic()
        process.send_signal(kind)
        if again:
            time.sleep(moment % 0.05)
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(kind)
        _, err = process.communicate()
        return process.returncode, time.monotonic() - start, err.decode()


def _faults(status, seconds, err):
    faults = []
    if status != INTERRUPTED:
        faults.append(f"exit status {status}: {err[-300:]}")
    if seconds > LIMIT:
        faults.append(f"it took {seconds:.2f} s to end")
    if "Traceback" in err or "Exception" in err:
        faults.append(f"not a message for people: {err[-300:]}")
    return faults
