"""What the last bits of a result depend on beside the settings of a run: software and processor.

The kernels give the same bits with any number of threads, on one type of processor, with one
version of each library. NumPy's BLAS, which the reference layers compute with, promises nothing for
another number of threads.
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
    """What the bits that the layers `ops` compute depend on, each under its name."""
    import numpy as np  # late, as in the commands that need no numbers

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
    """What is not as it was, a phrase each; the Python version alone changes no bit."""
    names = [name for name in now if name in before and name != "python"]
    return [
        f"{name} {before[name] or 'unset'} then, {now[name] or 'unset'} now"
        for name in names
        if before[name] != now[name]
    ]


@functools.cache
def processor() -> str:
    """The name of the processor, as precisely as the system says it."""
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
    """How many threads the BLAS of that name was told to use before it was loaded."""
    for part, prefix in (("openblas", "OPENBLAS"), ("mkl", "MKL"), ("accelerate", "VECLIB")):
        if part in blas.lower():
            for name in VARIABLES:
                if name.startswith(prefix) and name in os.environ:
                    return os.environ[name]
    return os.environ.get("OMP_NUM_THREADS") or f"all {os.cpu_count()}"
