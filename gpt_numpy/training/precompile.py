"""Compile the kernels of a run in the background, so that Ctrl-C works meanwhile.

On a new machine the first step compiles every kernel, some seconds each, and Python handles no
signal while the compiler runs. So a worker thread first takes one step of a very small model, while
the main thread waits and can still be interrupted.
"""

import contextlib
import dataclasses
import threading
from typing import Any

import numpy as np

from gpt_numpy.config.train import TrainConfig
from gpt_numpy.config.transformer import BEGIN, END
from gpt_numpy.model.gpt import GPT
from gpt_numpy.training.evaluation import Poll
from gpt_numpy.training.optimizers import optimizer_for

_PATIENCE = 0.05  # seconds between two calls of `poll`


def compile_in_background(model: Any, config: TrainConfig, poll: Poll) -> None:
    """Load or compile the kernels for training; `poll` may raise an exception to stop waiting."""
    if model.ops_name != "kernels":
        return
    worker = threading.Thread(target=_quietly, args=(model, config), daemon=True)
    worker.start()
    while worker.is_alive():
        worker.join(_PATIENCE)
        poll()


def _quietly(model: Any, config: TrainConfig) -> None:
    with contextlib.suppress(Exception):  # the first real step will raise the same error
        one_step(model, config)


def one_step(model: Any, settings: TrainConfig) -> None:
    """One step of a very small model of the same kind, which loads or compiles every kernel."""
    small: dict[str, Any] = {"vocab_size": 4, "n_layer": 1, "n_head": 1, "n_embd": 8}
    if isinstance(model, GPT):
        small |= {"block_size": 4, "n_kv_head": 0}
        tokens = targets = np.zeros((2, 4), np.int64)
    else:
        small |= {"source_size": 4, "target_size": 4, "n_layer": 2, "n_hidden": 32}
        tokens, targets = np.full((2, 4), END), np.full((2, 5), BEGIN)
    config = dataclasses.replace(model.config, **small)
    twin = type(model)(config, seed=0, dtype=model.precision, ops=model.ops_name)
    for k, key in enumerate((None, 1)):
        twin.forward(tokens, targets, dropout_key=key)
        twin.backward(accumulate=k > 0)
    optimizer_for(twin, settings).step()
