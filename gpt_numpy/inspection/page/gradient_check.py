"""Checks the gradients that the page shows, those of activations included.

Each array is perturbed along one random direction v with the complex step (derivatives.py), in the
forward pass of the reference. The slope of the loss is then exact, and must equal the dot product
of v and the gradient. An activation is perturbed between two layers (inspection/hooks/).
"""

import time

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.gradients.derivatives import STEP
from gpt_numpy.gradients.model_check import TOLERANCE
from gpt_numpy.inspection.hooks.hooks import replaceable, replaced
from gpt_numpy.inspection.trace.trace import Trace
from gpt_numpy.model.gpt import GPT

TOLERANCES = {"float32": 1e-4, "float64": TOLERANCE}
MOST_PARAMETERS = 20_000_000  # each a complex number of 16 bytes
BUDGET_SECONDS = 30.0


def check_gradients(model: GPT, trace: Trace) -> dict[str, dict[str, float]]:
    """Check the gradient of every parameter, and of every activation that passes between layers.

    By name: `error`, the difference over the slope, or over the gradient's norm if that is larger,
    and whether it is `ok`.
    Stops after BUDGET_SECONDS, and checks nothing of a model above MOST_PARAMETERS; the command
    `gpt-numpy gradcheck` has no such limits.
    """
    if trace.targets is None or model.n_params > MOST_PARAMETERS:
        return {}
    oracle = GPT(model.config, seed=None, dtype="complex128", ops="reference")
    oracle.params.flat[...] = model.params.flat
    rng = np.random.default_rng(0)
    end = time.perf_counter() + BUDGET_SECONDS
    tolerance = TOLERANCES[model.dtype.name]
    found: dict[str, dict[str, float]] = {}
    for name in [*model.params, *replaceable(model.config)]:
        if time.perf_counter() > end:
            break
        grad = trace[name].grad if name in trace else None
        if grad is None:
            continue
        direction = rng.standard_normal(grad.shape)
        slope = _slope(oracle, trace, name, direction)
        along = float((direction * grad).sum())
        scale = max(abs(slope), float(np.linalg.norm(grad)))
        error = abs(along - slope) / scale if scale else abs(along - slope)
        found[name] = {"error": error, "ok": bool(error <= tolerance)}
    return found


def _slope(oracle: GPT, trace: Trace, name: str, direction: Array) -> float:
    """The exact derivative of the loss along a direction in one array."""
    assert trace.targets is not None
    if name in oracle.params:
        oracle.params[name].imag[...] = direction * STEP
        loss = oracle.forward(trace.tokens, trace.targets)
        oracle.params[name].imag[...] = 0
    else:
        moved = 1j * STEP * direction
        with replaced(oracle, {name: (lambda x: x + moved, lambda dout: dout)}):
            loss = oracle.forward(trace.tokens, trace.targets)
    return float(loss.imag / STEP)
