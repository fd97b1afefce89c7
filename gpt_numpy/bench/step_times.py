"""How fast a training step is on this machine, layer by layer, and how fast it could be.

The ceiling is what this machine was seen to do at best: a matrix product that stays in the caches,
by NumPy's BLAS and, with ops="kernels", by this project's own. Only useful operations are counted:
what backward recomputes is not.
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from gpt_numpy.model.flops import forward_flops, machine_peak
from gpt_numpy.model.gpt import GPT
from gpt_numpy.training.optimizer import AdamW

BURN_IN, TIMED = 10, 20  # steps, as in nanoGPT's bench.py
SECONDS = 20.0  # after which a slow model is timed no further, but for three steps
LAYERS = {
    "embedding": "embedding",
    "attention_sublayer": "attention",
    "mlp_sublayer": "MLP",
    "head_loss": "head and loss",
}


class Stopwatch:
    """The layers of `ops`, with the time that each function takes added up in `seconds`."""

    def __init__(self, ops: ModuleType) -> None:
        self._ops = ops
        self.seconds: dict[str, float] = defaultdict(float)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(self._ops, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            result = function(*args, **kwargs)
            self.seconds[name] += time.perf_counter() - start
            return result

        return timed


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
        model.forward(tokens, targets)
        model.backward()
        optimizer.step()

    ms = 1e3 * time_steps(step)
    flops = sum(forward_flops(config, batch_size).values()) * 3
    figures: dict[str, Any] = {
        "ms": ms,
        "tokens_per_second": tokens.size / ms * 1e3,
        "ceiling": ceiling,
        "share": flops / ms * 1e3 / ceiling,
        "layers": layer_times(model, step),
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


def layer_times(model: GPT, step: Callable[[], object], steps: int = 5) -> dict[str, list[float]]:
    """Forward and backward time of each kind of layer, all blocks together, in ms a step."""
    plain, model.ops = model.ops, Stopwatch(model.ops)  # type: ignore[assignment]
    watch: Any = model.ops
    try:
        for _ in range(steps):
            step()
    finally:
        model.ops = plain
    ms = {name: 1e3 * seconds / steps for name, seconds in watch.seconds.items()}
    times = {kind: [ms[f"{name}_forward"], ms[f"{name}_backward"]] for name, kind in LAYERS.items()}
    return times | {"optimizer": [0.0, ms["sum_of_squares"] + ms["adamw_update"]]}


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
