"""Checks the gradients of a model: hand-derived backward passes against numerical derivatives.

Small models are checked element by element, by the complex step through the reference's forward
pass (derivatives.py). In large models each tensor is moved along a random direction v, which gives
the sum of v times the gradient: errors would have to cancel to the tenth digit to go unnoticed.
The kernels do not accept complex numbers, so the tensors of each kind are also moved together, by
finite differences through the kernels. If a complex model does not fit into memory, differences
check each tensor instead. The error is defined in report.py.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array, as_array
from gpt_numpy.base.checks import instance, integer, real, shown
from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.base.progress import duration
from gpt_numpy.config.choices import GRADCHECK_METHODS
from gpt_numpy.gradients import oracles
from gpt_numpy.gradients.model_diagnosis import explain
from gpt_numpy.gradients.oracles import Measured, Tick, Twins
from gpt_numpy.gradients.plan import choose_method
from gpt_numpy.gradients.report import Report, TensorCheck, scale_of
from gpt_numpy.model.base_model import Model
from gpt_numpy.model.gpt import GPT
from gpt_numpy.reference.cross_entropy import IGNORED

TOLERANCE = 1e-10
TOLERANCE_OF_DIFFERENCES = 1e-6
NOTABLE = 1_000_000  # from this many parameters on, the first evaluation takes a while
EXAMINED = 3  # wrong tensors to explain where every explanation costs forward passes


def gradcheck(
    model: Model,
    tokens: Array,
    targets: Array,
    *,
    dropout_key: int | None = None,
    method: str = "auto",
    tolerance: float = TOLERANCE,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
    tick: Tick = lambda what, done, total: None,
) -> Report:
    """Check the gradient of the loss with respect to every parameter.

    The gradients under test are those of the model's own layers, run in float64.

    Parameters
    ----------
    tokens, targets : integers (B, T), or source and target of a Transformer. If a check of every
        element would take more than a minute, only the first sequence is used: up to 256
        positions, or 128 from 50 million parameters on.
    dropout_key : fixes the masks of dropout; None: no dropout.
    method : "elements" or "directions", both by the complex step; "differences", through the
        model's own forward pass, with a tolerance of at least 1e-6; "auto", which is "elements" or
        "directions", depending on the size of the model.
    tolerance : the largest error of a right gradient.
    seed : seed of the random directions.
    say : called with a line about each step before it starts.
    tick : called with a noun such as "tensors", how many of them are done, and how many there are.

    Raises
    ------
    InputError : the tokens or targets cannot be used, or no target counts; an unknown method.
    """
    start = time.perf_counter()
    instance("model", model, Model, "a GPT or a Transformer")
    names = ("tokens", "targets") if isinstance(model, GPT) else ("source", "target")
    tokens, targets = as_array(names[0], tokens), as_array(names[1], targets)
    seed = integer("seed", seed)
    tolerance = real("tolerance", tolerance, lambda x: x > 0, "a finite number greater than 0")
    if model.n_params >= NOTABLE:
        say(f"{model.n_params:,} parameters: timing a first evaluation")
    if not isinstance(method, str) or method not in GRADCHECK_METHODS:
        raise InputError(f"method={shown(method)}: {did_you_mean(str(method), GRADCHECK_METHODS)}")
    hand = twin_with(model, "float64", model.ops_name)
    oracle = None
    if method != "differences":
        # Each position's loss is kept, so that missing positions can be named.
        oracle = twin_with(model, "complex128", "reference", keep=("losses",))
    plan = choose_method(hand, oracle, tokens, targets, dropout_key, method)
    if isinstance(model, GPT) and np.all(plan.targets == IGNORED):
        raise InputError(
            f"targets: those of the check ({plan.description}) are all {IGNORED}, so that every "
            "gradient is 0: give some that count, near the beginning of the first sequence"
        )
    say(f"{plan.description}: about {duration(max(plan.seconds, 1))}")

    hand.forward(plan.tokens, plan.targets, dropout_key=dropout_key)
    hand.backward()
    twins = Twins(hand, oracle, plan.tokens, plan.targets, dropout_key)
    rng = np.random.default_rng(seed)
    notes: list[str] = []
    kinds: list[TensorCheck] = []
    if plan.method == "elements":
        measured = oracles.by_element(twins, tick)
    elif plan.method == "directions":
        measured = oracles.by_direction(twins, rng, tick)
        if hand.ops_name != "reference":  # otherwise the complex step went through this very pass
            kinds, note = _check_kinds(oracles.by_kind(twins, rng, tick))
            notes.append(note)
    else:
        measured = oracles.by_differences(twins, rng, tick)
        tolerance = max(tolerance, TOLERANCE_OF_DIFFERENCES)
    rows = _rows(twins, measured, tolerance, rng)
    notes += _where_to_look(rows)
    seconds = time.perf_counter() - start
    return Report((*rows, *kinds), plan.description, tolerance, seconds, tuple(notes))


def randomise(model: Model, seed: int) -> None:
    """Set the parameters to values at which no mistake in a gradient stays hidden.

    In a new model, layer norms have weight 1 and biases are 0: a backward pass that leaves them out
    would pass the check.
    """
    rng = np.random.default_rng(seed)
    for name, param in model.params.items():
        noise = rng.standard_normal(param.shape)
        if param.ndim > 1:
            param[...] = noise / math.sqrt(model.config.n_embd)
        else:
            param[...] = 0.5 * noise + (1 if name.endswith("weight") else 0)


def _rows(
    twins: Twins, measured: dict[str, Measured], tolerance: float, rng: np.random.Generator
) -> list[TensorCheck]:
    largest = max(found.scale for found in measured.values())
    scales = {name: scale_of(found.scale, largest) for name, found in measured.items()}
    errors = {name: found.difference / scales[name] for name, found in measured.items()}
    wrong = [name for name, error in errors.items() if not error <= tolerance]
    # Backward starts at the loss, so the last wrong tensors are the nearest to the mistake.
    nearest = wrong[-EXAMINED:]
    rows = []
    for name, found in measured.items():
        remarks: list[str] = []
        if name in nearest or (name in wrong and found.exact is not None):
            remarks = explain(twins, name, found, scales[name], tolerance, rng)
            if name not in nearest and not any("looks like" in remark for remark in remarks):
                remarks = []  # wrong only because a later gradient is wrong
        grad, error = twins.hand.grads[name], float(errors[name])
        norm, ok = float(np.linalg.norm(grad)), name not in wrong
        rows.append(TensorCheck(name, grad.shape, norm, error, ok, tuple(remarks)))
    return rows


def _check_kinds(
    found: dict[str, tuple[float, float, float]],
) -> tuple[list[TensorCheck], str]:
    """A row for each kind of tensor whose differences do not agree, and a line about all."""
    worst = max(found, key=lambda kind: found[kind][0])
    error, estimate, step = found[worst]
    verdict = "agree" if error <= TOLERANCE_OF_DIFFERENCES else "DISAGREE"
    note = (
        f"central differences through the model's own forward pass {verdict} in {len(found)} kinds "
        f"of tensor: largest error {error:.1e} in {worst} (estimated {estimate:.0e} at the best "
        f"step, {step:.1e} of the tensor)"
    )
    remark = "by differences, not the derivative of the model's own forward pass"
    rows = [
        TensorCheck(kind, (), math.nan, error, False, (remark,))
        for kind, (error, _, _) in found.items()
        if not error <= TOLERANCE_OF_DIFFERENCES
    ]
    return rows, note


def _where_to_look(rows: list[TensorCheck]) -> list[str]:
    """Where to look: a mistake also makes the gradients of everything earlier in forward wrong."""
    wrong = [k for k, row in enumerate(rows) if not row.ok]
    if not wrong:
        return []
    last = rows[wrong[-1]].name
    if len(wrong) == 1:
        return [f"only {last} is wrong: the mistake is in its own gradient, not in a later one"]
    right = [row.name for row in rows[wrong[-1] + 1 :]]
    after = f" ({right[0]} is right)" if right else ""
    return [f"in forward order, the last wrong tensor is {last}{after}: look just after it"]


def twin_with(model: Model, dtype: str, ops: str, keep: tuple[str, ...] = ()) -> Any:
    """A copy of the model with another dtype and implementation."""
    twin = type(model)(model.config, seed=None, dtype=dtype, ops=ops, keep=keep)
    twin.params.flat[...] = model.params.flat
    return twin
