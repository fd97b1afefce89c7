"""AMX, the unit of Intel's processors that multiplies tiles: may it be used, and is it as derived?

Its registers are tiles of 16 rows of 64 bytes. Linux lets a process use them once it has asked, for
all its threads; each thread then loads what shape its tiles have.

`trial` multiplies tiles of difficult numbers and compares the bits with what the order of sums in
`reference/bfloat16.py` gives. A processor that sums otherwise is not used. What it runs is
compiled here, for which kernel is compiled later depends on the result.
"""

import ctypes
import functools
import platform
import sys

import llvmlite.binding as llvm
import numpy as np

from gpt_numpy.base.arrays import Array

SIDE = 16  # rows of a tile, pairs of bfloat16 numbers or float32 numbers of a row
TILES = 8  # registers
# What every thread loads: palette 1, the bytes of each tile's rows, the number of its rows.
CONFIGURATION = bytes([1, *[0] * 15, *[4 * SIDE, 0] * TILES, *[0] * 16, *[SIDE] * TILES, *[0] * 8])

LEAST = 2.0**-126  # the smallest float32 that is not denormal
DENORMAL = LEAST * (1 - 2.0**-25)  # a sum below it does not round to LEAST

ARCH_PRCTL, REQUEST, TILE_DATA = 158, 0x1023, 18  # the call of Linux, what is asked, and for what

CODE = """
declare void @llvm.x86.ldtilecfg(ptr)
declare void @llvm.x86.tileloadd64(i8, ptr, i64)
declare void @llvm.x86.tdpbf16ps(i8, i8, i8)
declare void @llvm.x86.tilestored64(i8, ptr, i64)
declare void @llvm.x86.tilerelease()

define void @multiply_tile(ptr %shape, ptr %a, ptr %b, ptr %c) {
    call void @llvm.x86.ldtilecfg(ptr %shape)
    call void @llvm.x86.tileloadd64(i8 0, ptr %c, i64 64)
    call void @llvm.x86.tileloadd64(i8 1, ptr %a, i64 64)
    call void @llvm.x86.tileloadd64(i8 2, ptr %b, i64 64)
    call void @llvm.x86.tdpbf16ps(i8 0, i8 1, i8 2)
    call void @llvm.x86.tilestored64(i8 0, ptr %c, i64 64)
    call void @llvm.x86.tilerelease()
    ret void
}
"""


@functools.cache
def obstacle() -> str:
    """Why this process cannot multiply tiles, or nothing if it can."""
    features = llvm.get_host_cpu_features()
    if not (features.get("amx-tile") and features.get("amx-bf16") and features.get("avx512f")):
        return "this processor has no AMX"
    if not permitted():
        return "the operating system does not permit it"
    if not trial():
        return "this processor sums in another order than reference/bfloat16.py derives"
    return ""


def permitted() -> bool:
    """Ask Linux for the tiles of this process, for the threads that it has and those to come."""
    if sys.platform != "linux" or platform.machine() != "x86_64" or sys.maxsize < 2**32:
        return False
    try:
        call = ctypes.CDLL(None).syscall
    except (OSError, AttributeError):
        return False
    call.restype, call.argtypes = ctypes.c_long, [ctypes.c_long] * 3
    return bool(call(ARCH_PRCTL, REQUEST, TILE_DATA) == 0)


def trial() -> bool:
    """Whether the processor multiplies tiles of difficult numbers as derived, to the bit."""
    engine, machine_code = _compiled()
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)
    multiply_tile = kind(engine.get_function_address("multiply_tile"))
    for a, b, before in difficult_tiles():
        c = before.copy()
        multiply_tile(CONFIGURATION, *(array.ctypes.data for array in (a, b, c)))
        if not np.array_equal(c.view(np.uint32), tile_product(a, b, before).view(np.uint32)):
            return False
    return True


def _compiled() -> tuple[llvm.ExecutionEngine, llvm.ModuleRef]:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), jit=True
    )
    module = llvm.parse_assembly(CODE)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine, module


def difficult_tiles() -> list[tuple[Array, Array, Array]]:
    """Operands and sums so far: ordinary, of wide range, sums near 2^-126, operands near it.

    a is (row, pair, element), b (pair, column, element), both bfloat16; c is (row, column).
    """
    rng = np.random.default_rng(0)

    def draw(middle: int, spread: int, *shape: int) -> Array:
        exponents = middle + rng.integers(-spread, spread, shape, endpoint=True)
        return (rng.standard_normal(shape) * np.exp2(exponents)).astype(np.float32)

    return [
        (
            (draw(of_a, spread, SIDE, SIDE, 2).view(np.uint32) >> 16).astype(np.uint16),
            (draw(of_b, spread, SIDE, SIDE, 2).view(np.uint32) >> 16).astype(np.uint16),
            draw(of_a + of_b, spread, SIDE, SIDE),
        )
        for of_a, of_b, spread in ((0, 0, 0), (0, 0, 12), (-63, -63, 3), (-126, 2, 2))
    ]


def tile_product(a: Array, b: Array, before: Array) -> Array:
    """The sums after a multiplication, as derived in `reference/bfloat16.py`."""
    a, b = (_flushed((x.astype(np.uint32) << 16).view(np.float32)) for x in (a, b))
    sums = np.zeros((2, SIDE, SIDE), np.float32)
    for pair in range(SIDE):
        products = a[:, pair].T[:, :, None] * b[pair].T[:, None, :]
        sums = _rounded(sums + products)
    return _rounded(_flushed(before) + _rounded(sums[0].astype(np.float64) + sums[1]))


def _flushed(x: Array) -> Array:
    """Float32 numbers as float64, and 0 instead of denormal ones."""
    return np.where(np.abs(x) < LEAST, np.copysign(0.0, x), x.astype(np.float64))


def _rounded(x: Array) -> Array:
    """Float64 numbers as float32; 0 instead of what is denormal after rounding to 24 bits."""
    return np.where(np.abs(x) < DENORMAL, np.copysign(0.0, x), x).astype(np.float32)
