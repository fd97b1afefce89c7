"""An update in several processes of one thread, and in one process of as many threads.

    python -m benchmarks.bench_parallel [WORKLOAD]... [--processes N] [--micro-batches N]

Both sides alternate, each time in new processes. Printed are the medians of the time of an update,
the ratio of the tokens per second (quartiles over the pairs), the share of the time that the
processes wait, and the peak resident size of the largest process. Needs mpi4py and mpiexec.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.bench_memory import MB, peak
from benchmarks.workloads import WORKLOADS, build, pairs, set_thread_variables

ROOT = Path(__file__).resolve().parents[1]
LEAST, SECONDS = 3, 4.0  # updates of a side, and how long it goes on with more


def main() -> None:
    """Alternate the sides, and print one line for each workload."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench_parallel", description=__doc__.split("\n")[0]
    )
    parser.add_argument("workloads", nargs="*", default=["tiny", "baby"])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--micro-batches", type=int, default=8, help="of an update, in all")
    parser.add_argument("--pairs", type=pairs, default=5)
    parser.add_argument("--only", type=int, help="threads: one side, in these processes")
    options = parser.parse_args()
    if options.only:
        side(options.workloads[0], options)
        return
    print(f"{'workload':12} {'one ms':>9} {'all ms':>9} {'tokens/s':>18} {'waits':>6} {'MB':>12}")
    for name in options.workloads:
        apart(name, options.processes, options)  # compiles the kernels
        found = [
            (apart(name, 1, options), apart(name, options.processes, options))
            for _ in range(options.pairs)
        ]
        print(line(name, found), flush=True)


def line(name: str, found: list[tuple[dict[str, Any], dict[str, Any]]]) -> str:
    """The figures of a workload."""
    one, several = (statistics.median(pair[k]["seconds"] for pair in found) for k in (0, 1))
    low, middle, high = statistics.quantiles(
        [a["seconds"] / b["seconds"] for a, b in found], n=4, method="inclusive"
    )
    waits = statistics.median(b["waited"] / b["seconds"] for _, b in found)
    peaks = [max(pair[k]["peak"] for pair in found) / MB for k in (0, 1)]
    times = f"{1e3 * one:9,.1f} {1e3 * several:9,.1f}"
    ratio = f"{middle:5.2f} ({low:4.2f}, {high:4.2f})"
    return f"{name:12} {times} {ratio} {waits:6.1%} {peaks[0]:5,.0f} {peaks[1]:5,.0f}"


def apart(name: str, processes: int, options: argparse.Namespace) -> dict[str, Any]:
    """The figures of one side, measured in new processes."""
    threads = options.processes // processes
    command = [sys.executable, "-m", "benchmarks.bench_parallel", name, "--only", str(threads)]
    command += ["--micro-batches", str(options.micro_batches)]
    if processes > 1:
        ours = Path(sys.executable).with_name("mpiexec")
        starter = str(ours) if ours.exists() else shutil.which("mpiexec")
        if not starter:
            sys.exit("bench_parallel needs mpiexec: pip install -e '.[mpi]'")
        command = [starter, "-n", str(processes), *command]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8", cwd=ROOT)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def side(name: str, options: argparse.Namespace) -> None:
    """Time updates in these processes; the first prints the figures as JSON."""
    set_thread_variables(options.only)
    config, tokens, targets = build(WORKLOADS[name])
    import numpy as np

    import gpt_numpy as gn

    with gn.parallel.start() as world:
        model = gn.GPT(config)
        optimizer = gn.AdamW(model, learning_rate=1e-4, world=world)
        each = len(world.share(options.micro_batches))
        gradient = gn.parallel.TreeSum(model.grads.flat, each)

        def update() -> float:
            begin = perf_counter()
            for _ in range(each):
                model.forward(tokens, targets)
                model.backward(accumulate=gradient.accumulate)
                gradient.add()
            optimizer.step()
            return perf_counter() - begin

        update()
        count = LEAST + int(world.numbers(np.array([SECONDS / update()]))[0])
        before = world.waited
        seconds = [update() for _ in range(count)]
        mine = [statistics.median(seconds), (world.waited - before) / count, float(peak())]
        all_of_them = world.numbers(np.array(mine)).reshape(-1, 3)
        median, waited, _ = all_of_them.mean(axis=0).tolist()
        figures = {"seconds": median, "waited": waited, "peak": all_of_them[:, 2].max()}
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
