"""Time a training step on this machine, layer by layer, and compare it with the machine's ceiling.

The ceiling is the rate of the fastest matrix product that stays in the caches, by NumPy's BLAS and,
with ops="kernels", by this package's own. Only useful operations are counted: what backward
recomputes is not.
"""

import statistics
from collections.abc import Callable
from timeit import repeat, timeit

import numpy as np

from gpt_numpy.model.flops import forward_flops, machine_peak
from gpt_numpy.model.gpt import GPT
from gpt_numpy.reference.linear import BFLOAT16
from gpt_numpy.training.optimizer import AdamW

BURN_IN, TIMED = 10, 20  # steps, as in nanoGPT's bench.py
SECONDS = 20.0  # a slow model stops after this, but not before its fourth step
LAYER_STEPS = 5  # in which the layers are timed


def bench(
    model: GPT, batch_size: int, optimizer: AdamW, report: Callable[[str], None] = print
) -> None:
    """Time training steps on random tokens; report the figures line by line."""
    config = model.config
    rng = np.random.default_rng(0)
    tokens, targets = rng.integers(0, config.vocab_size, (2, batch_size, config.block_size))
    ceiling = measure_ceiling(model)
    report(f"this machine's ceiling: {ceiling / 1e9:,.0f} GFLOP/s ({model.precision})")
    if model.precision == BFLOAT16 and model.ops_name == "kernels":
        report(f"bfloat16 products: {model.ops.bfloat16_tile()}")

    def step() -> None:
        model.forward(tokens, targets, dropout_key=0)
        model.backward()
        optimizer.step()

    seconds = time_steps(step)
    flops = forward_flops(config, batch_size)
    rate = 3 * sum(flops.values()) / seconds  # backward takes twice as many as forward
    report(
        f"time per iteration: {1e3 * seconds:.2f} ms, {tokens.size / seconds:,.0f} tokens/s, "
        f"{rate / 1e9:,.0f} GFLOP/s, MFU: {rate / ceiling:.1%}"
    )
    report(f"{'layer':<14} {'forward':>10} {'backward':>10} {'GFLOP/s':>9} {'of ceiling':>11}")
    for kind, (forward, backward) in layer_times(model, optimizer, tokens.shape).items():
        rate = 3 * flops.get(kind, 0.0) / (forward + backward)
        share = f"{rate / 1e9:9,.0f} {rate / ceiling:11.1%}" if rate else ""
        line = f"{kind:<14} {1e3 * forward:7.2f} ms {1e3 * backward:7.2f} ms {share}"
        report(line.rstrip())


def time_steps(step: Callable[[], object]) -> float:
    """The median time of a step in seconds, without the first ones."""
    times: list[float] = []
    for k in range(BURN_IN + TIMED):
        times.append(timeit(step, number=1))
        if k >= 3 and sum(times) > SECONDS:
            break
    return statistics.median(times[min(BURN_IN, len(times) - 3) :])


def layer_times(model: GPT, optimizer: AdamW, shape: tuple[int, int]) -> dict[str, list[float]]:
    """Forward and backward time of each kind of layer, over all blocks, in seconds a step.

    The calls are those of training, on the batch of the last pass.
    """
    calls = model.calls(shape, rate=model.config.dropout)
    times: dict[str, list[float]] = {call.stage.kind: [0.0, 0.0] for call in calls.forward}
    times["optimizer"] = [0.0, 0.0]
    for _ in range(LAYER_STEPS):
        for direction, listed in enumerate(calls):
            for call in listed:
                times[call.stage.kind][direction] += timeit(call.run, number=1) / LAYER_STEPS
        times["optimizer"][1] += timeit(optimizer.step, number=1) / LAYER_STEPS
    return times


def measure_ceiling(model: GPT) -> float:
    """The highest rate of a matrix product, in floating-point operations a second."""
    best = machine_peak(dtype=model.dtype, seconds=0.3)
    if model.ops_name == "kernels":
        from gpt_numpy.kernels.linear import linear_forward

        x = np.ones((1536, 384), model.dtype)
        weight, out = np.ones((384, 768), model.dtype), np.empty((1536, 768), model.dtype)

        def product() -> None:
            linear_forward(x, weight, None, out=out, precision=model.products)

        times = repeat(product, number=1, repeat=60)
        best = max(best, 2 * 1536 * 384 * 768 / min(times))
    return best
