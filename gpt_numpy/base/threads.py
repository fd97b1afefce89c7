"""One number of threads for everything that computes: the kernels and NumPy's BLAS.

Before NumPy and Numba are loaded, environment variables say it; afterwards `set_threads` does. Two
pools of threads that both want all cores take more time than one thread (benchmarks/README.md).
"""

import os
import sys
import warnings
from pathlib import Path

from gpt_numpy.base.checks import whole

VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def physical_cores() -> int:
    """How many cores this process may use, counting two hardware threads of a core once."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = set()
    for cpu in os.sched_getaffinity(0):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        cores.add(siblings.read_text(encoding="utf-8") if siblings.exists() else str(cpu))
    return len(cores)


_wanted: int | None = None


def wanted_threads() -> int:
    """What `set_threads` was told before the kernels were loaded; by default all cores."""
    return _wanted or physical_cores()


def set_variables(count: int | None) -> None:
    """Tell libraries that are not loaded yet; None: all physical cores, unless something is set."""
    for name in VARIABLES:
        if count is not None:
            os.environ[name] = str(count)
        else:
            os.environ.setdefault(name, str(physical_cores()))


def set_threads(count: int) -> None:
    """Let the kernels and NumPy's BLAS compute with `count` threads from now on.

    The BLAS is reached through threadpoolctl (extra `threads`); without it there is a warning, and
    only the kernels follow.

    Raises
    ------
    InputError : less than 1, or more than the kernels' pool has (NUMBA_NUM_THREADS).
    """
    count = whole("threads", count, 1, "a whole number of at least 1")
    global _wanted
    if "gpt_numpy.kernels.engine.pool" in sys.modules:
        sys.modules["gpt_numpy.kernels.engine.pool"].set_threads(count)
    _wanted = count
    try:
        import threadpoolctl
    except ImportError:
        warnings.warn(
            "NumPy's BLAS keeps its threads: pip install threadpoolctl to set them, too, or set "
            f"OPENBLAS_NUM_THREADS={count} before Python starts",
            stacklevel=2,
        )
    else:
        threadpoolctl.threadpool_limits(limits=count, user_api="blas")
