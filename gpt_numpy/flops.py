"""How much arithmetic a model takes, and how much this machine can do.

Source of the count: Chowdhery et al., "PaLM" (2022), appendix B, as nanoGPT uses it: 6 operations a
parameter and token (2 forward, 4 backward) and 12 L H D T for attention.
"""

import time

import numpy as np

from gpt_numpy.model import GPT


def flops_per_token(model: GPT) -> float:
    """Floating-point operations of forward and backward for one token of a full context."""
    config = model.config
    positions = model.params.get("wpe.weight")
    counted = model.n_params - (positions.size if positions is not None else 0)
    attention = 12 * config.n_layer * config.n_embd * config.block_size
    return 6.0 * counted + attention


def machine_peak(size: int = 768, seconds: float = 0.1) -> float:
    """Floating-point operations a second of this machine's best: a square product in float32."""
    a = np.ones((size, size), dtype=np.float32)
    out = np.empty_like(a)
    best, end = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        np.matmul(a, a, out=out)
        best = min(best, time.perf_counter() - start)
    return float(2 * size**3 / best)
