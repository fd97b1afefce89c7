"""A failure, a crash and a power cut at every single input/output call of a save.

What is tried is all that an evaluation saves: the last checkpoint kept under its number, the new
last one, the new best one, and the oldest removed.
"""

import errno
import hashlib
import os
import shutil

import gpt_numpy as gn
from gpt_numpy.files.durable import TEMPORARY
from gpt_numpy.training import run_folder as runs
from tests.durability.disk import Disk, states
from tests.durability.subject import Subject

ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT, errno.ENOENT, errno.EACCES)


def campaign(folder, count, seed):
    """Every call with every error, every prefix of the calls with everything that may be lost.

    A `count` other than 0 lets that many calls fail, with one error; `seed` plays no part.
    """
    saving = Saving(folder)
    errors = ERRORS[:1] if count else ERRORS
    calls = saving.calls()
    result = {"trials": 0, "missed": 0, "faults": [], "calls of a save": len(calls)}
    for number in range(0, len(calls), max(1, len(calls) // count) if count else 1):
        for error in errors:
            fault = saving.failing(number, calls[number][0], error)
            _count(result, fault and f"{calls[number][0]} fails ({os.strerror(error)}): {fault}")
    result["failing calls"] = result["trials"]
    for number in range(len(calls) + 1):
        for state in states(saving.before, calls[:number]):
            fault = saving.found(state)
            after = calls[number - 1][0] if number else "nothing"
            _count(result, fault and f"a crash after call {number} ({after}): {fault}")
    result["states after a crash"] = result["trials"] - result["failing calls"]
    result["different states"] = len(saving.known)
    return result


def _count(result, fault):
    result["trials"] += 1
    result["missed"] += bool(fault)
    result["faults"] += [fault] if fault else []


class Saving:
    """A run that stands before a save, again and again."""

    def __init__(self, folder):
        self.subject = Subject(folder, iterations=10)
        self.folder, self.run = folder / "whole", folder / "whole" / "run"
        self.before = {p.name: p.read_bytes() for p in sorted(self.run.glob("*.npz"))}
        self.known, self.whole = {}, set()
        self._again()
        self.training = self.subject.resume(self.folder)
        self.training._iterate = None  # only what was there is saved, as a later iteration
        self.training._saved_iteration = self.training.state.iteration
        self.training.state.iteration += 1
        assert len(self.before) == 4, "something is removed in the save that is tried"
        self.after = None

    def _again(self):
        shutil.rmtree(self.run)
        self.run.mkdir()
        for name, data in self.before.items():
            (self.run / name).write_bytes(data)

    def _save(self, **how):
        self._again()
        self.training._saved_iteration = self.training.state.iteration - 1
        with Disk(self.run, **how).between() as disk:
            self.training._save_last()
            self.training._save(runs.BEST)
        return disk

    def calls(self):
        """What a save calls, one after the other; the files that it makes are noted."""
        disk = self._save()
        self.after = {p.name: p.read_bytes() for p in self.run.glob("*.npz")}
        self.whole = {*self.before.values(), *self.after.values()}
        for name, data in (self.before | self.after).items():
            (self.run / name).write_bytes(data)
            gn.load(self.run / name, ops="reference")  # so each of them is a good checkpoint
        return disk.calls

    def failing(self, number, kind, error):
        """What is wrong when one call, of that kind, fails; as a text."""
        try:
            self._save(fail_at=number, error=error)
        except gn.InputError as caught:
            if os.strerror(error) not in str(caught) or "\n" in str(caught):
                return f"unclear message: {caught}"
        except BaseException as caught:
            return f"another kind of error: {caught!r}"
        left_over = list(self.run.glob(f"{TEMPORARY}*"))
        fault = self._fault({p.name: p.read_bytes() for p in self.run.iterdir()})
        self._save()
        if {p.name: p.read_bytes() for p in self.run.glob("*.npz")} != self.after:
            fault = "the next save is not complete"
        # One may stay whose very removal failed; the next start removes it.
        return fault or (f"{left_over} is left" if len(left_over) > (kind == "unlink") else "")

    def found(self, state):
        """What is wrong with the files that a crash left, as a text."""
        key = hashlib.sha256(repr(sorted(state.items())).encode()).digest()
        if key not in self.known:
            self.known[key] = self._fault(state)
        return self.known[key]

    def _fault(self, state):
        """Checkpoints are old or new, each in full, and the last one is there."""
        visible = {n: data for n, data in state.items() if not n.startswith(TEMPORARY)}
        broken = [name for name, data in visible.items() if data not in self.whole]
        if broken:
            return f"{broken} is neither the old file nor the new one"
        for name in (runs.LAST, runs.BEST):
            if state.get(name) not in (self.before[name], self.after[name]):
                return f"{name} is lost"
        return ""
