"""Training with Muon is what PyTorch computes: 50 steps with clipping, schedule, micro-batches.

golden/muon.npz holds PyTorch's results, in float64; golden/make_muon.py says what is in it and
makes it anew. Nothing here needs torch.
"""

import json
from pathlib import Path

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.config.choices import IMPLEMENTATIONS
from tests.model import test_golden
from tests.model.test_golden import assert_close, build, named, split_key_biases

PATH = Path(__file__).parents[1] / "golden" / "muon.npz"


@pytest.fixture(scope="module")
def golden():
    """Both files: the parameters to begin with are in golden.npz."""
    arrays = {}
    for path, prefix in ((test_golden.PATH, ""), (PATH, "muon/")):
        with np.load(path, allow_pickle=False) as file:
            arrays |= {prefix + name: file[name] for name in file.files}
    return arrays


@pytest.mark.parametrize("ops", IMPLEMENTATIONS)
@pytest.mark.parametrize("case", ["A", "C"])
def test_50_steps_of_muon_equal_pytorch(golden, case, ops):
    model, found = build(golden, case, ops), f"muon/{case}"
    settings = json.loads(str(golden[f"{found}/settings"]))
    optimizer = gn.Muon(
        model,
        betas=tuple(settings["betas"]),
        **{
            name: settings[name]
            for name in ("weight_decay", "grad_clip", "muon_momentum", "muon_learning_rate")
        },
    )
    losses, norms = np.zeros(50), np.zeros(50)
    for step in range(50):
        tokens, targets = (golden[f"{found}/{name}"][step] for name in ("tokens", "targets"))
        for micro in range(2):
            kept = int((targets != -1).sum())
            losses[step] += model.forward(tokens[micro], targets[micro], divisor=kept)
            model.backward(accumulate=micro > 0)
        rates = golden[f"{found}/learning_rates"][step]
        optimizer.learning_rate, optimizer.muon_learning_rate = rates
        norms[step] = optimizer.step()
    assert np.abs(losses - golden[f"{found}/losses"]).max() <= 1e-10
    assert np.abs(norms - golden[f"{found}/norms"]).max() <= 1e-10
    actual, _ = split_key_biases(model.params, model.config)
    end = named(golden, f"{found}/params", f"{case}/param_shapes")
    assert_close(actual, split_key_biases(end, model.config)[0], 1e-10)
    assert np.abs(optimizer.momentum.flat - golden[f"{found}/momentum"]).max() <= 1e-12
