"""Compile the kernels of a run beside the thread that listens.

The first step on a machine waits for the compiler, some seconds a kernel, in which no signal of the
operating system reaches Python. So a step of a very small model is made first, in a thread of its
own, while the main thread waits, able to stop.
"""

import contextlib
import dataclasses
import threading
from collections.abc import Callable

import numpy as np

from gpt_numpy.config.train import TrainConfig
from gpt_numpy.model.gpt import GPT
from gpt_numpy.training.optimizer import AdamW

_PATIENCE = 0.05  # seconds from a signal to its being noticed


def compiled_beside(model: GPT, config: TrainConfig, stopped: Callable[[], bool]) -> bool:
    """Load or compile what training this model takes; False as soon as `stopped` says so."""
    if model.ops_name != "kernels":
        return True
    worker = threading.Thread(target=_quietly, args=(model, config), daemon=True)
    worker.start()
    while worker.is_alive():
        worker.join(_PATIENCE)
        if stopped():
            return False
    return True


def _quietly(model: GPT, config: TrainConfig) -> None:
    with contextlib.suppress(Exception):  # the first step fails in the same way, and is heard
        one_step(model, config)


def one_step(model: GPT, config: TrainConfig) -> None:
    """A whole step of a very small model of the same kind, which loads or compiles every kernel."""
    small = dataclasses.replace(
        model.config, vocab_size=4, block_size=4, n_layer=1, n_head=1, n_embd=8
    )
    twin = GPT(small, seed=0, dtype=model.dtype.name, ops=model.ops_name)
    tokens = np.zeros((2, small.block_size), np.int64)
    for k, key in enumerate((None, 1)):
        twin.forward(tokens, tokens, dropout_key=key)
        twin.backward(accumulate=k > 0)
    AdamW(twin, grad_clip=config.grad_clip, weight_decay=config.weight_decay).step()
