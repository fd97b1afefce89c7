"""The only place that calls njit: compiler flags, kinds of functions, and workspaces.

Three kinds of function. A `kernel` is an entry point: called from Python, parallel, cached on disk,
compiled once for each dtype. A `routine` is what kernels call, with reassociation allowed, so that
sums become vectors. An `exact` function keeps the order of its floating-point operations.
"""

import inspect
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import prange, types
from numba.extending import overload

from gpt_numpy.base.arrays import Array, aligned_empty
from gpt_numpy.base.errors import InputError
from gpt_numpy.kernels.engine.compiler import ENDED, announce, announce_done, compile_elsewhere
from gpt_numpy.kernels.engine.machine_code import PARALLEL, cache_directory, report_not_kept
from gpt_numpy.kernels.engine.pool import launch, refuse_in_fork, start_threads, threads

__all__ = [
    "NO_SINGLE",
    "Counter", "Half", "In", "Int", "Ints", "Key", "Out", "Pairs", "Real", "Single", "Wide", "Word",
    "by_type", "by_width", "exact", "flat", "kernel", "prange", "routine", "same_memory", "tasks",
    "threads", "workspace",
]  # fmt: skip

# Never True: that would let the compiler assume that no NaN and no infinity occurs.
FASTMATH = {"reassoc", "contract", "arcp", "nsz", "afn"}
INSIDE = {  # for what only kernels call: no wrapper for calls from Python is generated
    "error_model": "numpy", "nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True,
}  # fmt: skip

# The types of a kernel's parameters; arrays are flat and contiguous.
In, Out, Wide, Ints, Counter, Key = "in", "out", "wide", "integers", "counter", "key"
# Of the same type in every compilation: float32 numbers, bfloat16 numbers, pairs of these.
Single, Half, Pairs = "single", "half", "pairs"
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


_compile_lock = threading.RLock()


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

    def __call__(self, *arguments: Any, alone: bool = False) -> None:
        """Run it, compiled for the dtype of its first array; `alone`: on one thread."""
        refuse_in_fork()
        compiled = self._compiled.get(arguments[0].dtype)
        if compiled is None:
            compiled = self.compile(arguments[0].dtype)
        launch([(compiled, arguments)], alone=alone)

    def compile(self, dtype: np.dtype[Any]) -> Any:
        """Machine code for `dtype`: from the cache, or compiled into it."""
        with _compile_lock:
            if dtype not in self._compiled:
                self._compiled[dtype] = self._load(dtype)
            return self._compiled[dtype]

    def write_machine_code(self, dtype: str, place: Path) -> None:
        """Compile it for `dtype` into the folder `place`."""
        self._jit(self._signature(np.dtype(dtype)), place)

    def _signature(self, dtype: np.dtype[Any]) -> Any:
        element = numba.from_dtype(dtype)
        arrays = {
            In: types.Array(element, 1, "C"),
            Out: types.Array(element, 1, "C"),
            Ints: types.Array(types.int64, 1, "C"),
            Counter: types.Array(types.int64, 1, "C"),
            Key: types.Array(types.uint64, 1, "C"),
            Wide: types.Array(types.float64, 1, "C"),
            Single: types.Array(types.float32, 1, "C"),
            Half: types.Array(types.uint16, 1, "C"),
            Pairs: types.Array(types.uint32, 1, "C"),
        }
        return types.void(*[arrays.get(k) or getattr(types, k) for k in self.kinds])

    def _load(self, dtype: np.dtype[Any]) -> Any:
        start_threads()
        signature, folder = self._signature(dtype), cache_directory()
        # A folder for each kernel, so that damage to one costs no other.
        place = folder / f"{self.name}-{dtype}" if folder else None
        if place and place.exists():
            try:
                return self._jit(signature, place)
            except Exception:  # a damaged file may raise anything
                shutil.rmtree(place, ignore_errors=True)
        announce(f"{self.name} for {dtype}", len(kernel.every))
        wrong = self._compile_into(place, str(dtype)) if place else ""
        announce_done()
        if wrong:
            report_not_kept(wrong, folder=wrong != ENDED)
        return self._jit(signature, None if wrong else place)

    def _compile_into(self, place: Path, dtype: str) -> str:
        """Have another process compile it; the result is empty, or what went wrong.

        The folder gets its name when all is in it: a process that found half of it would compile by
        itself, to other bits. Of two that compile at once, the first one's machine code is used.
        """
        unfinished = place.with_name(f"{place.name}.{os.getpid()}")
        wrong = compile_elsewhere(self.function.__module__, self.__name__, dtype, unfinished)
        if not wrong:
            try:
                unfinished.rename(place)
            except OSError as error:
                wrong = "" if place.exists() else str(error)
        shutil.rmtree(unfinished, ignore_errors=True)
        return wrong

    def _jit(self, signature: Any, place: Path | None) -> Any:
        """Machine code from the folder `place`, or compiled into it; None: not kept."""
        users = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = str(place or users)
        try:
            return numba.njit(
                [signature],
                error_model="numpy",
                nogil=True,
                no_cfunc_wrapper=True,
                cache=place is not None,
                fastmath=FASTMATH,
                parallel=PARALLEL,
            )(self.function)
        finally:
            numba.config.CACHE_DIR = users


# Memory that kernels work in, kept between calls.


LINE = 8  # integers in a cache line


def tasks() -> Array:
    """A counter for each worker, on a cache line of its own; tasks.py draws tasks from them."""
    return workspace("tasks", threads() * LINE, np.int64)


_workspaces: dict[tuple[str, Any], Array] = {}
_nothing: dict[Any, Array] = {}
NO_SINGLE, _NO_HALF = np.empty(0, np.float32), np.empty(0, np.uint16)


def workspace(name: str, size: int, dtype: Any) -> Array:
    """A vector of at least `size` elements for the purpose `name`: the same memory every time."""
    array = _workspaces.get((name, dtype))
    if array is None or array.size < size:
        array = _workspaces[name, dtype] = aligned_empty(size, dtype)
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


def by_width(array: Array) -> tuple[Array, Array]:
    """The array where a kernel expects its type, and an empty one of the other: 16 bits come last.

    The empty one of float numbers has float32.
    """
    whole = flat(array)
    return (NO_SINGLE, whole) if whole.dtype == np.uint16 else (whole, _NO_HALF)


def same_memory(a: Array, b: Array) -> bool:
    """Whether a and b are the same memory (callers pass identical or disjoint arrays)."""
    return bool(np.may_share_memory(a, b))  # far cheaper than to ask both for their addresses


class _Unlocked:
    """A read-only array passed as a writable one: Numba would compile everything again for it.

    A kernel does not write to what it calls `In`; the tests check that.
    """

    def __init__(self, array: Array) -> None:
        address, _ = array.__array_interface__["data"]
        self.__array_interface__ = {**array.__array_interface__, "data": (address, False)}
        self.array = array  # lives as long as the view
