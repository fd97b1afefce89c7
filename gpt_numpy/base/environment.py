"""What the last bits of a result depend on in addition to the settings: software and processor.

The kernels give the same bits with any number of threads, as long as the processor type and the
versions of the libraries stay the same. NumPy's BLAS, which the reference layers use, does not
promise the same bits for another number of threads.
"""

import functools
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from gpt_numpy.base.threads import VARIABLES
from gpt_numpy.base.version import __version__


def describe(ops: str) -> dict[str, str]:
    """Everything that the bits of the implementation `ops` depend on, by name."""
    import numpy as np  # late: some commands do without it

    built = np.show_config(mode="dicts")
    blas = built.get("Build Dependencies", {}).get("blas", {})
    found = {
        "gpt_numpy": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "BLAS": f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip(),
        "processor": processor(),
    }
    if ops == "kernels":
        found["numba"] = _version("numba")
        found["llvmlite"] = _version("llvmlite")
        found["GPT_NUMPY_VECTOR_BITS"] = os.environ.get("GPT_NUMPY_VECTOR_BITS", "")
    else:
        found["threads of the BLAS"] = _blas_threads(found["BLAS"])
    return found


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """A phrase for everything that has changed, except Python: its version changes no bit."""
    names = [name for name in now if name in before and name != "python"]
    return [
        f"{name} {before[name] or 'unset'} then, {now[name] or 'unset'} now"
        for name in names
        if before[name] != now[name]
    ]


@functools.cache
def processor() -> str:
    """The name of the processor, as precise as the system reports it."""
    name = ""
    if sys.platform == "darwin":
        name = _first_line(["sysctl", "-n", "machdep.cpu.brand_string"])
    elif Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n"):
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
                break
    return f"{name or platform.processor() or 'unknown'} ({platform.machine()})"


def _first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.partition("\n")[0].strip()


@functools.cache
def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _blas_threads(blas: str) -> str:
    """The number of threads that the environment sets for the BLAS of that name."""
    for part, prefix in (("openblas", "OPENBLAS"), ("mkl", "MKL"), ("accelerate", "VECLIB")):
        if part in blas.lower():
            for name in VARIABLES:
                if name.startswith(prefix) and name in os.environ:
                    return os.environ[name]
    return os.environ.get("OMP_NUM_THREADS") or f"all {os.cpu_count()}"
