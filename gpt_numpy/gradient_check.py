"""The user's gradient check: hand-derived gradients against the exact complex-step derivative.

For a function f that is analytic, and a small real h,

    f(x + ih) = f(x) + ih f'(x) - h^2 f''(x) / 2 - ...        so  Im f(x + ih) / h = f'(x) + O(h^2)

Nothing is subtracted, so nothing cancels, and h can be 1e-30: the second term is far below rounding
and the derivative is exact to the last bits. (A difference quotient (f(x+h) - f(x-h)) / 2h loses a
third of its digits at best.) It needs a forward pass that takes complex numbers; `reference/` does.
Choices, such as the largest logit or the side of 0 in ReLU, go by the real part there, so near
every point but ReLU's 0 the pass is analytic.
Source: Squire, Trapp, "Using Complex Variables to Estimate Derivatives of Real Functions" (1998).

Small models are checked element by element. For large ones each tensor is moved along one random
direction v, which gives the sum of v times the gradient: a wrong element would have to cancel out
by chance to the tenth digit.

The error of a tensor is the largest |hand - exact|, divided by its largest |exact| or by a
thousandth of the largest of all tensors, whichever is more: the gradient of a tensor may be zero,
and rounding divided by rounding says nothing. Along a direction it is |hand - exact| of the slope,
divided by |exact| or by the norm of the gradient.
"""

import math
import time
from collections.abc import Callable

import numpy as np

from gpt_numpy.arrays import Array
from gpt_numpy.gradient_report import Report, Row
from gpt_numpy.model import GPT

STEP = 1e-30
TOLERANCE = 1e-10
BUDGET_SECONDS = 60.0
DIRECTION_TOKENS = 256

Measured = dict[str, tuple[float, float]]  # name -> (largest difference, scale of the exact one)


def gradcheck(
    model: GPT,
    tokens: Array,
    targets: Array,
    *,
    dropout_key: int | None = None,
    tolerance: float = TOLERANCE,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> Report:
    """Check every parameter's gradient of the loss of `targets` given `tokens`, in float64.

    The gradients come from the model's own layers, run in float64; the exact derivative always
    from the reference's forward pass.

    Parameters
    ----------
    tokens, targets : integers (B, T). In a model that is too large for a check of every element
        (more than a minute), the first sequence is used, up to 256 positions.
    dropout_key : holds the masks of dropout fixed; None: no dropout.
    tolerance : the largest error of a right gradient.
    seed : of the random directions.
    say : called with what is going to happen, before it does.

    Raises
    ------
    InputError : the tokens or targets cannot be used.
    """
    start = time.perf_counter()
    oracle = _twin(model, "complex128", "reference")
    each = _seconds_of_forward(oracle, tokens, targets, dropout_key)
    elementwise = each * model.n_params <= BUDGET_SECONDS
    if not elementwise:
        tokens, targets = tokens[:1, :DIRECTION_TOKENS], targets[:1, :DIRECTION_TOKENS]
        each = _seconds_of_forward(oracle, tokens, targets, dropout_key)
    passes = model.n_params if elementwise else len(model.params)
    what = (
        f"each of {model.n_params:,} parameters"
        if elementwise
        else f"one random direction in each of {passes} tensors ({model.n_params:,} parameters)"
    )
    shape = " x ".join(map(str, np.shape(tokens)))
    method = f"complex step in {what}, tokens {shape}, float64, {model.ops_name}"
    say(f"{method}: about {each * passes:.0f} s")

    hand = _twin(model, "float64", model.ops_name)
    hand.forward(tokens, targets, dropout_key=dropout_key)
    hand.backward()

    def loss_slope() -> float:
        slope = oracle.forward(tokens, targets, dropout_key=dropout_key).imag / STEP
        return float(slope)

    if elementwise:
        measured = _by_element(hand, oracle, loss_slope)
    else:
        measured = _by_direction(hand, oracle, loss_slope, np.random.default_rng(seed))
    rows = _rows(hand, measured, tolerance)
    return Report(rows, method, tolerance, time.perf_counter() - start)


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


def _by_element(hand: GPT, oracle: GPT, loss_slope: Callable[[], float]) -> Measured:
    measured = {}
    for name, param in oracle.params.items():
        flat, exact = param.reshape(-1), np.empty(param.size)
        for j in range(flat.size):
            flat[j] += 1j * STEP
            exact[j] = loss_slope()
            flat[j] = flat[j].real
        difference = np.abs(hand.grads[name].reshape(-1) - exact).max()
        measured[name] = (float(difference), float(np.abs(exact).max()))
    return measured


def _by_direction(
    hand: GPT, oracle: GPT, loss_slope: Callable[[], float], rng: np.random.Generator
) -> Measured:
    measured = {}
    for name, param in oracle.params.items():
        direction = rng.standard_normal(param.shape)
        param += 1j * STEP * direction
        exact = loss_slope()
        param[...] = param.real
        grad = hand.grads[name]
        difference = abs(float((direction * grad).sum()) - exact)
        # On average the slope along v is as large as the norm, but it may be small by chance.
        measured[name] = (difference, max(abs(exact), float(np.linalg.norm(grad))))
    return measured


def _rows(hand: GPT, measured: Measured, tolerance: float) -> tuple[Row, ...]:
    largest = max(scale for _, scale in measured.values())
    rows = []
    for name, (difference, scale) in measured.items():
        divisor = max(scale, 1e-3 * largest)
        error = difference / divisor if divisor else difference
        norm = float(np.linalg.norm(hand.grads[name]))
        rows.append(Row(name, hand.grads[name].shape, norm, error, bool(error <= tolerance)))
    return tuple(rows)


def _twin(model: GPT, dtype: str, ops: str) -> GPT:
    """The same model in another type and implementation."""
    twin = GPT(model.config, seed=None, dtype=dtype, ops=ops)
    twin.params.flat[...] = model.params.flat
    return twin


def _seconds_of_forward(
    oracle: GPT, tokens: Array, targets: Array, dropout_key: int | None
) -> float:
    oracle.forward(tokens, targets, dropout_key=dropout_key)  # allocates its buffers
    start = time.perf_counter()
    oracle.forward(tokens, targets, dropout_key=dropout_key)
    return time.perf_counter() - start
