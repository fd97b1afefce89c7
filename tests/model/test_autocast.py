"""Gradients with bfloat16 products are at most twice as far from exact ones as PyTorch's.

golden/autocast.json holds the errors of PyTorch's autocast on the same weights and the same batch;
golden/make_autocast.py makes it anew. Nothing here needs torch.
"""

import json
from pathlib import Path

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.config.choices import IMPLEMENTATIONS
from tests.golden.autocast_inputs import CASES, batch, errors, parameters

PATH = Path(__file__).parents[1] / "golden" / "autocast.json"
FACTOR = 2.0  # the rule of flash-attention's tests


def run(case, dtype, ops):
    """The loss and the gradients of our model, and the model."""
    model = gn.GPT(gn.GPTConfig(**case["config"]), seed=None, dtype=dtype, ops=ops)
    shapes = {name: array.shape for name, array in model.params.items()}
    for name, value in parameters(case, shapes).items():
        model.params[name][...] = value
    loss = model.forward(*batch(case))
    model.backward()
    return loss, dict(model.grads)


@pytest.mark.parametrize("ops", IMPLEMENTATIONS)
@pytest.mark.parametrize("name", CASES)
def test_the_error_of_every_gradient_is_at_most_twice_that_of_pytorchs_autocast(name, ops):
    golden = json.loads(PATH.read_text(encoding="utf-8"))[name]
    loss, exact = run(CASES[name], "float64", ops)
    assert abs(loss - golden["loss"]) < 1e-12 * loss  # the same weights, batch and model
    rounded_loss, gradients = run(CASES[name], "bfloat16", ops)
    assert 0 < abs(rounded_loss - loss) < 0.01 * loss
    found = errors(gradients, exact)
    assert found.keys() == golden["errors"].keys()
    ratios = {key: found[key] / golden["errors"][key] for key in found}
    assert max(ratios.values()) <= FACTOR, max(ratios, key=ratios.get)
    assert np.median(list(found.values())) > 1e-4  # that operands are rounded at all
