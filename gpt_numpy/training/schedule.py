"""The learning-rate schedule."""

import math

from gpt_numpy.config.train import TrainConfig


def learning_rate_at(iteration: int, config: TrainConfig) -> float:
    """The learning rate at an iteration: linear warm-up, cosine decay, then `min_lr`.

    As nanoGPT's get_lr, but a `min_lr` above the learning rate counts as the learning rate: the
    rate then stays constant after the warm-up.
    """
    peak, low = config.learning_rate, min(config.min_lr, config.learning_rate)
    if not config.decay_lr:
        return peak
    if iteration < config.warmup_iters:
        return peak * (iteration + 1) / (config.warmup_iters + 1)
    if iteration >= config.lr_decay_iters:
        return low
    share = (iteration - config.warmup_iters) / (config.lr_decay_iters - config.warmup_iters)
    return low + 0.5 * (1 + math.cos(math.pi * share)) * (peak - low)
