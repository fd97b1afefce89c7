"""The four workloads, and a training step of each side, ours and PyTorch's.

A step is forward, backward, clipping and AdamW. NumPy, Numba and PyTorch are imported when a side
is built, after the number of threads is set.
"""

import argparse
import os
from collections.abc import Callable
from typing import Any

# layers, heads, width, context, vocabulary, batch, positions of a batch, biases
WORKLOADS = {
    "tiny": (4, 4, 128, 64, 65, 12, 64, False),
    "baby": (6, 6, 384, 256, 65, 16, 256, False),
    "gpt2": (12, 12, 768, 1024, 50257, 1, 1024, True),
    "gpt2-short": (12, 12, 768, 1024, 50257, 4, 64, True),
}

MODES = ("eager", "compiled", "eager bf16", "compiled bf16")  # PyTorch's; bf16 is autocast


def set_thread_variables(threads: int) -> None:
    """Limit every library to `threads` threads; call this before any of them is imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(threads)


def pairs(text: str) -> int:
    """Parse a number of pairs; quartiles need at least two."""
    count = int(text)
    if count < 2:
        raise argparse.ArgumentTypeError(f"{count}: must be at least 2")
    return count


def build(sizes: tuple[int, int, int, int, int, int, int, bool]) -> tuple[Any, Any, Any]:
    """The configuration of a workload, and random tokens and targets."""
    import numpy as np

    from gpt_numpy import GPTConfig

    layers, heads, width, context, vocabulary, batch, length, bias = sizes
    config = GPTConfig(
        vocab_size=vocabulary, block_size=context, n_layer=layers, n_head=heads, n_embd=width,
        bias=bias, activation="gelu_tanh",
    )  # fmt: skip
    tokens, targets = np.random.default_rng(0).integers(0, vocabulary, (2, batch, length))
    return config, tokens, targets


def our_step(
    config: Any, tokens: Any, targets: Any, threads: int, dtype: str = "float32"
) -> tuple[Callable[[], float], Any]:
    """A function that takes one step and returns the loss; and the model."""
    from gpt_numpy import GPT, AdamW
    from gpt_numpy.kernels.engine.pool import set_threads

    set_threads(threads)
    model = GPT(config, dtype=dtype, ops="kernels")
    optimizer = AdamW(model, learning_rate=1e-4, betas=(0.9, 0.95), weight_decay=0.1)

    def step() -> float:
        loss = model.forward(tokens, targets)
        model.backward()
        optimizer.step()
        return loss

    return step, model


def torch_step(
    config: Any, tokens: Any, targets: Any, threads: int, weights: dict[str, Any], mode: str
) -> Callable[[], float]:
    """The same for PyTorch, from the same parameters; `mode` is one of MODES."""
    import torch

    from benchmarks.torch_gpt import TorchTrainer

    torch.set_num_threads(threads)
    compiled, bfloat16 = "compiled" in mode, "bf16" in mode
    trainer = TorchTrainer(config, weights, compiled=compiled, bfloat16=bfloat16)
    tokens, targets = torch.tensor(tokens), torch.tensor(targets)
    return lambda: trainer.step(tokens, targets)
