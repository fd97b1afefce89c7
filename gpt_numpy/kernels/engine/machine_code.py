"""Where compiled kernels are kept between processes.

Numba looks only at the source file of the kernel itself, so the folder is named by a hash of all of
them and of everything else that changes the code.
"""

import atexit
import errno
import functools
import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

import llvmlite.binding
import numba

from gpt_numpy.base.cache_folder import cache_folder
from gpt_numpy.base.errors import InputError, VariableError
from gpt_numpy.kernels.engine.amx import obstacle

_cache: Path | None = None

PARALLEL = os.environ.get("GPT_NUMPY_PARALLEL", "1") != "0"


def vector_bits() -> int:
    """The width in bits of this processor's vectors, or what GPT_NUMPY_VECTOR_BITS sets."""
    wanted = os.environ.get("GPT_NUMPY_VECTOR_BITS", "")
    if wanted:
        if wanted not in ("128", "256", "512"):
            raise VariableError(f"GPT_NUMPY_VECTOR_BITS={wanted!r}: must be 128, 256 or 512")
        return int(wanted)
    features = llvmlite.binding.get_host_cpu_features()
    return 512 if features.get("avx512f") else 256 if features.get("avx2") else 128


AMX, INSTRUCTION, EMULATED = "amx", "avx512_bf16", "emulated"


def bfloat16_tile() -> str:
    """How bfloat16 products are computed here, or as GPT_NUMPY_TILE says.

    `amx` is the unit of Intel's processors that multiplies tiles, and sums in an order of its own.
    `avx512_bf16` is the instruction vdpbf16ps, where it is fast: on AMD's processors. On Intel's it
    is half as fast as float32. `emulated` computes the same bits with float32 vectors.

    Raises
    ------
    VariableError : another name, or what this processor or system does not have.
    """
    wanted = os.environ.get("GPT_NUMPY_TILE", "")
    features = llvmlite.binding.get_host_cpu_features()
    able = bool(features.get("avx512bf16")) and vector_bits() == 512
    if wanted not in ("", AMX, INSTRUCTION, EMULATED):
        raise VariableError(
            f"GPT_NUMPY_TILE={wanted!r}: must be {AMX}, {INSTRUCTION} or {EMULATED}"
        )
    reason = ""
    if wanted in ("", AMX):  # the trial costs 16 ms
        reason = obstacle() if vector_bits() == 512 else "it needs vectors of 512 bits"
    if wanted == AMX and reason:
        raise VariableError(f"GPT_NUMPY_TILE={wanted}: {reason}; unset it, or use {EMULATED}")
    if wanted == INSTRUCTION and not able:
        raise VariableError(
            f"GPT_NUMPY_TILE={wanted}: needs a processor with AVX512_BF16, and vectors of 512 "
            f"bits; {EMULATED} computes the same bits"
        )
    if not reason:
        return wanted or AMX
    amd = llvmlite.binding.get_host_cpu_name().startswith("znver")
    return wanted or (INSTRUCTION if able and amd else EMULATED)


def bfloat16_order() -> str:
    """The order of the sums of bfloat16 products, as `reference/bfloat16.py` names it."""
    return "tdpbf16ps" if bfloat16_tile() == AMX else "vdpbf16ps"


def cache_directory() -> Path | None:
    """The folder of the compiled kernels; its name changes with every edit to any kernel.

    Where the cache cannot be written, a temporary folder with a copy of what is there; None where
    nothing can be written.
    """
    global _cache
    if _cache is None:
        digest = hashlib.sha256(numba.__version__.encode())
        python = sys.implementation.cache_tag, sys.flags.optimize
        for part in (*python, PARALLEL, vector_bits(), bfloat16_tile(), numba.config.BOUNDSCHECK):
            digest.update(f"{part};".encode())
        for source in sorted(Path(__file__).parent.parent.rglob("*.py")):
            # Numba takes no machine code of another path or time, and would compile it here.
            digest.update(f"{source};{source.stat().st_mtime_ns};".encode())
            digest.update(source.read_bytes())
        _cache = _usable_folder(f"kernels-{digest.hexdigest()[:16]}")
    return _cache


def _usable_folder(name: str) -> Path | None:
    """The first folder of this name that this user can write to."""
    try:
        parent = Path(os.environ.get("NUMBA_CACHE_DIR") or cache_folder()).expanduser()
    except (InputError, RuntimeError):  # the second from pathlib, for a ~
        return _temporary_folder(name, [], "there is no home folder")
    folders = [parent / name, parent / f"{name}-{_user()}"]  # the second in a shared cache
    reason = ""
    for folder in folders:
        try:
            return _writable(folder)
        except OSError as error:
            reason = str(error)
    return _temporary_folder(name, folders, reason)


def _writable(folder: Path) -> Path:
    """Make the folder, and write to it as a test; nobody else may write to it, as it holds code."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    if _owner(folder) != _user():
        raise PermissionError(errno.EACCES, "it belongs to another user", str(folder))
    with tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(bytes(2**16))
    return folder


def _temporary_folder(name: str, folders: list[Path], reason: str) -> Path | None:
    """A folder for this process alone, with what root or this user has compiled before."""
    folder = None
    try:
        top = Path(tempfile.mkdtemp(prefix="gpt_numpy-"))
        atexit.register(shutil.rmtree, top, ignore_errors=True)
        for kept in folders:
            if kept.is_dir() and _owner(kept) in (0, _user()):
                try:
                    shutil.copytree(kept, top / name)
                except OSError:  # no space for it: compiled again, and none of it is used
                    shutil.rmtree(top / name, ignore_errors=True)
                break
        folder = _writable(top / name)
        reason += f"; this process keeps them in {top}"
    except OSError as error:
        reason += f"; {error}"
    report_not_kept(reason)
    return folder


@functools.cache
def report_not_kept(reason: str, *, folder: bool = True) -> None:
    """Print why compiled kernels are lost with this process, once; `folder`: another one helps."""
    if sys.stderr is not None:
        print(
            f"gpt_numpy: compiled kernels cannot be kept: {reason}."
            + " Set GPT_NUMPY_CACHE to a folder that this user can write to." * folder,
            file=sys.stderr,
            flush=True,
        )


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def _owner(folder: Path) -> int:
    return folder.stat().st_uid if hasattr(os, "getuid") else 0
