"""Peak memory of training, ours and PyTorch's, each in a process of its own.

    python -m benchmarks.bench_memory [WORKLOAD]... [--dtype bfloat16] [--threads N] [--steps N]

Measured is the peak resident size of the whole process, libraries included, over a few steps. Ours
runs twice, so that the second run finds its kernels compiled. With `--only` the growth is printed
too: what the process gains between the first tenth of the steps and the last; 0 if nothing leaks.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.workloads import WORKLOADS, build, our_step, set_thread_variables, torch_step

MB = 1e6
ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Run each side in its own process, and print one line for each workload."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench_memory", description=__doc__.split("\n")[0]
    )
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--only", choices=("ours", "torch"), help="one side, in this process")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(train(options.workloads[0], options)))
        return
    print(f"{'workload':12} {'ours MB':>9} {'PyTorch MB':>11} {'ratio':>7}")
    for name in options.workloads:
        apart(name, "ours", options)
        ours, theirs = (apart(name, side, options)["peak"] for side in ("ours", "torch"))
        print(f"{name:12} {ours / MB:9.0f} {theirs / MB:11.0f} {ours / theirs:7.3f}", flush=True)


def apart(name: str, side: str, options: argparse.Namespace) -> dict:
    """The figures of one side, measured in a new process."""
    command = [sys.executable, "-m", "benchmarks.bench_memory", name, "--only", side]
    command += ["--threads", str(options.threads), "--steps", str(options.steps)]
    command += ["--dtype", options.dtype]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8", cwd=ROOT)
    return json.loads(done.stdout.splitlines()[-1])


def train(name: str, options: argparse.Namespace) -> dict:
    """Train; return the peak and the growth of the process, in bytes."""
    set_thread_variables(options.threads)
    config, tokens, targets = build(WORKLOADS[name])
    if options.only == "ours":
        step, _ = our_step(config, tokens, targets, options.threads, options.dtype)
    else:
        from gpt_numpy import GPT

        weights = dict(GPT(config, ops="reference").params)
        mode = "eager" if options.dtype == "float32" else "eager bf16"
        step = torch_step(config, tokens, targets, options.threads, weights, mode)
        del weights
    early = 0
    for k in range(options.steps):
        step()
        if k <= options.steps // 10:
            early = resident()
    return {"peak": peak(), "growth": resident() - early}


def resident() -> int:
    """The resident size of this process now, in bytes."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


def peak() -> int:
    """The largest resident size of this process so far, in bytes."""
    with open("/proc/self/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
