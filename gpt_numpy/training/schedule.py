"""The learning-rate schedule: linear warm-up, then a decay: a cosine, a line, or 1 / sqrt(step).

Source of the last: Vaswani et al., "Attention Is All You Need" (2017), equation 3. It has a peak of
its own, that follows from the width of the model, and `learning_rate`, `min_lr` and
`lr_decay_iters` have no part in it.
"""

import math

from gpt_numpy.config.train import TrainConfig


def learning_rate_at(iteration: int, config: TrainConfig, n_embd: int = 1) -> float:
    """The learning rate at an iteration: linear warm-up, decay, then `min_lr`.

    With a cosine as nanoGPT's get_lr, but a `min_lr` above the learning rate counts as the learning
    rate: the rate then stays constant after the warm-up. `n_embd`: channels of the model, for noam.
    """
    if config.lr_schedule == "noam" and config.decay_lr:
        return noam_rate(iteration + 1, n_embd, config.warmup_iters, config.noam_factor)
    return _rate_at(iteration, config, config.learning_rate, _lowest(config))


def noam_rate(step: int, n_embd: int, warmup: int, factor: float = 1.0) -> float:
    """The paper's rate at a step, counted from 1: it rises for `warmup` steps, then falls."""
    rising = step * max(warmup, 1) ** -1.5
    return factor * n_embd**-0.5 * min(step**-0.5, rising)


def muon_learning_rate_at(iteration: int, config: TrainConfig) -> float:
    """Muon's learning rate at an iteration: it falls to the same share of its peak as AdamW's."""
    peak = config.muon_learning_rate
    if config.lr_schedule == "noam" and config.decay_lr:
        warmup = max(config.warmup_iters, 1)
        return peak * noam_rate(iteration + 1, 1, warmup) / noam_rate(warmup, 1, warmup)
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
