"""The parameters that a model starts with, from a seed.

Source: GPT-2 (Radford et al., 2019), section 2.3: weights N(0, 0.02^2), norms 1, biases 0. The
projections that write to the residual stream are smaller by sqrt(2 n_layer), so that its variance
does not grow with the number of sublayers that add to it. With init_residual="zero" they start at
0, and every sublayer as the identity; with init_head="zero" all tokens are equally likely at first.

The Transformer's matrices keep the size of what goes through them, in both directions (Glorot,
Bengio, 2010): variance 2 / (in + out), of each of the matrices that lie in one array. Its embedding
has variance 1 / C, so that scaled rows, and logits of normalised ones, have about variance 1.
"""

import math

import numpy as np

from gpt_numpy.base.arrays import NamedArrays
from gpt_numpy.base.checks import integer
from gpt_numpy.model.stage import ModelConfig, Parameter
from gpt_numpy.model.stages import parameters

INIT_STD = 0.02


def draw_parameters(params: NamedArrays, config: ModelConfig, seed: int) -> None:
    """Write the initial parameters of a seed to `params`.

    Raises
    ------
    InputError : the seed is not an integer, or negative.
    """
    rng = np.random.Generator(np.random.PCG64(integer("seed", seed)))
    for name, parameter in parameters(config).items():
        scale = deviation(parameter, config)
        if scale:
            for row in params[name]:  # row by row: no second copy of a large table
                row[...] = scale * rng.standard_normal(row.shape)
        else:
            params[name][...] = 1 if parameter.start == "one" else 0


def deviation(parameter: Parameter, config: ModelConfig) -> float:
    """The standard deviation of a weight at the start; 0 for norms and biases."""
    if parameter.start == "residual":
        return INIT_STD / math.sqrt(2 * config.n_layer)
    if parameter.start == "embedding":
        return 1 / math.sqrt(config.n_embd)
    if parameter.start == "glorot":
        width_in, width_out = parameter.shape
        return math.sqrt(2 / (width_in + width_out // parameter.parts))
    return INIT_STD if parameter.start == "normal" else 0.0
