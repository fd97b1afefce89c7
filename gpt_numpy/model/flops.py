"""How much arithmetic a model takes, and how much this machine can do.

Source of the count: Chowdhery et al., "PaLM" (2022), appendix B, as nanoGPT uses it: 6 operations a
parameter and token (2 forward, 4 backward) and 12 L H D T for attention.
"""

import math
import time

import numpy as np
from numpy.typing import DTypeLike

from gpt_numpy.config.model import GPTConfig
from gpt_numpy.model.gpt import GPT
from gpt_numpy.model.stages import gpt, parameter_shapes


def counted_parameters(model: GPT) -> int:
    """The number of parameters as nanoGPT counts them: without position embeddings."""
    positions = model.params.get("wpe.weight")
    return model.n_params - (positions.size if positions is not None else 0)


def flops_per_token(model: GPT) -> float:
    """Floating-point operations of forward and backward for one token of a full context."""
    config = model.config
    attention = 12 * config.n_layer * config.n_embd * config.block_size
    return 6.0 * counted_parameters(model) + attention


def machine_peak(seconds: float = 0.1, dtype: DTypeLike = "float32") -> float:
    """Floating-point operations a second of NumPy's best on this machine: a square product."""
    size = 768
    a = np.ones((size, size), dtype)
    out = np.empty_like(a)
    best, end = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        np.matmul(a, a, out=out)
        best = min(best, time.perf_counter() - start)
    return float(2 * size**3 / best)


def forward_flops(config: GPTConfig, batch_size: int) -> dict[str, float]:
    """Operations of a forward pass by kind of layer; backward takes twice as many.

    Two for each multiply-add of a matrix product; of attention only the causal half.
    """
    T, shapes = config.block_size, parameter_shapes(config)
    flops: dict[str, float] = {}
    for stage in gpt(config):
        if stage.layer == "embedding":
            continue  # a lookup
        names = filter(None, map(stage.weight_name, stage.weights))
        found = [shapes[n] for n in names if n in shapes]  # rotary positions have no parameters
        a_position = 2.0 * sum(math.prod(shape) for shape in found if len(shape) == 2)
        if stage.layer == "attention_sublayer":
            a_position += 2.0 * (T + 1) * config.n_embd
        flops[stage.kind] = flops.get(stage.kind, 0.0) + batch_size * T * a_position
    return flops
