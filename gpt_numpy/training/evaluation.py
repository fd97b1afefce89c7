"""Evaluation: the mean loss of a model on the training and the validation split."""

from collections.abc import Callable

from gpt_numpy.config.train import TrainConfig
from gpt_numpy.data.batches import EVALUATE_TRAIN, EVALUATE_VAL, draw_batch, whole_split
from gpt_numpy.data.dataset import Dataset
from gpt_numpy.data.token_file import Tokens
from gpt_numpy.model.gpt import GPT

Poll = Callable[[], None]  # called before every batch; may raise an exception to stop


def evaluate(
    model: GPT, dataset: Dataset, config: TrainConfig, iteration: int, poll: Poll = lambda: None
) -> dict[str, float]:
    """The mean loss on both splits, in nats per token.

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
            losses[name] = full_loss(model, tokens, config.batch_size, poll)
            continue
        total = 0.0
        for k in range(config.eval_iters):
            poll()
            size, length, seed = config.batch_size, model.config.block_size, config.seed
            x, y = draw_batch(
                tokens, size, length, seed=seed, stream=stream, step=iteration, micro_step=k
            )
            total += model.forward(x, y)
        losses[name] = total / config.eval_iters
    return losses


def full_loss(model: GPT, tokens: Tokens, batch_size: int, poll: Poll = lambda: None) -> float:
    """The mean loss over every target of a split, in windows of block_size."""
    total, count = 0.0, 0
    for x, y in whole_split(tokens, batch_size, model.config.block_size):
        poll()
        kept = int((y >= 0).sum())
        total += model.forward(x, y) * kept
        count += kept
    return total / count
