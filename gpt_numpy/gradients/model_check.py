"""The user's gradient check: hand-derived gradients against derivatives that nobody derived.

Small models are checked element by element, by the complex step through the reference's forward
pass (derivatives.py). In large ones each tensor is moved along one random direction v, which gives
the sum of v times the gradient: a wrong element would have to cancel out by chance to the tenth
digit. And since the kernels take no complex numbers, the tensors of each kind are also moved
together, by differences through the very passes that are checked. Where there is no memory for the
complex numbers, differences check each tensor instead.

What an error is stands in report.py; what a wrong row is told, in `diagnosis/`.
"""

import math
import time
from collections.abc import Callable

import numpy as np

from gpt_numpy.base.arrays import Array, as_array
from gpt_numpy.base.checks import real, shown
from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.base.progress import duration
from gpt_numpy.config.choices import GRADCHECK_METHODS
from gpt_numpy.gradients.model_diagnosis import explain
from gpt_numpy.gradients.oracles import (
    Checked,
    Measured,
    Tick,
    by_differences,
    by_direction,
    by_element,
    by_kind,
)
from gpt_numpy.gradients.plan import plan_check
from gpt_numpy.gradients.report import Report, Row
from gpt_numpy.model.gpt import GPT

TOLERANCE = 1e-10
TOLERANCE_OF_DIFFERENCES = 1e-6
NOTABLE = 1_000_000  # parameters, from which on the first evaluation takes a while
EXAMINED = 3  # wrong tensors that are looked into where each look is a pass


def gradcheck(
    model: GPT,
    tokens: Array,
    targets: Array,
    *,
    dropout_key: int | None = None,
    method: str = "auto",
    tolerance: float = TOLERANCE,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
    tick: Tick = lambda what, done, total: None,
) -> Report:
    """Check every parameter's gradient of the loss of `targets` given `tokens`, in float64.

    The gradients come from the model's own layers, run in float64.

    Parameters
    ----------
    tokens, targets : integers (B, T). In a model that is too large for a check of every element
        (more than a minute), the first sequence is used, up to 256 positions, and up to 128 from
        50 million parameters on.
    dropout_key : holds the masks of dropout fixed; None: no dropout.
    method : "elements" and "directions" by the complex step, "differences" through the model's own
        forward pass, with a tolerance of 1e-6 at least; "auto": elements or directions by size.
    tolerance : the largest error of a right gradient.
    seed : of the random directions.
    say : called with what is going to happen, before it does.
    tick : called with what is measured, how much of it is done, and how much there is.

    Raises
    ------
    InputError : the tokens or targets cannot be used; an unknown method.
    """
    start = time.perf_counter()
    tokens, targets = as_array("tokens", tokens), as_array("targets", targets)
    tolerance = real("tolerance", tolerance, lambda x: x > 0, "a finite number greater than 0")
    if model.n_params >= NOTABLE:
        say(f"{model.n_params:,} parameters: a first evaluation is measured")
    if not isinstance(method, str) or method not in GRADCHECK_METHODS:
        raise InputError(f"method={shown(method)}: {did_you_mean(str(method), GRADCHECK_METHODS)}")
    hand = _twin(model, "float64", model.ops_name)
    oracle = None if method == "differences" else _twin(model, "complex128", "reference")
    plan = plan_check(hand, oracle, tokens, targets, dropout_key, method)
    say(f"{plan.text}: about {duration(max(plan.seconds, 1))}")

    hand.forward(plan.tokens, plan.targets, dropout_key=dropout_key)
    hand.backward()
    pair = Checked(hand, oracle, plan.tokens, plan.targets, dropout_key)
    rng = np.random.default_rng(seed)
    notes: list[str] = []
    kinds: list[Row] = []
    if plan.method == "elements":
        measured = by_element(pair, tick)
    elif plan.method == "directions":
        measured = by_direction(pair, rng, tick)
        if hand.ops_name != "reference":  # its own forward pass is the one that was moved
            found = by_kind(pair, rng, tick)
            notes.append(_of_kinds(found))
            kinds = _rows_of_kinds(found)
    else:
        measured = by_differences(pair, rng, tick)
        tolerance = max(tolerance, TOLERANCE_OF_DIFFERENCES)
    rows = _rows(pair, plan.method, measured, tolerance, rng)
    notes += _nearest(rows)
    return Report((*rows, *kinds), plan.text, tolerance, time.perf_counter() - start, tuple(notes))


def randomise(model: GPT, seed: int) -> None:
    """Set parameters at which no mistake in a gradient stays hidden.

    As a model starts, layer norms have weight 1 and all biases are 0: a backward pass that forgets
    them would pass the check.
    """
    rng = np.random.default_rng(seed)
    for name, param in model.params.items():
        noise = rng.standard_normal(param.shape)
        if param.ndim > 1:
            param[...] = noise / math.sqrt(model.config.n_embd)
        else:
            param[...] = 0.5 * noise + (1 if name.endswith("weight") else 0)


def _rows(
    pair: Checked,
    method: str,
    measured: dict[str, Measured],
    tolerance: float,
    rng: np.random.Generator,
) -> tuple[Row, ...]:
    largest = max(found.scale for found in measured.values())
    errors, floor = {}, 1e-3 * largest
    for name, found in measured.items():
        divisor = max(found.scale, floor)
        errors[name] = found.difference / divisor if divisor else found.difference
    wrong = [name for name, error in errors.items() if not error <= tolerance]
    # Backward runs from the loss down: the last wrong tensors are the nearest to the mistake.
    nearest = wrong[-EXAMINED:]
    examined = wrong if method == "elements" else nearest
    rows = []
    for name, error in errors.items():
        grad = pair.hand.grads[name]
        remarks: list[str] = []
        if name in examined:
            scale = max(measured[name].scale, floor)
            remarks = explain(pair, name, measured[name], scale, tolerance, rng)
            if name not in nearest and not any("looks like" in remark for remark in remarks):
                remarks = []  # it is spoilt by what lies after it, and has nothing to say
        ok = bool(error <= tolerance)
        norm = float(np.linalg.norm(grad))
        rows.append(Row(name, grad.shape, norm, float(error), ok, tuple(remarks)))
    return tuple(rows)


def _of_kinds(found: dict[str, tuple[float, float, float]]) -> str:
    """A line on the differences through the model's own forward pass."""
    worst = max(found, key=lambda kind: found[kind][0])
    error, estimate, step = found[worst]
    verdict = "agree" if error <= TOLERANCE_OF_DIFFERENCES else "DISAGREE"
    return (
        f"central differences through the model's own forward pass {verdict} in {len(found)} kinds "
        f"of tensor: largest error {error:.1e} in {worst} (estimated {estimate:.0e} at the best "
        f"step, {step:.1e} of the tensor)"
    )


def _nearest(rows: tuple[Row, ...]) -> list[str]:
    """Where to look: backward runs from the loss down, so a mistake spoils what lies before it."""
    wrong = [k for k, row in enumerate(rows) if not row.ok]
    if not wrong:
        return []
    last = rows[wrong[-1]].name
    if len(wrong) == 1:
        return [f"nothing but {last} is wrong: the mistake is in its own gradient, not further on"]
    right = [row.name for row in rows[wrong[-1] + 1 :]]
    after = f" ({right[0]} is right)" if right else ""
    return [f"in the order of forward the last wrong one is {last}{after}: look just after it"]


def _rows_of_kinds(found: dict[str, tuple[float, float, float]]) -> list[Row]:
    """A row for each kind of tensor in which the differences do not agree."""
    wrong = {k: e for k, (e, *_) in found.items() if not e <= TOLERANCE_OF_DIFFERENCES}
    remark = "not the derivative of the model's own forward pass, by differences"
    return [Row(kind, (), math.nan, error, False, (remark,)) for kind, error in wrong.items()]


def _twin(model: GPT, dtype: str, ops: str) -> GPT:
    """The same model in another type and implementation."""
    twin = GPT(model.config, seed=None, dtype=dtype, ops=ops)
    twin.params.flat[...] = model.params.flat
    return twin
