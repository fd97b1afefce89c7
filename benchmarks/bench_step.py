"""Milliseconds of a training step against PyTorch, in one process, in alternating pairs.

    python benchmarks/bench_step.py [WORKLOAD]... [--threads N] [--pairs N] [--no-compile]

A step is forward, backward, clipping and AdamW. Every side's losses are compared first. A pair is a
step of each side (of a small workload, several in a row), and its ratio PyTorch's time by ours. A
table is printed, then one line of JSON.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# layers, heads, width, context, vocabulary, batch, positions of a batch, biases
WORKLOADS = {
    "tiny": (4, 4, 128, 64, 65, 12, 64, False),
    "baby": (6, 6, 384, 256, 65, 16, 256, False),
    "gpt2": (12, 12, 768, 1024, 50257, 1, 1024, True),
    "gpt2-short": (12, 12, 768, 1024, 50257, 4, 64, True),
}
SHORTEST = 0.2  # seconds: how long a side runs at least in a pair


def main() -> None:
    """Run the workloads named on the command line, by default all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    options = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(options.threads)
    results = {}
    print(f"{'workload':12} {'ours ms':>9} {'eager ms':>9} {'compiled':>9}  ratio (quartiles)")
    for name in options.workloads:
        results[name] = result = measure(name, options)
        low, middle, high = result["ratio"]
        compiled = result["ms"].get("compiled", float("nan"))
        print(
            f"{name:12} {result['ms']['ours']:9.1f} {result['ms']['eager']:9.1f} {compiled:9.1f} "
            f"{middle:9.3f} ({low:.3f}, {high:.3f})",
            flush=True,
        )
    print(json.dumps({"threads": options.threads, "pairs": options.pairs, "results": results}))


def measure(name: str, options: argparse.Namespace) -> dict:
    """Median times in ms, and quartiles of PyTorch's better time by ours, pair by pair."""
    import numpy as np
    import torch

    from gpt_numpy import GPT, AdamW, GPTConfig
    from gpt_numpy.kernels.jit import set_threads
    from gpt_numpy.torch_gpt import TorchTrainer

    set_threads(options.threads)
    torch.set_num_threads(options.threads)
    layers, heads, width, context, vocabulary, batch, length, bias = WORKLOADS[name]
    config = GPTConfig(
        vocab_size=vocabulary, block_size=context, n_layer=layers, n_head=heads, n_embd=width,
        bias=bias, activation="gelu_tanh",
    )  # fmt: skip
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, vocabulary, (batch, length))
    targets = rng.integers(0, vocabulary, (batch, length))
    model = GPT(config, ops="kernels")
    kinds = ["eager"] if options.no_compile else ["eager", "compiled"]
    torch_sides = {k: TorchTrainer(config, dict(model.params), k == "compiled") for k in kinds}
    optimizer = AdamW(model, learning_rate=1e-4, betas=(0.9, 0.95), weight_decay=0.1)

    def our_step() -> float:
        loss = model.forward(tokens, targets)
        model.backward()
        optimizer.step()
        return loss

    torch_tokens, torch_targets = torch.tensor(tokens), torch.tensor(targets)
    sides: dict[str, Callable[[], float]] = {"ours": our_step}
    for kind, trainer in torch_sides.items():
        sides[kind] = lambda trainer=trainer: trainer.step(torch_tokens, torch_targets)
    for _ in range(3):  # warm up, and see that all compute the same
        losses = [step() for step in sides.values()]
        if max(losses) - min(losses) > 1e-4 * losses[0]:
            raise SystemExit(f"{name}: the losses differ: {losses}")

    seconds: dict[str, list[float]] = {kind: [] for kind in sides}
    started = time.perf_counter()
    our_step()
    repeats = max(1, round(SHORTEST / (time.perf_counter() - started)))
    for _ in range(options.pairs):
        for kind, step in sides.items():
            step()  # caches and clocks belong to this side now
            started = time.perf_counter()
            for _ in range(repeats):
                step()
            seconds[kind].append((time.perf_counter() - started) / repeats)
    best = [min(seconds[kind][i] for kind in torch_sides) for i in range(options.pairs)]
    ratios = [theirs / ours for theirs, ours in zip(best, seconds["ours"], strict=True)]
    return {
        "ms": {kind: round(1000 * statistics.median(s), 2) for kind, s in seconds.items()},
        "ratio": [round(q, 3) for q in statistics.quantiles(ratios, n=4, method="inclusive")],
        "tokens_a_second": round(tokens.size / statistics.median(seconds["ours"])),
    }


if __name__ == "__main__":
    main()
