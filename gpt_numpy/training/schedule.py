"""The learning-rate schedule."""

import math

from gpt_numpy.config.train import TrainConfig


def learning_rate_at(iteration: int, config: TrainConfig) -> float:
    """The learning rate at an iteration: linear warm-up, cosine decay, then `min_lr`.

    As nanoGPT's get_lr.
    """
    if not config.decay_lr:
        return config.learning_rate
    if iteration < config.warmup_iters:
        return config.learning_rate * (iteration + 1) / (config.warmup_iters + 1)
    if iteration >= config.lr_decay_iters:
        return config.min_lr
    share = (iteration - config.warmup_iters) / (config.lr_decay_iters - config.warmup_iters)
    return config.min_lr + 0.5 * (1 + math.cos(math.pi * share)) * (
        config.learning_rate - config.min_lr
    )
