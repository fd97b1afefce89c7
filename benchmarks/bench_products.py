"""The three matrix products of a linear layer, in GFLOP/s and as a share of the tile's ceiling.

    python -m benchmarks.bench_products [--dtype bfloat16] [--threads N] [--seconds S]

The ceiling is a register tile whose operands lie in the first-level cache, on one core, times the
number of threads. Operands and results of the products are float32: rounding to bfloat16 and
packing are part of their time. A figure is the best of the calls of S seconds; ceiling and products
alternate, for the machine changes its speed.
"""

import argparse
import json
import time
from collections.abc import Callable

import numpy as np

from benchmarks.bench_kernels import ceiling
from gpt_numpy.kernels.engine import pool
from gpt_numpy.kernels.engine.jit import Int, Pairs, Single, kernel, prange
from gpt_numpy.kernels.linear import PRODUCTS
from gpt_numpy.kernels.products import tile, tile_choice
from gpt_numpy.kernels.products.tile import Matrix
from gpt_numpy.kernels.products.tile_choice import begin_tiles, end_tiles, pairs_by_rows

# rows (positions), inner dimension, columns: of `tiny`, `baby` and `gpt2`
SHAPES = (
    (768, 128, 384), (768, 128, 128), (768, 128, 512), (768, 512, 128),
    (4096, 384, 1536), (4096, 1536, 384),
    (1024, 768, 2304), (1024, 768, 3072), (1024, 3072, 768),
)  # fmt: skip
STEPS, EACH = 256, 32768  # of a tile of the ceiling; elements of its memory
ROUNDS = 4000  # tiles of a measurement of the ceiling, some ms


@kernel
def ceiling_of_pairs(out: Single, pairs: Pairs, rounds: Int, height: Int, width: Int, workers: Int):
    """Repeat tiles of 256 pairs from the first-level cache."""
    for worker in prange(workers):
        at = worker * EACH
        begin_tiles()
        for _ in range(rounds):
            left, target = Matrix(pairs, at, STEPS), Matrix(out, at, width)
            pairs_by_rows(left, height, pairs, at + STEPS * height, target, STEPS, False)
        end_tiles()


def ceiling_of(dtype: str) -> tuple[Callable[[], None], float]:
    """A call that repeats tiles on one core, and its floating-point operations."""
    space = np.zeros(EACH, np.float32)
    if dtype == "float32":
        columns = tile.TILE_VECTORS * tile.VECTOR_BITS // 32
        work = 2.0 * tile.TILE_ROWS * columns * STEPS
        return lambda: ceiling(space, ROUNDS, 1, EACH), work * ROUNDS
    height, width, pairs = tile_choice.TILE_ROWS, tile_choice.WIDTH, space.view(np.uint32)
    out, work = np.zeros_like(space), 4.0 * height * width * STEPS
    return lambda: ceiling_of_pairs(out, pairs, ROUNDS, height, width, 1), work * ROUNDS


def products_of(dtype: str, shape: tuple[int, int, int]) -> list[Callable[[], None]]:
    """Calls of the three products, x @ w, x @ w.T and x.T @ dout, of `shape`."""
    rows, inner, columns = shape
    rng = np.random.default_rng(0)
    x, w, wt, dout, y, dw = (
        rng.standard_normal(s).astype(np.float32)
        for s in (
            (rows, inner), (inner, columns), (columns, inner), (rows, columns),
            (rows, columns), (inner, columns),
        )
    )  # fmt: skip
    products = PRODUCTS["full" if dtype == "float32" else dtype]
    return [
        lambda: products.multiply(x, w, y),
        lambda: products.multiply(x, wt, y, transposed=True),
        lambda: products.multiply_columns(x, dout, dw),
    ]


def fastest(call: Callable[[], None], seconds: float) -> float:
    """The shortest time of the calls that `seconds` allow, in seconds."""
    best, end = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - started)
    return best


def main() -> None:
    """Print a line for each shape, then one line of JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench_products", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--threads", type=int, default=pool.threads())
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--seconds", type=float, default=0.3)
    options = parser.parse_args()
    pool.set_threads(options.threads)
    tiles, work = ceiling_of(options.dtype)
    calls = {shape: products_of(options.dtype, shape) for shape in SHAPES}
    for call in (tiles, *(call for three in calls.values() for call in three)):
        call()  # compiled, and all memory touched
    print("GFLOP/s of x @ w, x @ w.T, x.T @ dout; in brackets: of the ceiling, measured with them")
    results = {}
    for shape, three in calls.items():
        limits, rates = [], []
        for call in three:
            limits.append(options.threads * work / fastest(tiles, options.seconds / 3) / 1e9)
            rates.append(2.0 * np.prod(shape) / fastest(call, options.seconds) / 1e9)
        limit = max(limits)
        cells = "".join(f"{rate:8.0f} ({rate / limit:4.0%})" for rate in rates)
        print(f"{' x '.join(map(str, shape)):20}{cells}   ceiling {limit:.0f}", flush=True)
        results[" x ".join(map(str, shape))] = {"gflops": rates, "ceiling": limit}
    print(json.dumps({"threads": options.threads, "dtype": options.dtype, "results": results}))


if __name__ == "__main__":
    main()
