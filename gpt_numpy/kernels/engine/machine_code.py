"""Where compiled kernels are kept between processes, and the progress line while they compile.

Numba looks only at the source file of the kernel itself, so the folder is named by a hash of all of
them and of everything else that changes the code.
"""

import hashlib
import os
import sys
from pathlib import Path

import llvmlite.binding
import numba

from gpt_numpy.base.cache_folder import cache_folder
from gpt_numpy.base.errors import InputError

_announced = 0
_cache: Path | None = None

PARALLEL = os.environ.get("GPT_NUMPY_PARALLEL", "1") != "0"


def vector_bits() -> int:
    """The width of this processor's vectors, or what GPT_NUMPY_VECTOR_BITS says, in bits."""
    wanted = os.environ.get("GPT_NUMPY_VECTOR_BITS", "")
    if wanted:
        if wanted not in ("128", "256", "512"):
            raise InputError(f"GPT_NUMPY_VECTOR_BITS={wanted!r}: must be 128, 256 or 512")
        return int(wanted)
    features = llvmlite.binding.get_host_cpu_features()
    return 512 if features.get("avx512f") else 256 if features.get("avx2") else 128


INSTRUCTION, EMULATED = "avx512_bf16", "emulated"


def bfloat16_tile() -> str:
    """How bfloat16 products are computed here, or as GPT_NUMPY_TILE says.

    `avx512_bf16` is the instruction vdpbf16ps, where it is fast: on AMD's processors. On Intel's it
    is half as fast as float32. `emulated` computes the same bits with float32 vectors.

    Raises
    ------
    InputError : another name, or the instruction where the processor does not have it.
    """
    wanted = os.environ.get("GPT_NUMPY_TILE", "")
    features = llvmlite.binding.get_host_cpu_features()
    able = bool(features.get("avx512bf16")) and vector_bits() == 512
    if wanted not in ("", INSTRUCTION, EMULATED):
        raise InputError(f"GPT_NUMPY_TILE={wanted!r}: must be {INSTRUCTION} or {EMULATED}")
    if wanted == INSTRUCTION and not able:
        raise InputError(
            f"GPT_NUMPY_TILE={wanted}: needs a processor with AVX512_BF16, and vectors of 512 "
            f"bits; {EMULATED} computes the same bits"
        )
    amd = llvmlite.binding.get_host_cpu_name().startswith("znver")
    return wanted or (INSTRUCTION if able and amd else EMULATED)


def cache_directory() -> Path:
    """The folder of the compiled kernels; its name changes with every edit to any kernel."""
    global _cache
    if _cache is None:
        digest = hashlib.sha256(numba.__version__.encode())
        for part in (PARALLEL, vector_bits(), bfloat16_tile(), numba.config.BOUNDSCHECK):
            digest.update(f"{part};".encode())
        for source in sorted(Path(__file__).parent.parent.rglob("*.py")):
            digest.update(source.read_bytes())
        parent = Path(os.environ.get("NUMBA_CACHE_DIR") or cache_folder())
        _cache = parent / f"kernels-{digest.hexdigest()[:16]}"
        _cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    return _cache


def announce(name: str, kernels: int) -> None:
    """Tell the user that kernels are being compiled, and how many so far."""
    global _announced
    _announced += 1
    if sys.stderr is None:
        return
    if sys.stderr.isatty():
        line = f"compiling kernels, once for this machine: {_announced} of at most {kernels}"
        print(f"\r\033[Kgpt_numpy: {line} ({name})", end="", file=sys.stderr, flush=True)
    elif _announced == 1:
        print(
            "gpt_numpy: compiling kernels, once for this machine; some take seconds each",
            file=sys.stderr,
            flush=True,
        )


def announce_done() -> None:
    """Erase the progress line from a terminal."""
    if sys.stderr is not None and sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
