"""The optimizer that the settings choose, and its learning rates at an iteration."""

from gpt_numpy.config.train import TrainConfig
from gpt_numpy.model.base_model import Model
from gpt_numpy.parallel.world import ONE, World
from gpt_numpy.training.muon import Muon
from gpt_numpy.training.optimizer import AdamW
from gpt_numpy.training.schedule import learning_rate_at, muon_learning_rate_at

KINDS: dict[str, type[AdamW]] = {kind.KIND: kind for kind in (AdamW, Muon)}


def optimizer_for(model: Model, config: TrainConfig, world: World = ONE) -> AdamW:
    """The optimizer with the hyperparameters of the settings."""
    optimizer = KINDS[config.optimizer](model, world=world)
    set_hyperparameters(optimizer, config)
    optimizer.learning_rate = config.learning_rate
    return optimizer


def set_hyperparameters(optimizer: AdamW, config: TrainConfig) -> None:
    """Take over the settings, except the learning rates."""
    optimizer.betas = (config.beta1, config.beta2)
    optimizer.weight_decay = config.weight_decay
    optimizer.grad_clip = config.grad_clip
    if isinstance(optimizer, Muon):
        optimizer.muon_momentum = config.muon_momentum


def set_learning_rates(optimizer: AdamW, iteration: int, config: TrainConfig) -> None:
    """Set the learning rates of an iteration."""
    width = optimizer.model.config.n_embd
    optimizer.learning_rate = learning_rate_at(iteration, config, width)
    if isinstance(optimizer, Muon):
        optimizer.muon_learning_rate = muon_learning_rate_at(iteration, config)
