"""Checks the gradients that the page shows, those of activations included, one by one.

Each array is perturbed along one random direction v with the complex step (derivatives.py), in the
forward pass of the reference. The slope of the loss is then exact, and must equal the dot product
of v and the gradient. An activation is perturbed between two layers (inspection/hooks/). What no
layer stores moves the array that is computed from it: `xhat` the norm's output, a score or a weight
of attention the output of the heads. The stages before the perturbed one are not run again: the
check goes from the loss down, so that the streams that they wrote are still those of a clean pass.

How many arrays are checked depends on the model and the text alone, never on the clock: two pages
of one command are the same.
"""

from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.threads import one_blas_thread
from gpt_numpy.gradients.derivatives import STEP
from gpt_numpy.gradients.model_check import TOLERANCE, twin_with
from gpt_numpy.inspection.hooks.hooks import replaceable, replaced
from gpt_numpy.inspection.trace.trace import Trace
from gpt_numpy.model.base_model import Model
from gpt_numpy.model.calls import Call
from gpt_numpy.model.gpt import GPT
from gpt_numpy.model.stages import stages_of
from gpt_numpy.reference.attention import for_queries
from gpt_numpy.reference.linear import BFLOAT16

TOLERANCES = {"float32": 1e-4, "float64": TOLERANCE}
MOST_PARAMETERS = 20_000_000  # each a complex number of 16 bytes
MOST_WORK = 1.2e11  # parameters times tokens times arrays: about 15 seconds

Verdict = dict[str, Any]  # error, ok


def check_gradients(
    model: Model, trace: Trace, tick: Callable[[], None] = lambda: None
) -> tuple[dict[str, Verdict], str]:
    """The verdict on each gradient that is checked, and why the others are not ("" if all are).

    A verdict has the `error`, the difference over the slope, or over the gradient's norm if that
    is larger, and whether it is `ok`. The command `gpt-numpy gradcheck` has no limits.

    Parameters
    ----------
    tick : called after each array.
    """
    names = [name for name in trace.backward_order if trace[name].grad is not None]
    n_tokens = trace.tokens.size
    if not isinstance(model, GPT):
        n_tokens += np.asarray(trace.targets).size
    chosen, why = _chosen(names, model.n_params, n_tokens)
    if model.products == BFLOAT16:  # the complex step is exact, and they are rounded
        chosen, why = [], "gradcheck --dtype=bfloat16 measures what bfloat16 products cost"
    if not chosen:
        return {}, why
    oracle = twin_with(model, "complex128", "reference")
    _loss(oracle, trace)
    stages = _first_stages(trace)
    rng = np.random.default_rng(0)
    tolerance = TOLERANCES[model.dtype.name]
    found: dict[str, Verdict] = {}
    with one_blas_thread():  # the products are small: a second thread mostly waits
        for name in sorted(chosen, key=lambda name: -stages[name]):
            grad = trace[name].grad
            assert grad is not None
            direction = rng.standard_normal(grad.shape)
            if name.endswith(".probabilities"):
                direction *= trace[name].value > 0  # masked weights are 0 and stay so
            slope = _slope(oracle, trace, name, direction, stages[name])
            along = float((direction * grad).sum())
            scale = max(abs(slope), float(np.linalg.norm(grad)))
            error = abs(along - slope) / scale if scale else abs(along - slope)
            found[name] = {"error": error, "ok": bool(error <= tolerance)}
            tick()
    return found, why


def _chosen(names: list[str], n_params: int, n_tokens: int) -> tuple[list[str], str]:
    """Which arrays are checked, evenly spaced where they are too many; and why the others not."""
    if n_params > MOST_PARAMETERS:
        return [], f"models above {MOST_PARAMETERS:,} parameters are not checked here"
    count = int(MOST_WORK // (n_params * n_tokens))
    if count >= len(names):
        return names, ""
    places = np.linspace(0, len(names) - 1, count).round().astype(int)
    return [names[k] for k in places], f"all {len(names)} would take too long here"


def _first_stages(trace: Trace) -> dict[str, int]:
    """For each array the number of the first stage that reads or writes it."""
    order = {stage.name: k for k, stage in enumerate(stages_of(trace.config))}
    found: dict[str, int] = {}
    for node in trace.diagram:
        for name in node.arrays.values():
            found.setdefault(name, order[node.stage])
    return found


def _slope(oracle: Model, trace: Trace, name: str, direction: Array, first: int) -> float:
    """The exact derivative of the loss along a direction in one array, from stage `first` on."""
    if name == "losses":  # their mean is the loss
        return float(direction.mean())
    skipped = islice(stages_of(oracle.config), first)
    before: dict[str, Callable[[Call], None]] = {stage.name: _skip for stage in skipped}
    if name in oracle.params:
        oracle.overrides = before
        oracle.params[name].imag[...] = direction * STEP
        loss = _loss(oracle, trace)
        oracle.params[name].imag[...] = 0
    else:
        place, moved = name, 1j * STEP * direction
        if name not in replaceable(oracle.config):
            place, moved = _computed_from(trace, name, moved)
        with replaced(oracle, {place: (lambda x: x + moved, lambda dout: dout)}):
            oracle.overrides |= before
            loss = _loss(oracle, trace)
    return float(loss.imag / STEP)


def _loss(oracle: Model, trace: Trace) -> complex:
    assert trace.targets is not None
    return complex(oracle.forward(trace.tokens, trace.targets))


def _skip(call: Call) -> None:
    """What a stage wrote before is still there."""


def _computed_from(trace: Trace, name: str, moved: Array) -> tuple[str, Array]:
    """The stored array computed from one that is not, and how far it moves with that one."""
    prefix, _, kind = name.rpartition(".")
    if kind == "xhat":
        (node,) = (n for n in trace.diagram if n.arrays.get("xhat") == name)
        return node.arrays["out"], moved * trace[node.arrays["weight"]].value
    p, V = (trace[f"{prefix}.{part}"].value for part in ("probabilities", "value"))
    if kind == "scores":  # of the softmax; a masked score has no effect
        e = p * np.exp(moved)
        moved = 1j * (e / e.sum(axis=-1, keepdims=True)).imag
    return f"{prefix}.heads", moved @ for_queries(V, moved.shape[1])
