"""Every kernel: checked against its reference, then timed, as a share of the machine's ceiling.

    python -m benchmarks.bench_kernels [--threads N]

The ceiling of arithmetic is a register tile with its operands in the first-level cache; that of
memory is a sum of squares over 256 MB. Sizes are those of a block of the `baby` preset, batch 16.
"""

import argparse
import importlib
import json
import time
from collections.abc import Callable

import numpy as np

from gpt_numpy import kernels
from gpt_numpy.kernels import attention, layernorm
from gpt_numpy.kernels.engine import pool
from gpt_numpy.kernels.engine.jit import Int, Out, kernel, prange
from gpt_numpy.kernels.products.tile import (
    TILE_ROWS,
    TILE_VECTORS,
    VECTOR_BITS,
    Matrix,
    panel_width,
    tile_by_rows,
)
from gpt_numpy.reference.dropout import NO_DROPOUT, Dropout

B, T, C, H, V = 16, 256, 384, 6, 65
ROWS, F = B * T, 4 * C


@kernel
def ceiling(space: Out, rounds: Int, workers: Int, each: Int):
    """Repeat tiles of 256 steps from the first-level cache."""
    for worker in prange(workers):
        at = worker * each
        width = panel_width(space)
        out_at = at + 256 * (TILE_ROWS + width)
        for _ in range(rounds):
            left, out = Matrix(space, at, 256), Matrix(space, out_at, width)
            tile_by_rows(left, TILE_ROWS, space, at + 256 * TILE_ROWS, out, 256, False)


def fastest(function: Callable[[], None], repeats: int = 9) -> float:
    """The shortest time of `repeats` calls, in seconds."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return min(times)


def ceilings(workers: int) -> tuple[float, float]:
    """GFLOP/s and GB/s that this machine reaches with `workers` threads."""
    each, rounds = 32768, 20000
    space = np.zeros(workers * each, np.float32)
    columns = TILE_VECTORS * VECTOR_BITS // 32
    work = 2.0 * TILE_ROWS * columns * 256 * rounds * workers
    ceiling(space, 1, workers, each)
    flops = work / fastest(lambda: ceiling(space, rounds, workers, each))
    large = np.zeros(1 << 26, np.float32)
    kernels.sum_of_squares(large)
    return flops / 1e9, large.nbytes / fastest(lambda: kernels.sum_of_squares(large)) / 1e9


def cases() -> dict[str, tuple[str, list, dict, float, str]]:
    """By function: module, inputs, shapes it writes, work, and its unit (F: FLOP, B: bytes)."""
    rng = np.random.default_rng(0)

    def random(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    x, weight, bias = random(B, T, C), random(C), random(C)
    wide, fc = random(B, T, F), random(C, F)
    qkv, dout = random(B, T, 3 * C), random(B, T, C)
    logits, targets = random(B, T, V), rng.integers(0, V, (B, T))
    causal = 2.0 * B * H * T * (T + 1) / 2 * (C // H)
    drop = [NO_DROPOUT]
    out, lse = np.empty_like(dout), np.empty((B, H, T), np.float32)
    attention.attention_forward(qkv, H, *drop, out=out, lse=lse)
    mean, rstd, row = np.empty((B, T), np.float32), np.empty((B, T), np.float32), (B, T)
    layernorm.layernorm_forward(x, weight, bias, np.empty_like(x), mean, rstd)
    return {
        "linear_forward": ("linear", [x, fc, None], {"out": (B, T, F)}, 2.0 * ROWS * C * F, "F"),
        "linear_backward": (
            "linear", [wide, x, fc, None], {"dx": x.shape, "dweight": fc.shape, "dbias": F},
            4.0 * ROWS * C * F, "F",
        ),
        "attention_forward": (
            "attention", [qkv, H, *drop], {"out": x.shape, "lse": lse.shape}, 2 * causal, "F",
        ),
        "attention_backward": (
            "attention", [dout, qkv, H, *drop, out, lse], {"dqkv": qkv.shape}, 5 * causal, "F",
        ),
        "layernorm_forward": (
            "layernorm", [x, weight, bias], {"out": x.shape, "mean": row, "rstd": row},
            2.0 * x.nbytes, "B",
        ),
        "layernorm_backward": (
            "layernorm", [dout, x, weight, bias, mean, rstd],
            {"dx": x.shape, "dweight": C, "dbias": C}, 3.0 * x.nbytes, "B",
        ),
        "gelu_forward": ("activation", [wide], {"out": wide.shape}, 2.0 * wide.nbytes, "B"),
        "gelu_tanh_forward": ("activation", [wide], {"out": wide.shape}, 2.0 * wide.nbytes, "B"),
        "gelu_tanh_backward": (
            "activation", [wide, wide], {"dx": wide.shape}, 3.0 * wide.nbytes, "B",
        ),
        "dropout_forward": (
            "dropout", [x, Dropout.of(0.2, 1, 1)], {"out": x.shape}, 2.0 * x.nbytes, "B",
        ),
        "cross_entropy_forward": (
            "cross_entropy", [logits, targets], {"out": row, "lse": row}, 1.0 * logits.nbytes, "B",
        ),
    }  # fmt: skip


def main() -> None:
    """Print a line for each kernel, then one line of JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench_kernels", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--threads", type=int, default=pool.threads())
    threads = parser.parse_args().threads
    pool.set_threads(threads)
    flops, bandwidth = ceilings(threads)
    print(f"ceiling, {threads} threads: {flops:.0f} GFLOP/s, {bandwidth:.1f} GB/s")
    print(f"{'kernel':24} {'error':>8} {'ms':>9} {'rate':>16} {'of ceiling':>10} {'x ref':>7}")
    results = {}
    for name, (module, inputs, shapes, work, unit) in cases().items():
        ours, theirs = (
            getattr(importlib.import_module(f"gpt_numpy.{package}.{module}"), name)
            for package in ("kernels", "reference")
        )
        got = {n: np.full(s, np.nan, np.float32) for n, s in shapes.items()}
        exact = {n: np.full(s, np.nan) for n, s in shapes.items()}
        wide = [
            i.astype(np.float64) if isinstance(i, np.ndarray) and i.dtype.kind == "f" else i
            for i in inputs
        ]
        ours(*inputs, **got)
        theirs(*wide, **exact)
        largest = max(np.abs(e).max() for e in exact.values())
        error = max(
            np.abs(got[n] - e).max() / max(np.abs(e).max(), 1e-3 * largest)
            for n, e in exact.items()
        )
        if not error < 5e-6:
            raise SystemExit(f"{name} is wrong: error {error:.1e}")
        seconds = fastest(lambda: ours(*inputs, **got))  # noqa: B023
        slow = fastest(lambda: theirs(*inputs, **got), 2)  # noqa: B023
        rate, limit = work / seconds / 1e9, flops if unit == "F" else bandwidth
        label = f"{rate:.1f} G{'FLOP' if unit == 'F' else 'B'}/s"
        print(
            f"{name:24} {error:8.1e} {1e3 * seconds:9.3f} {label:>16} {rate / limit:10.0%} "
            f"{slow / seconds:7.1f}",
            flush=True,
        )
        results[name] = {"ms": 1e3 * seconds, "rate": rate, "share": rate / limit}
    print(json.dumps({"threads": threads, "gflops": flops, "gbs": bandwidth, "kernels": results}))


if __name__ == "__main__":
    main()
