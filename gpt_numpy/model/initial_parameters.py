"""The parameters that a model starts with, from a seed.

Source: GPT-2 (Radford et al., 2019), section 2.3: weights N(0, 0.02^2), norms 1, biases 0. The
projections that write to the residual stream are smaller by sqrt(2 n_layer), so that its variance
does not grow with the number of sublayers that add to it. With init_residual="zero" they start at
0, and every sublayer as the identity; with init_head="zero" all tokens are equally likely at first.
"""

import math

import numpy as np

from gpt_numpy.base.arrays import NamedArrays
from gpt_numpy.base.checks import integer
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.model.stages import parameters

INIT_STD = 0.02


def draw_parameters(params: NamedArrays, config: GPTConfig, seed: int) -> None:
    """Write the initial parameters of a seed to `params`.

    Raises
    ------
    InputError : the seed is not an integer, or negative.
    """
    rng = np.random.Generator(np.random.PCG64(integer("seed", seed)))
    scale = {"normal": INIT_STD, "residual": INIT_STD / math.sqrt(2 * config.n_layer)}
    for name, parameter in parameters(config).items():
        if parameter.start in scale:
            for row in params[name]:  # row by row: no second copy of a large table
                row[...] = scale[parameter.start] * rng.standard_normal(row.shape)
        else:
            params[name][...] = 1 if parameter.start == "one" else 0
