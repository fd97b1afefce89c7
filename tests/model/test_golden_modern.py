"""Models of the kinds that came after GPT-2 compute what PyTorch computes: logits, loss, gradients.

golden/modern.npz holds PyTorch's results, in float64; golden/make_modern.py makes it anew.
"""

from pathlib import Path

import numpy as np
import pytest

from gpt_numpy.config.choices import IMPLEMENTATIONS
from tests.model.test_golden import assert_close, batch, build, named

PATH = Path(__file__).parents[1] / "golden" / "modern.npz"
CASES = ("L", "N", "M")  # Llama's kind, nanochat's, and a mixture


@pytest.fixture(scope="module")
def golden():
    with np.load(PATH, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ops", IMPLEMENTATIONS)
def test_logits_loss_and_every_gradient_equal_pytorch(golden, case, ops):
    model = build(golden, case, ops)
    tokens, targets = batch(golden, case)
    assert_close({"logits": model.logits(tokens)}, {"logits": golden[f"{case}/logits"]}, 1e-12)
    loss = model.forward(tokens, targets)
    assert loss == pytest.approx(golden[f"{case}/loss"].item(), rel=1e-12, abs=0)
    model.grads.flat[...] = np.nan  # backward writes all of it and adds to nothing
    model.backward()
    expected = named(golden, f"{case}/grads", f"{case}/param_shapes")
    assert_close(model.grads, expected, 1e-12)
