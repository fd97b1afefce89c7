"""The threads that compute, and the launches of kernels on them.

One kernel runs at a time: Numba's simplest pool aborts the process when two Python threads use it.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numba

from gpt_numpy.base.errors import InputError
from gpt_numpy.base.threads import wanted_threads

# How many rounds an idle thread of libgomp spins before it sleeps: some 40 us, longer than from one
# kernel to the next. The default is some ms, during which it takes the core from threads and
# processes that have work: a step of a small model then takes ten times as long.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

# A call none of whose arrays has more elements is left to one thread: waking another takes longer.
SMALL = 8192

Launch: TypeAlias = tuple[Callable[..., None], tuple[Any, ...]]


class _Thread(threading.local):
    """What belongs to one Python thread."""

    count = 0  # Numba keeps the number of threads for each Python thread
    limit: int | None = None
    recording: list[Launch] | None = None  # launches are added to it instead of being run


_lock = threading.Lock()
_thread = _Thread()
_started = _forked = False
_threads = min(wanted_threads(), numba.config.NUMBA_NUM_THREADS)


def threads() -> int:
    """How many threads the kernels use."""
    return _threads


def set_threads(count: int) -> None:
    """Use `count` threads in all kernels; results are the same bits for any number.

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


def launch(launches: list[Launch], *, alone: bool = False) -> None:
    """Run compiled kernels one after the other, or record them; `alone`: on one thread."""
    global _started
    if _thread.recording is not None:
        _thread.recording += launches
        return
    refuse_in_fork()
    with _lock:
        _started = True
        count = 1 if alone else _thread.limit or _threads
        if _thread.count != count:
            start_threads(count)
        for compiled, arguments in launches:
            compiled(*arguments)


def start_threads(count: int = 0) -> None:
    """Start the pool, and let the next launches use `count` of its threads; 0: all wanted.

    Raises
    ------
    InputError : the threading layer that NUMBA_THREADING_LAYER names cannot be loaded.
    """
    count = count or _thread.limit or _threads
    try:
        numba.set_num_threads(count)
        _thread.count = count
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"NUMBA_THREADING_LAYER={os.environ.get('NUMBA_THREADING_LAYER', '')!r}: {reason} "
            "Or unset it."
        ) from None


@contextlib.contextmanager
def fewer_threads(count: int) -> Iterator[None]:
    """Let launches of this Python thread use only so many of the pool's threads."""
    _thread.limit = min(count, _threads)
    try:
        yield
    finally:
        _thread.limit = None


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


class Prepared:
    """A layer function with its arguments, as the kernels that it launches.

    What Python does for a launch takes a tenth of a small kernel's time, so it is done once and
    the launches are kept: a function that is prepared does nothing but launch kernels.
    """

    def __init__(
        self, function: Callable[..., None], args: list[Any], kwargs: dict[str, Any]
    ) -> None:
        self._function, self._args, self._kwargs = function, args, kwargs
        self._launches: list[Launch] = []
        self._threads = 0
        self._alone = _most_elements((args, tuple(kwargs.values()))) <= SMALL

    def __call__(self) -> None:
        """Launch the kernels; recorded anew for another number of threads."""
        if self._threads != _threads:
            self._launches, self._threads = self._record(), _threads
        launch(self._launches, alone=self._alone)

    def _record(self) -> list[Launch]:
        refuse_in_fork()
        launches = _thread.recording = []
        try:
            self._function(*self._args, **self._kwargs)
        finally:
            _thread.recording = None
        return launches


def _most_elements(value: Any) -> int:
    """The size of the largest array in an argument, in a named tuple, or in a list of these."""
    if isinstance(value, tuple | list):
        return max(map(_most_elements, value), default=0)
    return int(getattr(value, "size", 0))


def prepare(
    function: Callable[..., None], arguments: tuple[list[Any], dict[str, Any]]
) -> Callable[[], None]:
    """A call of a layer, to be repeated: its positional and keyword arguments never change."""
    return Prepared(function, *arguments)
