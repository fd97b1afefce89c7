"""Generated tokens a second against PyTorch, in one process, in alternating turns.

    python -m benchmarks.bench_generate [WORKLOAD]... [--dtype bfloat16] [--threads N] [--pairs N]
                                        [--tokens N]

PyTorch generates twice: recomputing the whole sequence for every token, as nanoGPT does, and with a
cache of keys and values. All sides start from one token and take the most likely one each time; the
results are compared first. A ratio is PyTorch's time divided by ours, turn by turn. The machine's
memory bandwidth is measured too: reading all weights once a token is the upper bound, and our share
of it is reported. A table is printed, then one line of JSON.

With `--dtype bfloat16` the other sides are our own float32 and PyTorch's whole model in bfloat16,
with a cache. Each rounds in its own way, so the most likely token may differ: how many of the first
tokens are the same is in the JSON. Copying the weights to 16 bits is part of our time.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from benchmarks.workloads import pairs, set_thread_variables

if TYPE_CHECKING:  # imported after the number of threads is set
    from gpt_numpy import GPT
    from gpt_numpy.base.arrays import Array

# layers, heads, width, context, vocabulary, biases, new tokens
WORKLOADS = {
    "tiny": (4, 4, 128, 64, 65, False, 63),
    "baby": (6, 6, 384, 256, 65, False, 255),
    "gpt2": (12, 12, 768, 1024, 50257, True, 48),
}
READ = 1 << 27  # elements of float32 read to measure the rate: more than any cache holds


def main() -> None:
    """Run the workloads named on the command line, by default all."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench_generate", description=__doc__.split("\n")[0]
    )
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=pairs, default=9)
    parser.add_argument("--tokens", type=int, default=0, help="new tokens; 0: the default")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    set_thread_variables(options.threads)
    results = {}
    print("tokens/s and ratio (quartiles) of each side; share of reading the weights once")
    for name in options.workloads:
        results[name] = result = measure(name, options)
        rate, ratio = result["tokens_a_second"], result["ratio"]
        others = "".join(f", {side} {rate[side]:.1f} {ratio[side]}" for side in ratio)
        share = result["share_of_reading"]
        print(f"{name}: ours {rate['ours']:.1f}{others}; {share:.2f}", flush=True)
    settings = {"threads": options.threads, "pairs": options.pairs, "dtype": options.dtype}
    print(json.dumps({**settings, "results": results}))


def measure(name: str, options: argparse.Namespace) -> dict:
    """Median rates, quartiles of the ratios, and the share of the memory bound."""
    import numpy as np

    from gpt_numpy import GPT, GPTConfig
    from gpt_numpy.kernels.engine.pool import set_threads

    set_threads(options.threads)
    layers, heads, width, context, vocabulary, bias, count = WORKLOADS[name]
    count = min(options.tokens or count, context - 1)
    config = GPTConfig(
        vocab_size=vocabulary, block_size=context, n_layer=layers, n_head=heads, n_embd=width,
        bias=bias, activation="gelu_tanh",
    )  # fmt: skip
    model = GPT(config, ops="kernels")
    model.params.flat[...] *= 3  # so that the most likely token is not a near tie
    sides = sides_of(model, count, options)
    written = {side: run() for side, run in sides.items()}  # warm up, and compare
    agree = {}
    for side, tokens in written.items():
        differ = np.flatnonzero(tokens != written["ours"])
        agree[side] = int(differ[0]) - 1 if differ.size else count
        if differ.size and options.dtype == "float32":
            raise SystemExit(f"{name}: ours and {side} differ")
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    reading = []
    for _ in range(options.pairs):
        for side, run in sides.items():
            started = time.perf_counter()
            run()
            seconds[side].append(time.perf_counter() - started)
        reading.append(rate_of_reading(np, options.threads))
    ratios = {
        side: [b / a for a, b in zip(seconds["ours"], seconds[side], strict=True)]
        for side in sides
        if side != "ours"
    }
    rates = {side: count / statistics.median(s) for side, s in seconds.items()}
    read = model.n_params - config.block_size * width  # of the position table one row is read
    read *= 4 if options.dtype == "float32" else 2
    bandwidth = statistics.median(reading)
    return {
        "tokens": count,
        "first_tokens_equal": agree,
        "tokens_a_second": {side: round(rate, 1) for side, rate in rates.items()},
        "ratio": {
            side: [round(q, 2) for q in statistics.quantiles(r, n=4, method="inclusive")]
            for side, r in ratios.items()
        },
        "read_GB_a_second": round(bandwidth / 1e9, 1),
        "share_of_reading": round(rates["ours"] * read / bandwidth, 3),
    }


def sides_of(
    model: "GPT", count: int, options: argparse.Namespace
) -> "dict[str, Callable[[], Array]]":
    """What is timed, by name: functions that write `count` tokens after token 0."""
    import torch

    from benchmarks import torch_gpt
    from gpt_numpy import GPT, generate

    torch.set_num_threads(options.threads)
    theirs = torch_gpt.TorchGPT(model.config)
    torch_gpt.load(theirs, dict(model.params))
    first = torch.zeros((1, 1), dtype=torch.int64)

    def ours(one: GPT) -> "Callable[[], Array]":
        return lambda: generate(one, [0], count, temperature=0)

    def pytorch(*, cached: bool) -> "Callable[[], Array]":
        return lambda: torch_gpt.generate(theirs, first, count, cached=cached)[0].numpy()

    if options.dtype == "float32":
        return {
            "ours": ours(model),
            "recomputed": pytorch(cached=False),
            "kept": pytorch(cached=True),
        }
    theirs.to(torch.bfloat16)
    rounded = GPT(model.config, seed=None, dtype=options.dtype, ops="kernels")
    rounded.params.flat[...] = model.params.flat
    return {"ours": ours(rounded), "float32": ours(model), "kept": pytorch(cached=True)}


def rate_of_reading(np: object, threads: int) -> float:
    """Memory bandwidth of all threads together, in bytes a second; the best of three."""
    from gpt_numpy.kernels import sum_of_squares
    from gpt_numpy.kernels.engine.jit import workspace

    data = workspace("reading", READ, np.float32)
    if data[0] != 1:
        data[...] = 1
    best = 0.0
    for _ in range(3):
        started = time.perf_counter()
        sum_of_squares(data)
        best = max(best, data.nbytes / (time.perf_counter() - started))
    return best


if __name__ == "__main__":
    main()
