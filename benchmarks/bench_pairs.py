"""Milliseconds of a training step of an encoder-decoder against PyTorch, in alternating pairs.

    python -m benchmarks.bench_pairs [WORKLOAD]... [--threads N] [--pairs N] [--no-compile]

A step is forward with dropout and label smoothing, backward and Adam. Sources and targets have
lengths between half of the longest and the longest. The losses without dropout are compared first;
then a pair is one step of each side, and its ratio is PyTorch's better time divided by ours.
"""

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.workloads import pairs, set_thread_variables

# layers, heads, width, hidden, vocabulary, sequences, positions of source and target
WORKLOADS = {
    "copy": (2, 4, 64, 256, 11, 80, 10, 10),  # the Annotated Transformer's task, smaller
    "addition": (2, 4, 128, 512, 16, 128, 12, 8),
    "verses": (3, 4, 256, 1024, 8000, 32, 32, 32),  # a small translator
    "multi30k": (3, 8, 256, 512, 8000, 128, 16, 16),  # a well-known tutorial's
}


def main() -> None:
    """Run the workloads named on the command line, by default all."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench_pairs", description=__doc__.split("\n")[0]
    )
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=pairs, default=9)
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile")
    options = parser.parse_args()
    set_thread_variables(options.threads)
    kinds = ["eager"] if options.no_compile else ["eager", "compiled"]
    print(
        f"{'workload':12}" + "".join(f"{s:>12}" for s in ("ours", *kinds)) + "  ratio (quartiles)"
    )
    results = {}
    for name in options.workloads:
        results[name] = result = measure(name, kinds, options)
        low, middle, high = result["ratio"]
        times = "".join(f"{result['ms'][side]:12.1f}" for side in ("ours", *kinds))
        print(f"{name:12}{times}  {middle:.3f} ({low:.3f}, {high:.3f})", flush=True)
    print(json.dumps({"threads": options.threads, "pairs": options.pairs, "results": results}))


def measure(name: str, kinds: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Median times in ms, and quartiles of the ratio of PyTorch's better time to ours."""
    sides = steps_of(name, kinds, options.threads)
    for _ in range(3):  # warm up
        for step in sides.values():
            step()
    seconds: dict[str, list[float]] = {kind: [] for kind in sides}
    for _ in range(options.pairs):
        for kind, step in sides.items():
            step()  # bring this side's data into the caches
            started = time.perf_counter()
            for _ in range(5):
                step()
            seconds[kind].append((time.perf_counter() - started) / 5)
    best = [min(seconds[kind][i] for kind in kinds) for i in range(options.pairs)]
    ratios = [theirs / ours for theirs, ours in zip(best, seconds["ours"], strict=True)]
    return {
        "ms": {kind: round(1000 * statistics.median(s), 2) for kind, s in seconds.items()},
        "ratio": [round(q, 3) for q in statistics.quantiles(ratios, n=4, method="inclusive")],
    }


def steps_of(name: str, kinds: list[str], threads: int) -> dict[str, Callable[[], float]]:
    """A training step of each side, from the same parameters; their first losses agree."""
    import torch

    from benchmarks.torch_transformer import TorchPairTrainer, TorchTransformer, load
    from gpt_numpy import AdamW, Transformer
    from gpt_numpy.kernels.engine.pool import set_threads

    set_threads(threads)
    torch.set_num_threads(threads)
    config, source, target = build(WORKLOADS[name])
    model = Transformer(config)
    given = torch.tensor(source), torch.tensor(target)
    without = TorchTransformer(dataclasses.replace(config, dropout=0.0))
    load(without, dict(model.params))
    losses = model.forward(source, target), without(*given).item()
    if abs(losses[0] - losses[1]) > 1e-4 * losses[1]:
        raise SystemExit(f"{name}: the losses differ: {losses}")
    optimizer = AdamW(
        model, learning_rate=1e-4, betas=(0.9, 0.98), eps=1e-9, weight_decay=0.0, grad_clip=0.0
    )
    keys = iter(range(10**9))

    def ours() -> float:
        loss = model.forward(source, target, dropout_key=next(keys))
        model.backward()
        optimizer.step()
        return float(loss)

    sides = {"ours": ours}
    for kind in kinds:
        trainer = TorchPairTrainer(config, dict(model.params), compiled=kind == "compiled")
        sides[kind] = lambda trainer=trainer: trainer.step(*given)  # type: ignore[misc]
    return sides


def build(sizes: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """The configuration of a workload, random sources and targets of many lengths."""
    import numpy as np

    from gpt_numpy import TransformerConfig
    from gpt_numpy.config.transformer import BEGIN, END, PAD

    layers, heads, width, hidden, vocabulary, B, S, T = sizes
    config = TransformerConfig(
        vocab_size=vocabulary, source_size=S, target_size=T, n_layer=layers, n_head=heads,
        n_embd=width, n_hidden=hidden, dropout=0.1, label_smoothing=0.1,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    source = rng.integers(END + 1, vocabulary, (B, S))
    target = rng.integers(END + 1, vocabulary, (B, T + 1))
    source[np.arange(S) >= rng.integers(S // 2, S + 1, (B, 1))] = PAD
    last = rng.integers(T // 2, T + 1, (B, 1))
    target[np.arange(T + 1) > last] = PAD
    np.put_along_axis(target, last, END, axis=1)
    target[:, 0] = BEGIN
    return config, source, target


if __name__ == "__main__":
    main()
