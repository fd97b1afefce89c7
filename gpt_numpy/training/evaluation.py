"""What a model's loss is on data that it is not being trained on."""

from collections.abc import Callable

from gpt_numpy.config.train import TrainConfig
from gpt_numpy.data.batches import EVALUATE_TRAIN, EVALUATE_VAL, draw_batch, whole_split
from gpt_numpy.data.dataset import Dataset
from gpt_numpy.data.token_file import Tokens
from gpt_numpy.model.gpt import GPT

Interrupted = Callable[[], bool]


def evaluate(
    model: GPT,
    dataset: Dataset,
    config: TrainConfig,
    iteration: int,
    interrupted: Interrupted = lambda: False,
) -> dict[str, float] | None:
    """The mean loss on both splits, nats a token; None if `interrupted` said so midway.

    `eval_iters` random batches of each split, drawn from streams of their own, so that training
    draws the same batches whether or not it is evaluated. With `eval_full` the validation loss is
    that of every target of the split, in windows of block_size.
    """
    losses = {}
    for name, tokens, stream in (
        ("train", dataset.train, EVALUATE_TRAIN),
        ("val", dataset.val, EVALUATE_VAL),
    ):
        full = config.eval_full and name == "val"
        loss = (
            full_loss(model, tokens, config.batch_size, interrupted)
            if full
            else _sampled_loss(model, tokens, config, iteration, stream, interrupted)
        )
        if loss is None:
            return None
        losses[name] = loss
    return losses


def full_loss(
    model: GPT, tokens: Tokens, batch_size: int, interrupted: Interrupted = lambda: False
) -> float | None:
    """The mean loss over every target of a split, each predicted within its own window."""
    total, count = 0.0, 0
    for x, y in whole_split(tokens, batch_size, model.config.block_size):
        if interrupted():
            return None
        kept = int((y >= 0).sum())
        total += model.forward(x, y) * kept
        count += kept
    return total / count


def _sampled_loss(
    model: GPT,
    tokens: Tokens,
    config: TrainConfig,
    iteration: int,
    stream: int,
    interrupted: Interrupted,
) -> float | None:
    total = 0.0
    for k in range(config.eval_iters):
        if interrupted():
            return None
        x, y = draw_batch(
            tokens,
            config.batch_size,
            model.config.block_size,
            seed=config.seed,
            stream=stream,
            step=iteration,
            micro_step=k,
        )
        total += model.forward(x, y)
    return total / config.eval_iters
