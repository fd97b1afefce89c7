"""Apply each mutation to a copy of the package and run its checks there, in a process of its own.

The unmutated copy goes first: on it every check has to pass, and its machine code is what mutants
take over for the kernels that they leave alone.
"""

import json
import os
import queue
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from gpt_numpy.base.errors import InputError
from gpt_numpy.gradients.mutation import copy_package, mutated
from tests.mutations.checks import nodes
from tests.mutations.mistake import Mistake

TESTS = Path(__file__).resolve().parents[1]
LIMIT = 150.0  # seconds for a mutant; the unmutated code has to do with a fifth
KILLED, EQUIVALENT, MISSED, SURVIVED, BROKEN = (
    "killed", "equivalent", "missed", "SURVIVED", "BROKEN",
)  # fmt: skip
GOOD = (KILLED, EQUIVALENT)


@dataclass
class Verdict:
    """What became of a mutant: `saw` says of each check whether it noticed."""

    name: str
    verdict: str
    saw: dict[str, bool]
    seconds: float
    why: str = ""

    @property
    def ok(self) -> bool:
        """Whether it was killed as expected, or is equivalent as proven."""
        return self.verdict in GOOD


@dataclass
class Run:
    """One run of tests on a copy: outcomes by test; `status` is None when time ran out."""

    status: int | None
    outcomes: dict[str, str]
    seconds: float
    output: str = field(repr=False, default="")

    def of(self, check: str) -> set[str]:
        """The different outcomes of a check's tests; "nothing" for a test that did not come up."""
        found = set()
        for node in nodes(check):
            of_node = {o for n, o in self.outcomes.items() if n == node or n.startswith(f"{node}[")}
            found |= of_node or {"nothing"}
        return found


class Copy:
    """A copy of the package and its tests, in which one mutation at a time is made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.package = copy_package(folder)
        shutil.copytree(TESTS, folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("setup.cfg", "pyproject.toml"):
            shutil.copy2(TESTS.parent / name, folder)

    def run(
        self, checks: Iterable[str], *, cache: Path, machine_code: Path | None, source: str = ""
    ) -> Run:
        """Run the tests of these checks; `source` is the file of kernels/ that is mutated."""
        request = self.folder / "request.json"
        result = self.folder / "result.json"
        result.unlink(missing_ok=True)
        wanted = {
            "nodes": [node for check in checks for node in nodes(check)],
            "result": str(result),
            "machine_code": str(machine_code or ""),
            "cache": "" if cache.parent == self.folder else str(cache),  # of the unmutated code
            "source": source,
        }
        request.write_text(json.dumps(wanted), encoding="utf-8")
        start = time.perf_counter()
        try:
            done = subprocess.run(
                [sys.executable, "-m", "tests.mutations.inside", request.name],
                cwd=self.folder, env=_environment(self.folder, cache), capture_output=True,
                text=True, encoding="utf-8", errors="replace", timeout=LIMIT,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Run(None, {}, time.perf_counter() - start)
        seconds = time.perf_counter() - start
        outcomes = {}
        if result.exists():
            outcomes = json.loads(result.read_text(encoding="utf-8"))["outcomes"]
        return Run(done.returncode, outcomes, seconds, (done.stdout + done.stderr)[-3000:])


def _environment(folder: Path, cache: Path) -> dict[str, str]:
    one = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    return {
        **os.environ, **one, "GPT_NUMPY_PARALLEL": "0", "NUMBA_CACHE_DIR": str(cache),
        "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_ADDOPTS": "",
    }  # fmt: skip


def campaign(
    mistakes: list[Mistake],
    folder: Path,
    *,
    jobs: int,
    narrow: bool = False,
    say: Callable[[str], None],
) -> Iterator[Verdict]:
    """The verdict on each mutant, as they come; with `narrow` only its first check is run.

    Raises
    ------
    InputError : a mutation does not fit the code, or a check fails on the unmutated code.
    """
    copies = [Copy(folder / f"copy{k}") for k in range(jobs)]
    for mistake in mistakes:
        mutated(mistake.mutation, copies[0].package)  # before anything takes time
    machine_code = folder / "machine code"
    chosen = {m.name: m.seen_by[:1] if narrow else m.checks for m in mistakes}
    every = sorted({check for checks in chosen.values() for check in checks})
    say(f"{len(every)} checks on the unmutated code, which compiles the kernels that they use")
    _require_clean(copies[0], every, machine_code, say)
    free: queue.SimpleQueue[Copy] = queue.SimpleQueue()
    for copy in copies:
        free.put(copy)

    def one(mistake: Mistake) -> Verdict:
        copy = free.get()
        try:
            return _try(copy, mistake, chosen[mistake.name], machine_code)
        finally:
            free.put(copy)

    pool = ThreadPoolExecutor(jobs)
    try:
        yield from (done.result() for done in as_completed([pool.submit(one, m) for m in mistakes]))
    finally:
        pool.shutdown(cancel_futures=True)  # also when interrupted: no further mutant begins


def _require_clean(
    copy: Copy, checks: list[str], machine_code: Path, say: Callable[[str], None]
) -> None:
    """Every check passes on the unmutated code, a few at a time, and well within the limit."""
    total = 0.0
    for start in range(0, len(checks), 8):
        some = checks[start : start + 8]
        run = copy.run(some, cache=machine_code, machine_code=None)
        for check in some:
            if run.of(check) != {"passed"}:
                raise InputError(
                    f"{check} does not pass on the unmutated code: {sorted(run.of(check))}\n"
                    + run.output
                )
        if run.seconds > LIMIT / 5 and len(some) < 2:
            raise InputError(
                f"{some[0]} takes {run.seconds:.0f} s: too long for a limit of {LIMIT}"
            )
        total += run.seconds
    say(f"all pass; {total:.0f} s")


def _try(copy: Copy, mistake: Mistake, checks: tuple[str, ...], machine_code: Path) -> Verdict:
    mutation = mistake.mutation
    path = copy.package / mutation.path
    original = path.with_suffix(".original")
    text = mutated(mutation, copy.package)
    in_kernels = mutation.path.startswith("kernels/")
    cache = copy.folder / "cache"
    path.rename(original)
    try:
        path.write_text(text, encoding="utf-8")
        run = copy.run(
            checks,
            cache=cache,
            machine_code=machine_code if in_kernels else None,
            source=path.stem if in_kernels else "",
        )
    finally:
        original.replace(path)  # with its old time, by which Numba knows it
        shutil.rmtree(cache, ignore_errors=True)
    return _judge(mistake, checks, run)


def _judge(mistake: Mistake, checks: tuple[str, ...], run: Run) -> Verdict:
    if run.status is None:
        return Verdict(mistake.name, KILLED, dict.fromkeys(checks, True), run.seconds, "time")
    if run.status < 0:  # a signal: the mutant took the process down
        return Verdict(mistake.name, KILLED, dict.fromkeys(checks, True), run.seconds, "crash")
    outcomes = {check: run.of(check) for check in checks}
    saw = {check: "failed" in found for check, found in outcomes.items()}
    no_verdict = set().union(*outcomes.values()) - {"passed", "failed"}
    if no_verdict:
        why = f"no verdict but {', '.join(sorted(no_verdict))}: {run.output}"
        return Verdict(mistake.name, BROKEN, saw, run.seconds, why)
    if mistake.equivalent:
        verdict = SURVIVED if any(saw.values()) else EQUIVALENT
        why = "said to be equivalent, but a check fails" if verdict == SURVIVED else ""
        return Verdict(mistake.name, verdict, saw, run.seconds, why)
    if not any(saw.values()):
        return Verdict(mistake.name, SURVIVED, saw, run.seconds, mistake.mutation.what)
    blind = [check for check in checks if check in mistake.seen_by and not saw[check]]
    if blind:
        return Verdict(mistake.name, MISSED, saw, run.seconds, f"not seen by {', '.join(blind)}")
    return Verdict(mistake.name, KILLED, saw, run.seconds)
