"""One side of benchmarks/rivals, ours or PyTorch's, as a process that takes steps when asked.

    python -m benchmarks.rivals.side WORKLOAD THREADS ours|torch DTYPE|MODE

It prints "= ready" when it is warm. For every line that it reads it takes as many steps as last
SHORTEST seconds, at least one, and prints "= " and the seconds of a step.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.workloads import WORKLOADS, build, our_step, set_thread_variables, torch_step

SHORTEST = 0.3  # seconds


def serve(step: Callable[[], Any]) -> None:
    """Answer each line of standard input with the seconds of a step."""
    for _ in range(3):
        step()
    print("= ready", flush=True)
    for _ in sys.stdin:
        step()  # bring this side's data into the caches
        steps, started = 0, time.perf_counter()
        while time.perf_counter() - started < SHORTEST:
            step()
            steps += 1
        print("=", (time.perf_counter() - started) / steps, flush=True)


def main(workload: str, threads: str, side: str, mode: str) -> None:
    """Build a side and serve it."""
    set_thread_variables(int(threads))
    config, tokens, targets = build(WORKLOADS[workload])
    if side == "ours":
        serve(our_step(config, tokens, targets, int(threads), mode)[0])
        return
    from gpt_numpy import GPT

    weights = dict(GPT(config, ops="reference").params)
    serve(torch_step(config, tokens, targets, int(threads), weights, mode))


if __name__ == "__main__":
    main(*sys.argv[1:])
