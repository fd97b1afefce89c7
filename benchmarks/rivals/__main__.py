"""A training step of every program that trains a GPT on a CPU, in one run.

    python -m benchmarks.rivals [WORKLOAD]... [--rounds N] [--threads N] [--torch PYTHON]
                                [--jax PYTHON] [--llm-c FOLDER]

Each side is a process of its own (side.py, jax_gpt.py, llm_c.c), which takes some steps whenever it
is asked to, while the others wait: a round asks each once. PYTHON is an interpreter that has the
library, FOLDER a clone of karpathy/llm.c, compiled with gcc and the flags below; without it that
side is left out. The ceilings of the two tiles of products (bench_products.py) are measured in each
round as well. A table is printed, with each side's share of its ceiling, then one line of JSON.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.workloads import MODES, WORKLOADS, pairs, set_thread_variables

ROOT = Path(__file__).resolve().parents[2]
OURS = ("float32", "bfloat16")
# As its Makefile, except that infinities stay what they are.
FLAGS = "-Ofast -march=native -fno-finite-math-only -fopenmp -DOMP -w".split()


def main() -> None:
    """Run the workloads named on the command line, by default all."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rivals", description=__doc__.split("\n")[0]
    )
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS))
    parser.add_argument("--rounds", type=pairs, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--torch", default="", help="a Python that has PyTorch")
    parser.add_argument("--jax", default="", help="a Python that has JAX")
    parser.add_argument("--llm-c", default="", help="a folder with the source of llm.c")
    options = parser.parse_args()
    set_thread_variables(options.threads)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        program = compiled(options.llm_c, folder) if options.llm_c else None
        for name in options.workloads:
            results[name] = measure(name, options, program)
            for side, (ms, share) in results[name].items():
                print(f"{name:12} {side:24} {ms:10.1f} ms {share:6.0%} of its ceiling", flush=True)
    print(json.dumps({"threads": options.threads, "rounds": options.rounds, "results": results}))


def compiled(source: str, folder: str) -> str:
    """The program of llm_c.c, compiled with the sources of llm.c."""
    program = f"{folder}/llm_c"
    ours = Path(__file__).with_name("llm_c.c")
    subprocess.run(["gcc", *FLAGS, f"-I{source}", str(ours), "-o", program, "-lm"], check=True)
    return program


def commands(name: str, options: argparse.Namespace, program: str | None) -> dict[str, list[str]]:
    """How each side is started, by its name."""
    side = ["-m", "benchmarks.rivals.side", name, str(options.threads)]
    found = {f"ours {dtype}": [sys.executable, *side, "ours", dtype] for dtype in OURS}
    if options.torch:
        found |= {f"PyTorch {mode}": [options.torch, *side, "torch", mode] for mode in MODES}
    if options.jax:
        found["JAX"] = [options.jax, "-m", "benchmarks.rivals.jax_gpt", name]
    if program:
        sizes = WORKLOADS[name][:7]
        found["llm.c"] = [program, *map(str, sizes)]
    return found


def measure(name: str, options: argparse.Namespace, program: str | None) -> dict:
    """Each side's median time of a step in ms, and its share of its ceiling."""
    from benchmarks.bench_products import ceiling_of, fastest
    from gpt_numpy.kernels.engine.pool import set_threads

    set_threads(options.threads)
    started: dict[str, subprocess.Popen] = {}
    try:
        for side, command in commands(name, options, program).items():
            started[side] = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
            )
            answer(started[side])  # ready, before the next one starts: compiling takes all cores
        seconds: dict[str, list[float]] = {side: [] for side in started}
        limits = dict.fromkeys(OURS, 0.0)
        for _ in range(options.rounds):
            for side, process in started.items():
                process.stdin.write("\n")
                process.stdin.flush()
                seconds[side].append(float(answer(process)))
            for dtype in OURS:
                call, work = ceiling_of(dtype)
                reached = options.threads * work / fastest(call, 0.1)
                limits[dtype] = max(limits[dtype], reached)
    finally:
        for process in started.values():
            process.kill()
            process.wait()
    work = operations(name)
    return {
        side: [
            1000 * (median := statistics.median(times)),
            work / median / limits["bfloat16" if "bf" in side else "float32"],
        ]
        for side, times in seconds.items()
    }


def answer(process: subprocess.Popen) -> str:
    """The next line of a side that begins with `= `, without that; libraries print others."""
    for line in process.stdout:
        if line.startswith("= "):
            return line[2:].strip()
    raise SystemExit(f"{' '.join(map(str, process.args))} ended with status {process.wait()}")


def operations(name: str) -> float:
    """Floating-point operations of the matrix products of a step, as `flops.py` counts them."""
    import dataclasses

    from benchmarks.workloads import build
    from gpt_numpy.model.flops import forward_flops

    config, tokens, _ = build(WORKLOADS[name])
    batch, length = tokens.shape
    config = dataclasses.replace(config, block_size=length)
    return 3 * sum(forward_flops(config, batch).values())


if __name__ == "__main__":
    main()
