"""Evaluation: the mean loss of a model on the training and the validation split."""

from collections.abc import Callable

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.data.batches import EVALUATE_TRAIN, EVALUATE_VAL, draw_batch, whole_split
from gpt_numpy.data.dataset import Dataset
from gpt_numpy.data.token_file import Tokens
from gpt_numpy.model.gpt import GPT
from gpt_numpy.parallel.tree_sum import sum_in_order
from gpt_numpy.parallel.world import ONE, World

Poll = Callable[[], None]  # called before every batch; may raise an exception to stop


def evaluate(
    model: GPT,
    dataset: Dataset,
    config: TrainConfig,
    iteration: int,
    poll: Poll = lambda: None,
    world: World = ONE,
) -> dict[str, float]:
    """The mean loss on both splits, in nats per token; the batches are divided among `world`.

    `eval_iters` random batches of each split, drawn from separate random streams, so that
    evaluation does not change the training batches. With `eval_full` the validation loss covers
    every target of the split, in windows of block_size.
    """
    losses = {}
    for name, tokens, stream in (
        ("train", dataset.train, EVALUATE_TRAIN),
        ("val", dataset.val, EVALUATE_VAL),
    ):
        if config.eval_full and name == "val":
            losses[name] = full_loss(model, tokens, config.batch_size, poll, world)
            continue
        found = []
        for k in range(world.rank, world.size * -(-config.eval_iters // world.size), world.size):
            poll()  # as often in every process
            size, length, seed = config.batch_size, model.config.block_size, config.seed
            if k < config.eval_iters:
                x, y = draw_batch(
                    tokens, size, length, seed=seed, stream=stream, step=iteration, micro_step=k
                )
                found.append(model.forward(x, y))
        losses[name] = sum_in_order(in_order(found, world)) / config.eval_iters
    return losses


def full_loss(
    model: GPT, tokens: Tokens, batch_size: int, poll: Poll = lambda: None, world: World = ONE
) -> float:
    """The mean loss over every target of a split, in windows of block_size."""
    found = []
    for k, (x, y) in enumerate(whole_split(tokens, batch_size, model.config.block_size)):
        if k % world.size == 0:
            poll()
        if k % world.size == world.rank:
            found.append(model.forward(x, y) * int((y >= 0).sum()))
    return sum_in_order(in_order(found, world)) / (len(tokens) - 1)


def in_order(mine: list[float], world: World) -> Array:
    """The losses of all batches, of which each process has every size-th, in their order."""
    everyone = world.numbers(np.array(mine, np.float64))
    order = [k for rank in range(world.size) for k in range(rank, len(everyone), world.size)]
    result = np.empty_like(everyone)
    result[order] = everyone
    return result


def evaluation_line(measured: dict[str, float]) -> str:
    """What an evaluation measured, as it is printed."""
    forms = {
        "train": "train loss {:.4f}",
        "val": "val loss {:.4f}",
        "test": "test loss {:.4f}",
        "perplexity": "perplexity {:.4g}",
        "exact": "exact {:.2%}",
        "bleu": "BLEU {:.1f}",
    }
    return ", ".join(forms[name].format(value) for name, value in measured.items())
