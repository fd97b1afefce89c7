"""Time per useful operation while layers, batch or width double, and from one thread to two.

    python -m benchmarks.bench_scaling [--threads N] [--doublings N] [--plot FILE.png]

The time per operation should stay level or fall. The last line compares `baby` on one thread and on
all. `--plot` needs matplotlib.
"""

import argparse
import statistics
import time
from collections.abc import Callable

from benchmarks.workloads import WORKLOADS, build, our_step, set_thread_variables

BASE = {"layers": 2, "batch": 4, "width": 128}  # what is not doubled; 4 heads, context 64
STEPS = 9


def main() -> None:
    """Print the table and the line on threads; draw the table if asked."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench_scaling", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--doublings", type=int, default=4)
    parser.add_argument("--plot", metavar="FILE", help="draw the table (needs matplotlib)")
    options = parser.parse_args()
    set_thread_variables(options.threads)
    rows: dict[str, list[tuple[int, float]]] = {name: [] for name in BASE}
    print(f"{'doubled':8} {'to':>6} {'ms a step':>10} {'ps an operation':>16}")
    for name in BASE:
        for k in range(options.doublings + 1):
            shape = BASE | {name: BASE[name] << k}
            sizes = (shape["layers"], 4, shape["width"], 64, 65, shape["batch"], 64, False)
            seconds, operations = time_of(sizes, options.threads)
            rows[name].append((shape[name], seconds / operations * 1e12))
            print(
                f"{name:8} {shape[name]:6} {1e3 * seconds:10.2f} {rows[name][-1][1]:16.2f}",
                flush=True,
            )
    one, _ = time_of(WORKLOADS["baby"], 1)
    two, _ = time_of(WORKLOADS["baby"], options.threads)
    print(
        f"baby: 1 thread {one:.3f} s, {options.threads} threads {two:.3f} s: {one / two:.2f} times"
    )
    if options.plot:
        draw(rows, options.plot)


def time_of(sizes: tuple, threads: int) -> tuple[float, float]:
    """Median seconds of a step, and its number of useful operations."""
    from gpt_numpy.model.flops import forward_flops

    config, tokens, targets = build(sizes)
    step, _ = our_step(config, tokens, targets, threads)
    step()
    seconds = statistics.median(timed(step) for _ in range(STEPS))
    return seconds, 3 * sum(forward_flops(config, len(tokens)).values())


def timed(step: Callable[[], float]) -> float:
    """Seconds of one step."""
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def draw(rows: dict[str, list[tuple[int, float]]], path: str) -> None:
    """Draw a line for each dimension."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots()
    for name, points in rows.items():
        axes.plot([x / points[0][0] for x, _ in points], [y for _, y in points], "o-", label=name)
    axes.set(xscale="log", xlabel="times the base", ylabel="picoseconds a useful operation")
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
