"""`gpt-numpy gradcheck`: the gradients of a run's model, or of a random one."""

import dataclasses
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from gpt_numpy.arrays import Array
from gpt_numpy.checkpoint import load
from gpt_numpy.config import GPTConfig, GradcheckConfig
from gpt_numpy.datasets import EVALUATE_VAL, draw_batch, open_dataset
from gpt_numpy.errors import InputError
from gpt_numpy.gradient_check import gradcheck, randomise
from gpt_numpy.memory import check_memory
from gpt_numpy.model import GPT
from gpt_numpy.presets import GRADCHECK_MODEL
from gpt_numpy.runs import find_checkpoint
from gpt_numpy.settings import Types, gather, is_flag, mute, shape_of


def run(words: list[str], types: Types) -> int:
    """`gpt-numpy gradcheck`."""
    sources = [word for word in words if not is_flag(word)]
    flags = gather(filter(is_flag, words), types, mute)
    names = {field.name for field in dataclasses.fields(GradcheckConfig)}
    config = GradcheckConfig(**{k: v for k, v in flags.items() if k in names})
    shape = {k: v for k, v in flags.items() if k not in names}
    if config.out_dir:
        if sources or shape:
            extra = sources[0] if sources else f"--{min(shape)}"
            raise InputError(f"{extra} does not go with --out_dir: the run has its own shape")
        model, tokens, targets = _from_run(config)
    else:
        model, tokens, targets = _random_model(config, sources, shape)
    key = 1 if model.config.dropout else None
    report = gradcheck(
        model,
        tokens,
        targets,
        dropout_key=key,
        tolerance=config.tolerance,
        seed=config.seed,
        say=lambda text: print(text, flush=True),
    )
    print("\n".join(report.lines(_painter())))
    return 0 if report.ok else 1


def _from_run(config: GradcheckConfig) -> tuple[GPT, Array, Array]:
    run = load(find_checkpoint(config.out_dir, config.checkpoint), ops=config.ops or None)
    _check_gradcheck_memory(run.config, config)
    if run.settings is None:
        return _random_tokens(run.model, config)
    dataset = open_dataset(
        run.settings.dataset, run.settings.data, tokenizer=run.tokenizer, say=print
    )
    if dataset.fingerprint != run.dataset:
        raise InputError(
            f"{config.out_dir}: {run.settings.data or dataset.name} has changed since training"
        )
    tokens, targets = draw_batch(
        dataset.val,
        config.batch_size,
        run.config.block_size,
        seed=config.seed,
        stream=EVALUATE_VAL,
        step=0,
    )
    return run.model, tokens, targets


def _random_model(
    config: GradcheckConfig, sources: list[str], shape: dict[str, Any]
) -> tuple[GPT, Array, Array]:
    base = shape_of(sources) if sources else GRADCHECK_MODEL
    ops = config.ops or "reference"
    model_config = GPTConfig(**base | shape)
    if model_config.vocab_size == 1:
        raise InputError("vocab_size=1: with one token there is nothing to predict; give 2 or more")
    _check_gradcheck_memory(model_config, config)
    model = GPT(model_config, seed=None, dtype="float64", ops=ops)
    randomise(model, config.seed)
    return _random_tokens(model, config)


def _check_gradcheck_memory(model: GPTConfig, config: GradcheckConfig) -> None:
    # Parameters and gradients: of the model itself, of its twin, and twice as large of the oracle.
    settings = f"batch_size={config.batch_size}"
    check_memory(model, config.batch_size, itemsize=8, copies=8, settings=settings)


def _random_tokens(model: GPT, config: GradcheckConfig) -> tuple[GPT, Array, Array]:
    """Tokens with repeats, and a target in each row that is left out, if it is not the only one."""
    rng = np.random.default_rng(config.seed)
    size = (config.batch_size, model.config.block_size)
    tokens = rng.integers(0, model.config.vocab_size, size)
    tokens[:, -1] = tokens[:, 0]
    targets = rng.integers(0, model.config.vocab_size, size)
    if size[1] > 1:
        targets[:, size[1] // 2] = -1
    return model, tokens, targets


def _painter() -> Callable[[str, bool], str]:
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return lambda text, ok: text
    return lambda text, ok: f"\033[{32 if ok else 31}m{text}\033[0m"
