"""What `gradcheck` lets a model read: data of its own run, or random tokens."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.errors import InputError
from gpt_numpy.cli.options import GradcheckConfig
from gpt_numpy.cli.pair_runs import data_of
from gpt_numpy.config.transformer import BEGIN, END, TransformerConfig
from gpt_numpy.config.translation import TranslationConfig
from gpt_numpy.data.batches import EVALUATE_VAL, draw_batch
from gpt_numpy.data.dataset import Dataset, open_dataset
from gpt_numpy.data.pair_dataset import PairDataset, open_pairs
from gpt_numpy.data.sentences import padded, source_tokens, target_tokens
from gpt_numpy.gradients.plan import positions_of
from gpt_numpy.model.memory import longest_sequences, parameter_count
from gpt_numpy.model.stage import ModelConfig
from gpt_numpy.training.checkpoint import Run

SMALL = 100_000  # parameters; up to here usually every element is checked

Batch = tuple[Array, Array]  # tokens and targets, or sources and targets


def batch_of_run(run: Run, config: GradcheckConfig, say: Callable[[str], None]) -> Batch:
    """A batch of the run's own data for validation; random tokens if it names none.

    Raises
    ------
    InputError : the data cannot be read, or has changed since training.
    """
    settings = run.settings
    # A model from elsewhere is checked on random tokens: its data may not be here.
    if settings is None or not run.dataset:
        return random_batch(run.config, config)
    data: Dataset | PairDataset
    if isinstance(settings, TranslationConfig):
        sizes = run.config.source_size, run.config.target_size
        data = open_pairs(settings, sizes, tokenizer=run.tokenizer, say=say)
    else:
        data = open_dataset(settings.dataset, settings.data, tokenizer=run.tokenizer, say=say)
    if data.fingerprint != run.dataset:
        raise InputError(f"{config.out_dir}: {data_of(settings)} has changed since training")
    size, seed = config.batch_size, config.seed
    if isinstance(data, PairDataset):
        return _pairs_of(data, size, seed)
    return draw_batch(data.val, size, run.config.block_size, seed=seed, stream=EVALUATE_VAL, step=0)


def _pairs_of(data: PairDataset, size: int, seed: int) -> Batch:
    """Pairs for validation, of different lengths where there are such: padding is checked, too."""
    texts = data.val.texts(size, seed=seed, stream=EVALUATE_VAL)
    source = padded([source_tokens(data.tokenizer, source) for source, _ in texts])
    target = padded([target_tokens(data.tokenizer, target) for _, target in texts])
    return source, target


def random_batch(model: ModelConfig, config: GradcheckConfig) -> Batch:
    """Random tokens, with repeats, and positions that do not count in the loss."""
    rng = np.random.default_rng(config.seed)
    batch_size, shorter = used(model, config)
    if isinstance(shorter, TransformerConfig):
        return _random_pairs(rng, shorter, batch_size)
    T = shorter.block_size
    tokens, targets = rng.integers(0, shorter.vocab_size, (2, batch_size, T))
    tokens[:, -1] = tokens[:, 0]
    if T > 1:
        targets[:, T // 2] = -1
    return tokens, targets


def _random_pairs(rng: np.random.Generator, model: TransformerConfig, size: int) -> Batch:
    """Sources and targets; all but the first are of random lengths, and padded."""
    rows = []
    for k in range(size):
        lengths = [
            longest if k == 0 else int(rng.integers(1, longest + 1))
            for longest in (model.source_size, model.target_size)
        ]
        source, target = (rng.integers(BEGIN, model.vocab_size, length) for length in lengths)
        target[-1] = END
        rows.append((source, np.concatenate([[BEGIN], target])))
    source, target = (padded(column) for column in zip(*rows, strict=True))
    return source, target


def shortened(batch: Batch, model: ModelConfig, config: GradcheckConfig) -> Batch:
    """As much of a batch as a check along directions uses."""
    batch_size, shorter = used(model, config)
    if isinstance(shorter, TransformerConfig):
        source, target = (array[:batch_size] for array in batch)
        return source[:, : shorter.source_size], target[:, : shorter.target_size + 1]
    tokens, targets = (array[:batch_size, : shorter.block_size] for array in batch)
    return tokens, targets


def used(model: ModelConfig, config: GradcheckConfig) -> tuple[int, ModelConfig]:
    """The batch size and the configuration that the check uses: shorter sequences if large."""
    n_params = parameter_count(model)
    if n_params <= SMALL or config.method == "elements":
        return config.batch_size, model
    most = positions_of(n_params)
    lengths = longest_sequences(model)
    shorter: dict[str, Any] = {name: min(length, most) for name, length in lengths.items()}
    return 1, dataclasses.replace(model, **shorter)
