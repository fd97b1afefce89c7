"""The threads that compute, and the launches of kernels on them, made once or repeated.

One kernel runs at a time: Numba's simplest pool aborts the process when two Python threads use it.
"""

import os
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import numba

from gpt_numpy.base.errors import InputError
from gpt_numpy.base.threads import wanted_threads

# How long an idle thread of libgomp spins before it sleeps, in rounds: some 40 us, longer than from
# one kernel to the next. By default it is some ms, in which it takes the core from others who have
# work, be it another process: a step of a small model then takes ten times as long.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

Launch: TypeAlias = tuple[Callable[..., None], tuple[Any, ...]]


class _Thread(threading.local):
    """What belongs to one thread of Python."""

    count = 0  # what Numba was last told; it keeps this number for each Python thread
    notes: list[Launch] | None = None  # where launches are noted, while they are


_lock = threading.Lock()
_thread = _Thread()
_started = _forked = False
_threads = min(wanted_threads(), numba.config.NUMBA_NUM_THREADS)


def threads() -> int:
    """How many threads the kernels use."""
    return _threads


def set_threads(count: int) -> None:
    """Let the kernels use `count` threads; results are the same bits for any number.

    Raises
    ------
    InputError : less than 1, or more than the pool has (NUMBA_NUM_THREADS).
    """
    global _threads
    if not 1 <= count <= numba.config.NUMBA_NUM_THREADS:
        raise InputError(
            f"threads={count}: must be from 1 to {numba.config.NUMBA_NUM_THREADS}, the size of "
            "the pool; set the environment variable NUMBA_NUM_THREADS for a larger one"
        )
    _threads = count


def launch(launches: list[Launch]) -> None:
    """Run compiled kernels one after the other."""
    global _started
    refuse_in_fork()
    with _lock:
        _started = True
        if _thread.count != _threads:
            numba.set_num_threads(_threads)
            _thread.count = _threads
        for compiled, arguments in launches:
            compiled(*arguments)
    if _thread.notes is not None:
        _thread.notes += launches


def refuse_in_fork() -> None:
    """Raise where the threads are those of a parent process.

    Raises
    ------
    RuntimeError : this process was forked from one whose threads had started.
    """
    if _forked:
        raise RuntimeError(
            "this process was forked after gpt_numpy had started its threads, which do not survive "
            "a fork: start processes with multiprocessing.get_context('spawn')"
        )


def _note_fork() -> None:
    global _forked, _lock
    _lock = threading.Lock()  # the parent's may have been held
    _forked = _started


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


# Launches again: what Python does for a launch takes a tenth of a small kernel's time.


class Launches:
    """What one call of a function launched; it belongs to whoever owns the arrays of that call."""

    def __init__(self) -> None:
        self.noted: list[Launch] = []
        self.threads = 0


def repeatable(function: Callable[..., None]) -> Callable[..., None]:
    """Give a function that does nothing but launch kernels a second form, `function.repeat`.

    `repeat(launches, arguments)` calls it and notes what it launches in `launches`; with launches
    already noted there it launches the same, without Python's part of the function.
    """

    def repeat(launches: Launches, arguments: Callable[[], dict[str, Any]]) -> None:
        if launches.threads == _threads:
            launch(launches.noted)
        else:
            _thread.notes = []
            try:
                function(**arguments())
                launches.noted, launches.threads = _thread.notes, _threads
            finally:
                _thread.notes = None

    function.repeat, function.launches = repeat, Launches  # type: ignore[attr-defined]
    return function
