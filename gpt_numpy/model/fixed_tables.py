"""The tables that layers read next to their weights, and that are not trained."""

import math

from gpt_numpy.base.arrays import Array
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.model.stage import ROTATIONS, SINUSOIDS, ModelConfig
from gpt_numpy.reference.embedding import sinusoidal_positions
from gpt_numpy.reference.rotary import rotation_table


def fixed_tables(config: ModelConfig) -> dict[str, Array]:
    """The tables of a model by name, in float64; the Transformer's sinusoids are the paper's."""
    C = config.n_embd
    if not isinstance(config, GPTConfig):
        size = max(config.source_size, config.target_size)
        return {SINUSOIDS: sinusoidal_positions(size, C) * math.sqrt(C)}
    if config.positions == "sinusoidal":
        return {SINUSOIDS: sinusoidal_positions(config.block_size, C)}
    if config.positions == "rotary":
        return {ROTATIONS: rotation_table(config.block_size, config.head_size, config.rope_base)}
    return {}
