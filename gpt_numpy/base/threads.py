"""One number of threads for the kernels and for NumPy's BLAS.

Environment variables set it before NumPy and Numba are loaded, `set_threads` afterwards. Two thread
pools that each use all cores are slower than a single thread (benchmarks/README.md).
"""

import contextlib
import math
import os
import sys
import warnings
from contextlib import AbstractContextManager
from pathlib import Path

from gpt_numpy.base.cgroups import processor_quota
from gpt_numpy.base.checks import integer
from gpt_numpy.base.errors import VariableError

VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def physical_cores() -> int:
    """The number of cores this process may use; the hardware threads of a core count once.

    Affinity and the quota of a container (cgroups) bound it.
    """
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = set()
    for cpu in os.sched_getaffinity(0):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        cores.add(siblings.read_text(encoding="utf-8") if siblings.exists() else str(cpu))
    return max(1, math.floor(min(len(cores), processor_quota())))


_wanted: int | None = None


def wanted_threads() -> int:
    """The number given to `set_threads` before the kernels were loaded.

    By default all cores, or OMP_NUM_THREADS where that is less.
    """
    if _wanted:
        return _wanted
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]  # "4,2" is for nested loops
    return min(physical_cores(), int(first) if first.isdigit() and int(first) else sys.maxsize)


def set_variables(count: int | None) -> None:
    """Set the variables for libraries not loaded yet; None: all cores, where they are not set."""
    for name in VARIABLES:
        if count is not None:
            os.environ[name] = str(count)
        else:
            os.environ.setdefault(name, str(wanted_threads()))


def take_share(count: int) -> None:
    """Use `count` threads unless OMP_NUM_THREADS says how many; a loaded BLAS keeps its number."""
    if "OMP_NUM_THREADS" in os.environ:
        return
    set_variables(count)
    if "gpt_numpy.kernels.engine.pool" in sys.modules:
        sys.modules["gpt_numpy.kernels.engine.pool"].set_threads(count)


def check_numba_variables() -> None:
    """Refuse what Numba's variables may not say if the kernels are to run.

    Raises
    ------
    VariableError : NUMBA_DISABLE_JIT is set, or NUMBA_NUM_THREADS is not a number of threads.
    """
    disabled = os.environ.get("NUMBA_DISABLE_JIT", "")
    if disabled not in ("", "0"):
        raise VariableError(
            f"NUMBA_DISABLE_JIT={disabled}: the kernels exist only compiled; unset it, or use the "
            "NumPy layers with ops='reference' (--ops=reference)"
        )
    threads = os.environ.get("NUMBA_NUM_THREADS", "1")
    if not threads.isdigit() or not int(threads):
        raise VariableError(
            f"NUMBA_NUM_THREADS={threads!r}: must be an integer of at least 1; change or unset it"
        )


def set_threads(count: int) -> None:
    """Set the number of threads of the kernels and of NumPy's BLAS from now on.

    The BLAS needs threadpoolctl (extra `threads`); without it there is a warning, and only the
    kernels change.

    Raises
    ------
    InputError : less than 1, or more than the kernels' pool has (NUMBA_NUM_THREADS).
    """
    count = integer("threads", count, 1, "an integer of at least 1")
    global _wanted
    if "gpt_numpy.kernels.engine.pool" in sys.modules:
        sys.modules["gpt_numpy.kernels.engine.pool"].set_threads(count)
    _wanted = count
    try:
        import threadpoolctl
    except ImportError:
        warnings.warn(
            "NumPy's BLAS keeps its number of threads: pip install threadpoolctl, or set "
            f"OPENBLAS_NUM_THREADS={count} before Python starts",
            stacklevel=2,
        )
    else:
        threadpoolctl.threadpool_limits(limits=count, user_api="blas")


def one_blas_thread() -> AbstractContextManager[object]:
    """Within `with`, NumPy's BLAS has one thread; without threadpoolctl it keeps its number."""
    try:
        import threadpoolctl
    except ImportError:
        return contextlib.nullcontext()
    return threadpoolctl.threadpool_limits(limits=1, user_api="blas")
