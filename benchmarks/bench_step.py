"""Milliseconds of a training step against PyTorch, in one process, in alternating pairs.

    python -m benchmarks.bench_step [WORKLOAD]... [--dtype bfloat16] [--threads N] [--pairs N]

With --dtype=float32, the default, the rivals are PyTorch's float32, eager and compiled; with
bfloat16 also both under autocast. The losses of all sides are compared first. A pair is one step of
each side (several in a row, where a step is short); its ratio is the time of PyTorch's best mode
divided by ours. A table is printed, then one line of JSON.
"""

import argparse
import json
import statistics
import time

from benchmarks.workloads import (
    MODES,
    WORKLOADS,
    build,
    our_step,
    pairs,
    set_thread_variables,
    torch_step,
)

SHORTEST = 0.2  # seconds that each side runs in a pair, at least


def main() -> None:
    """Run the workloads named on the command line, by default all."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench_step", description=__doc__.split("\n")[0]
    )
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=pairs, default=9)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile")
    options = parser.parse_args()
    set_thread_variables(options.threads)
    results = {}
    modes = modes_of(options)
    print(
        f"{'workload':12}" + "".join(f"{s:>15}" for s in ("ours", *modes)) + "  ratio (quartiles)"
    )
    for name in options.workloads:
        results[name] = result = measure(name, options)
        low, middle, high = result["ratio"]
        times = "".join(f"{result['ms'][side]:15.1f}" for side in ("ours", *modes))
        print(f"{name:12}{times}  {middle:.3f} ({low:.3f}, {high:.3f})", flush=True)
    measured = {"threads": options.threads, "pairs": options.pairs, "dtype": options.dtype}
    print(json.dumps({**measured, "results": results}))


def modes_of(options: argparse.Namespace) -> list[str]:
    """PyTorch's modes that are measured."""
    return [
        mode
        for mode in MODES
        if (options.dtype == "bfloat16" or "bf16" not in mode)
        and not (options.no_compile and "compiled" in mode)
    ]


def measure(name: str, options: argparse.Namespace) -> dict:
    """Median times in ms, and quartiles of the ratio of PyTorch's better time to ours."""
    config, tokens, targets = build(WORKLOADS[name])
    ours, model = our_step(config, tokens, targets, options.threads, options.dtype)
    kinds = modes_of(options)
    weights = dict(model.params)
    sides = {"ours": ours}
    for kind in kinds:
        sides[kind] = torch_step(config, tokens, targets, options.threads, weights, kind)
    largest = 1e-4 if options.dtype == "float32" else 1e-2  # of the loss
    for _ in range(3):  # warm up, and check that all compute the same
        losses = [step() for step in sides.values()]
        if max(losses) - min(losses) > largest * losses[0]:
            raise SystemExit(f"{name}: the losses differ: {losses}")

    seconds: dict[str, list[float]] = {kind: [] for kind in sides}
    started = time.perf_counter()
    ours()
    repeats = max(1, round(SHORTEST / (time.perf_counter() - started)))
    for _ in range(options.pairs):
        for kind, step in sides.items():
            step()  # bring this side's data into the caches
            started = time.perf_counter()
            for _ in range(repeats):
                step()
            seconds[kind].append((time.perf_counter() - started) / repeats)
    best = [min(seconds[kind][i] for kind in kinds) for i in range(options.pairs)]
    ratios = [theirs / ours for theirs, ours in zip(best, seconds["ours"], strict=True)]
    return {
        "ms": {kind: round(1000 * statistics.median(s), 2) for kind, s in seconds.items()},
        "ratio": [round(q, 3) for q in statistics.quantiles(ratios, n=4, method="inclusive")],
        "tokens_a_second": round(tokens.size / statistics.median(seconds["ours"])),
    }


if __name__ == "__main__":
    main()
