"""The checks of the campaign on correct code, with many seeds: none may find anything.

Each seed draws other parameters, other data and another model. The bounds are those of the tests,
and for whole models that of `gn.gradcheck`. In a model drawn at random a gradient may be thousands
of times smaller than the terms that it sums (seed 34: two tokens, one position, targets that pull
in opposite directions), and rounding is that of the terms: 6.5e-13 of such a gradient.
"""

from dataclasses import dataclass

import numpy as np

import gpt_numpy as gn
from gpt_numpy.base.progress import Progress
from gpt_numpy.config.choices import ACTIVATIONS, NORMS, POSITIONS
from gpt_numpy.gradients.model_check import TOLERANCE, randomise
from tests.support import layers, twins
from tests.support.complex_step import PAIRS, complex_step
from tests.support.errors import TOLERANCE as KERNEL_TOLERANCE
from tests.support.errors import errors

EXACT = 1e-13


@dataclass
class Counted:
    """A check: how often it was done, how often it gave alarm, and the largest error it saw."""

    what: str
    bound: float
    checked: int = 0
    alarms: int = 0
    largest: float = 0.0
    seed: int = -1  # where the largest error was

    def note(self, error: float, seed: int) -> None:
        """Count one error; one that is not a number is an alarm."""
        self.checked += 1
        self.alarms += not error <= self.bound
        if not error <= self.largest:
            self.largest, self.seed = float(error), seed


def false_alarms(seeds: int, progress: Progress) -> list[Counted]:
    """Run all checks with seeds 0, 1, ..."""
    models = Counted("every gradient of a model, complex step", TOLERANCE)
    pairs = Counted("every pair of layer functions", EXACT)
    kernels = {
        dtype: Counted(f"every kernel in {dtype}", bound)
        for dtype, bound in KERNEL_TOLERANCE.items()
    }
    for seed in range(seeds):
        models.note(_model_error(seed), seed)
        for name in layers.EXAMPLES:
            pairs.note(_pair_error(name, seed), seed)
            for dtype, counted in kernels.items():
                rng = np.random.default_rng(seed)
                example = twins.example_of(name, rng)
                for ours, exact in twins.both(name, dtype, rng, example):
                    counted.note(max(errors(ours, exact).values()), seed)
        progress.advance()
        if seed % 20 == 19:
            progress.say(f"{seed + 1} of {seeds} seeds; {progress.left()} left")
    return [models, pairs, *kernels.values()]


def _model_error(seed: int) -> float:
    rng = np.random.default_rng(seed)
    heads = int(rng.integers(1, 4))
    head_size = int(rng.integers(2 if heads > 1 else 3, 5))
    positions = [kind for kind in POSITIONS if kind != "rotary" or head_size % 2 == 0]
    config = gn.GPTConfig(
        vocab_size=int(rng.integers(2, 12)),
        block_size=int(rng.integers(1, 7)),
        n_layer=int(rng.integers(1, 3)),
        n_head=heads,
        n_kv_head=int(rng.choice([0, 1])),
        n_embd=heads * head_size,
        n_inner=5,
        dropout=float(rng.choice([0.0, 0.2])),
        bias=bool(rng.integers(2)),
        norm=str(rng.choice(NORMS)),
        qk_norm=bool(rng.integers(2)),
        activation=str(rng.choice(ACTIVATIONS)),
        positions=str(rng.choice(positions)),
        logit_softcap=float(rng.choice([0.0, 2.0])),
        norm_eps=float(rng.choice([1e-5, 0.1])),
        tied=bool(rng.integers(2)),
    )
    model = gn.GPT(config, seed=seed, dtype="float64", ops="reference")
    if seed % 4:  # else as GPT-2 starts
        randomise(model, seed)
    tokens, targets = rng.integers(0, config.vocab_size, (2, 2, config.block_size))
    if config.block_size > 1:
        targets[:, 0] = -1
    return gn.gradcheck(model, tokens, targets, dropout_key=seed).worst.error


def _pair_error(name: str, seed: int) -> float:
    forward, backward = PAIRS[layers.pair_of(name)]
    rng = np.random.default_rng(seed)
    example = layers.EXAMPLES[name](rng)
    outputs = layers.run_forward(forward, example, np.float64)
    dout = rng.standard_normal(outputs["out"].shape)
    written = layers.run_backward(backward, example, outputs, dout, np.float64)
    exact = complex_step(forward, example, dout)
    return max(errors(written, exact).values())
