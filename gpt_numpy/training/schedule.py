"""The learning-rate schedule: linear warm-up, then a decay along a cosine or a straight line."""

import math

from gpt_numpy.config.train import TrainConfig


def learning_rate_at(iteration: int, config: TrainConfig) -> float:
    """The learning rate at an iteration: linear warm-up, decay, then `min_lr`.

    With a cosine as nanoGPT's get_lr, but a `min_lr` above the learning rate counts as the learning
    rate: the rate then stays constant after the warm-up.
    """
    return _rate_at(iteration, config, config.learning_rate, _lowest(config))


def muon_learning_rate_at(iteration: int, config: TrainConfig) -> float:
    """Muon's learning rate at an iteration: it falls to the same share of its peak as AdamW's."""
    peak = config.muon_learning_rate
    share = _lowest(config) / config.learning_rate if config.learning_rate else 1.0
    return _rate_at(iteration, config, peak, peak * share)


def _lowest(config: TrainConfig) -> float:
    return min(config.min_lr, config.learning_rate)


def _rate_at(iteration: int, config: TrainConfig, peak: float, low: float) -> float:
    if not config.decay_lr:
        return peak
    if iteration < config.warmup_iters:
        return peak * (iteration + 1) / (config.warmup_iters + 1)
    if iteration >= config.lr_decay_iters:
        return low
    share = (iteration - config.warmup_iters) / (config.lr_decay_iters - config.warmup_iters)
    if config.lr_schedule == "linear":
        return low + (1 - share) * (peak - low)
    return low + 0.5 * (1 + math.cos(math.pi * share)) * (peak - low)
