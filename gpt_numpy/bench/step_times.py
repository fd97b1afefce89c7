"""How fast a training step is on this machine, layer by layer, and how fast it could be.

The ceiling is what this machine was seen to do at best: a matrix product that stays in the caches,
by NumPy's BLAS and, with ops="kernels", by this project's own. Only useful operations are counted:
what backward recomputes is not.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from gpt_numpy.model.flops import forward_flops, machine_peak
from gpt_numpy.model.gpt import GPT
from gpt_numpy.training.optimizer import AdamW

BURN_IN, TIMED = 10, 20  # steps, as in nanoGPT's bench.py
SECONDS = 20.0  # after which a slow model is timed no further, but for three steps


def bench(model: GPT, batch_size: int, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Time training steps on random tokens and say the figures; they are returned as well.

    Returns
    -------
    A dictionary: `ms` a step (median), `tokens_per_second`, `ceiling` in operations a second,
    `share` of it, and `layers`: forward and backward ms of each kind.
    """
    config = model.config
    rng = np.random.default_rng(0)
    tokens, targets = rng.integers(0, config.vocab_size, (2, batch_size, config.block_size))
    optimizer = AdamW(model, learning_rate=1e-4)
    ceiling = measure_ceiling(model)
    say(f"this machine's ceiling: {ceiling / 1e9:,.0f} GFLOP/s ({model.dtype})")

    def step() -> None:
        model.forward(tokens, targets, dropout_key=0)
        model.backward()
        optimizer.step()

    ms = 1e3 * time_steps(step)
    flops = sum(forward_flops(config, batch_size).values()) * 3
    figures: dict[str, Any] = {
        "ms": ms,
        "tokens_per_second": tokens.size / ms * 1e3,
        "ceiling": ceiling,
        "share": flops / ms * 1e3 / ceiling,
        "layers": layer_times(model, optimizer, tokens.shape),
    }
    say(
        f"time per iteration: {ms:.2f} ms, {figures['tokens_per_second']:,.0f} tokens/s, "
        f"{flops / ms / 1e6:,.0f} GFLOP/s, MFU: {figures['share']:.1%}"
    )
    for line in layer_lines(figures["layers"], forward_flops(config, batch_size), ceiling):
        say(line)
    return figures


def time_steps(step: Callable[[], object]) -> float:
    """The median time of a step, in seconds, after some that do not count."""
    start = time.perf_counter()
    times: list[float] = []
    for k in range(BURN_IN + TIMED):
        before = time.perf_counter()
        step()
        times.append(time.perf_counter() - before)
        if k >= 3 and time.perf_counter() - start > SECONDS:
            break
    return statistics.median(times[min(BURN_IN, len(times) - 3) :])


def layer_times(
    model: GPT, optimizer: AdamW, shape: tuple[int, int], steps: int = 5
) -> dict[str, list[float]]:
    """Forward and backward time of each kind of layer, all blocks together, in ms a step.

    The calls are those that training makes, on the batch of the last pass.
    """
    calls = model.calls(shape, dropout=model.config.dropout > 0)
    times: dict[str, list[float]] = {call.stage.kind: [0.0, 0.0] for call in calls.forward}
    times["optimizer"] = [0.0, 0.0]
    for _ in range(steps):
        for direction, listed in enumerate(calls):
            for call in listed:
                times[call.stage.kind][direction] += 1e3 * _timed(call.run) / steps
        times["optimizer"][1] += 1e3 * _timed(optimizer.step) / steps
    return times


def layer_lines(
    times: dict[str, list[float]], flops: dict[str, float], ceiling: float
) -> list[str]:
    """A table of the layers: time, operations a second, and their share of the ceiling."""
    lines = [f"{'layer':<14} {'forward':>10} {'backward':>10} {'GFLOP/s':>9} {'of ceiling':>11}"]
    for kind, (forward, backward) in times.items():
        rate = 3 * flops.get(kind, 0.0) / (forward + backward) * 1e3
        share = f"{rate / 1e9:9,.0f} {rate / ceiling:11.1%}" if rate else ""
        lines.append(f"{kind:<14} {forward:7.2f} ms {backward:7.2f} ms {share}".rstrip())
    return lines


def measure_ceiling(model: GPT) -> float:
    """The most floating-point operations a second that a product was seen to take."""
    best = machine_peak(dtype=model.dtype, seconds=0.3)
    if model.ops_name == "kernels":
        from gpt_numpy.kernels.linear import linear_forward

        x = np.ones((1536, 384), model.dtype)
        weight, out = np.ones((384, 768), model.dtype), np.empty((1536, 768), model.dtype)
        seconds = min(_timed(lambda: linear_forward(x, weight, None, out=out)) for _ in range(60))
        best = max(best, 2 * 1536 * 384 * 768 / seconds)
    return best


def _timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
