"""The only place that says njit: compiler flags, the cache of machine code, threads.

Three kinds of function. A `kernel` is an entry point: called from Python, parallel, cached on disk,
compiled once for each dtype. A `routine` is what kernels call, with reassociation allowed, so that
sums become vectors. An `exact` function keeps the order of its floating-point operations.
"""

import hashlib
import inspect
import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import llvmlite.binding
import numba
import numpy as np
from numba import prange, types
from numba.extending import overload

from gpt_numpy.arrays import Array, aligned_empty
from gpt_numpy.errors import InputError
from gpt_numpy.threads import wanted_threads

__all__ = [
    "Counter", "In", "Int", "Ints", "Out", "Real", "Wide", "Word",
    "by_type", "exact", "flat", "kernel", "prange", "repeatable", "room", "routine",
    "same_memory",
]  # fmt: skip

# How long an idle thread of libgomp spins before it sleeps, in rounds: some 40 us, longer than from
# one kernel to the next. By default it is some ms, in which it takes the core from others who have
# work, be it another process: a step of a small model then takes ten times as long.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

# Never True: that would let the compiler assume that no NaN and no infinity occurs.
FASTMATH = {"reassoc", "contract", "arcp", "nsz", "afn"}
INSIDE = {  # of what only kernels call: no entrance from Python is generated
    "error_model": "numpy", "nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True,
}  # fmt: skip
PARALLEL = os.environ.get("GPT_NUMPY_PARALLEL", "1") != "0"

# What the parameters of a kernel are; arrays are flat and contiguous.
In, Out, Wide, Ints, Counter = "in", "out", "wide", "integers", "counter"
Int, Real, Word = "int64", "float64", "uint64"


def routine(function: Callable[..., Any]) -> Any:
    """A function for kernels to call; sums may be reordered into vectors."""
    return numba.njit(fastmath=FASTMATH, **INSIDE)(function)


def exact(function: Callable[..., Any]) -> Any:
    """A small function for kernels to call, inlined, whose operations stay in order."""
    return numba.njit(fastmath={"contract"}, forceinline=True, **INSIDE)(function)


def by_type(single: Any, double: Any) -> Any:
    """The function of one number that is `single` for float32 and `double` for float64."""

    def either(x):  # type: ignore[no-untyped-def]
        raise NotImplementedError

    @overload(either, jit_options={"forceinline": True, **INSIDE})
    def _choose(x):  # type: ignore[no-untyped-def]
        chosen = single if x == types.float32 else double
        return lambda x: chosen(x)

    return either


def vector_bits() -> int:
    """The width of this processor's vectors, or what GPT_NUMPY_VECTOR_BITS says, in bits."""
    wanted = os.environ.get("GPT_NUMPY_VECTOR_BITS", "")
    if wanted:
        if wanted not in ("128", "256", "512"):
            raise InputError(f"GPT_NUMPY_VECTOR_BITS={wanted!r}: must be 128, 256 or 512")
        return int(wanted)
    features = llvmlite.binding.get_host_cpu_features()
    return 512 if features.get("avx512f") else 256 if features.get("avx2") else 128


class kernel:
    """An entry point, compiled for the dtype of its first array when first called with it.

    The annotations of the parameters (`In`, `Out`, ...) are its signature: one compilation for each
    dtype, whatever is passed.
    """

    every: "list[kernel]" = []

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function
        self.__doc__, self.__name__ = function.__doc__, function.__name__
        self.name = f"{function.__module__.rsplit('.', 1)[-1]}.{function.__name__}"
        self.kinds = [p.annotation for p in inspect.signature(function).parameters.values()]
        self._compiled: dict[Any, Any] = {}
        kernel.every.append(self)

    def __call__(self, *arguments: Any) -> None:
        """Run it, compiled for the dtype of its first array."""
        _refuse_in_fork()
        compiled = self._compiled.get(arguments[0].dtype)
        if compiled is None:
            compiled = self.compile(arguments[0].dtype)
        with _lock:
            _use_threads()
            compiled(*arguments)
        if _thread.notes is not None:
            _thread.notes.append((compiled, arguments))

    def compile(self, dtype: np.dtype[Any]) -> Any:
        """Machine code for `dtype`: from the cache, or compiled into it."""
        with _compile_lock:
            if dtype not in self._compiled:
                self._compiled[dtype] = self._load(dtype)
            return self._compiled[dtype]

    def _load(self, dtype: np.dtype[Any]) -> Any:
        element = numba.from_dtype(dtype)
        arrays = {
            In: types.Array(element, 1, "C"),
            Out: types.Array(element, 1, "C"),
            Ints: types.Array(types.int64, 1, "C"),
            Counter: types.Array(types.int64, 1, "C"),
            Wide: types.Array(types.float64, 1, "C"),
        }
        signature = types.void(*[arrays.get(k) or getattr(types, k) for k in self.kinds])
        # A directory for each kernel: what is damaged is thrown away with nothing else.
        place = cache_directory() / f"{self.name}-{dtype}"
        if place.exists():
            try:
                return self._jit(signature, place)
            except Exception:  # a damaged file may raise anything
                shutil.rmtree(place, ignore_errors=True)
        _announce(f"{self.name} for {dtype}")
        try:
            return self._jit(signature, place)
        finally:
            _announce_done()

    def _jit(self, signature: Any, place: Path) -> Any:
        users = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = str(place)
        try:
            return numba.njit(
                [signature],
                error_model="numpy",
                nogil=True,
                no_cfunc_wrapper=True,
                cache=True,
                fastmath=FASTMATH,
                parallel=PARALLEL,
            )(self.function)
        finally:
            numba.config.CACHE_DIR = users


# The cache. Numba looks at the file of the kernel alone, so the directory bears the hash of all.


def cache_directory() -> Path:
    """Where machine code is kept; its name changes with every edit to any kernel."""
    global _cache
    if _cache is None:
        digest = hashlib.sha256(numba.__version__.encode())
        for part in (PARALLEL, vector_bits(), numba.config.BOUNDSCHECK):
            digest.update(f"{part};".encode())
        for source in sorted(Path(__file__).parent.glob("*.py")):
            digest.update(source.read_bytes())
        if os.environ.get("NUMBA_CACHE_DIR"):
            home = Path(os.environ["NUMBA_CACHE_DIR"])
        else:
            home = _user_cache() / "gpt_numpy"
        _cache = home / f"kernels-{digest.hexdigest()[:16]}"
        _cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    return _cache


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _announce(name: str) -> None:
    """Say that the user waits for a compiler, and how far it is."""
    global _announced
    _announced += 1
    text = f"compiling kernels, once for this machine: {_announced} of at most {len(kernel.every)}"
    if sys.stderr is None:
        return
    if sys.stderr.isatty():
        print(f"\r\033[Kgpt_numpy: {text} ({name})", end="", file=sys.stderr, flush=True)
    elif _announced == 1:
        print(
            "gpt_numpy: compiling kernels, once for this machine; some take seconds each",
            file=sys.stderr,
            flush=True,
        )


def _announce_done() -> None:
    if sys.stderr is not None and sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


_announced = 0
_cache: Path | None = None
_compile_lock = threading.RLock()


# Threads. Numba's simplest pool aborts the process when two Python threads use it at once.


class _Thread(threading.local):
    """What belongs to one thread of Python."""

    count = 0  # what Numba was last told; it keeps this number for each Python thread
    notes: "list[Launch] | None" = None  # where launches are noted, while they are


_lock = threading.Lock()
_thread = _Thread()
_forked = False


_threads = min(wanted_threads(), numba.config.NUMBA_NUM_THREADS)


def threads() -> int:
    """How many threads the kernels use."""
    return _threads


def _use_threads() -> None:
    if _thread.count != _threads:
        numba.set_num_threads(_threads)
        _thread.count = _threads


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


def _note_fork() -> None:
    global _forked, _lock
    _lock = threading.Lock()  # the parent's may have been held
    _forked = any(k._compiled for k in kernel.every)


def _refuse_in_fork() -> None:
    if _forked:
        raise RuntimeError(
            "this process was forked after gpt_numpy had started its threads, which do not survive "
            "a fork: start processes with multiprocessing.get_context('spawn')"
        )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


# Launches again. What Python does for a launch takes a tenth of a small kernel's time.

Launch: TypeAlias = tuple[Callable[..., None], tuple[Any, ...]]


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
        if launches.threads != _threads:
            _thread.notes = []
            try:
                function(**arguments())
                launches.noted, launches.threads = _thread.notes, _threads
            finally:
                _thread.notes = None
            return
        _refuse_in_fork()
        with _lock:
            _use_threads()
            for compiled, values in launches.noted:
                compiled(*values)

    function.repeat, function.launches = repeat, Launches  # type: ignore[attr-defined]
    return function


# Room for the kernels to work in, kept between calls.


LINE = 8  # integers in a cache line


def tasks() -> Array:
    """A counter for each worker, on a cache line of its own; tasks.py draws tasks from them."""
    return room("tasks", threads() * LINE, np.int64)


_rooms: dict[tuple[str, Any], Array] = {}
_nothing: dict[Any, Array] = {}


def room(name: str, size: int, dtype: Any) -> Array:
    """A vector of at least `size` elements for the purpose `name`, the same one every time."""
    array = _rooms.get((name, dtype))
    if array is None or array.size < size:
        array = _rooms[name, dtype] = aligned_empty(size, dtype)
    return array


def flat(array: Array | None, like: Array | None = None) -> Array:
    """All elements of a contiguous array in one dimension; of None, no elements of `like`'s type.

    Raises
    ------
    InputError : its elements do not lie one after the other.
    """
    if array is None:
        assert like is not None
        empty = _nothing.get(like.dtype)
        if empty is None:
            empty = _nothing[like.dtype] = np.empty(0, like.dtype)
        return empty
    if not array.flags.c_contiguous:
        raise InputError(
            f"an array of shape {array.shape} and strides {array.strides} is not contiguous: "
            "kernels take arrays whose elements follow one another; use np.ascontiguousarray"
        )
    if not array.flags.writeable:
        array = np.asarray(_Unlocked(array))
    return array.reshape(-1)


def same_memory(a: Array, b: Array) -> bool:
    """Whether two arrays of a call, which are apart or the same, are the same."""
    return bool(np.may_share_memory(a, b))  # far cheaper than to ask both for their addresses


class _Unlocked:
    """A read-only array in disguise: Numba compiles everything again for read-only arrays.

    What a kernel calls `In` it does not write, which the tests hold.
    """

    def __init__(self, array: Array) -> None:
        address, _ = array.__array_interface__["data"]
        self.__array_interface__ = {**array.__array_interface__, "data": (address, False)}
        self.array = array  # lives as long as the view
