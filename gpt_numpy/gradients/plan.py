"""Chooses how to check a model's gradients, by the measured time of a forward pass."""

import time
from typing import NamedTuple

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.gradients.oracles import kinds_of, steps_of
from gpt_numpy.model.base_model import Model

BUDGET_SECONDS = 60.0  # the longest check of every element
LARGE = 50_000_000  # from this many parameters on, fewer positions are used


class Plan(NamedTuple):
    """The method, the batch it uses, a line that describes both, and the expected time."""

    method: str
    tokens: Array
    targets: Array
    description: str
    seconds: float


def positions_of(n_params: int) -> int:
    """The most positions of the first sequence that a check along directions uses."""
    return 256 if n_params < LARGE else 128


def choose_method(
    hand: Model,
    oracle: Model | None,
    tokens: Array,
    targets: Array,
    key: int | None,
    method: str,
) -> Plan:
    """Choose a method by the time of a first forward pass; without an oracle, differences."""
    if np.ndim(tokens) != 2 or np.ndim(targets) != 2 or len(tokens) != len(targets):
        hand.forward(tokens, targets)  # raises an error that says what is wrong
    n, tensors, kinds = hand.n_params, len(hand.params), len(kinds_of(hand))
    positions = positions_of(n)
    few = np.asarray(tokens)[:1, :positions], np.asarray(targets)[:1, :positions]
    if oracle is not None and method in ("auto", "elements"):
        # With few positions first: if even they take long, the whole batch is not tried.
        seconds = n * _seconds_of_forward(oracle, *few, key)
        if method == "elements" or seconds <= BUDGET_SECONDS:
            seconds = n * _seconds_of_forward(oracle, tokens, targets, key)
        if method == "elements" or seconds <= BUDGET_SECONDS:
            what = f"complex step in each of {n:,} parameters"
            return _plan("elements", (tokens, targets), what, seconds, hand, key)
    along = f"along one random direction in each of {tensors} tensors ({n:,} parameters)"
    pass_of_hand = _seconds_of_forward(hand, *few, key)
    sweeps = 2 * len(steps_of(hand)) * kinds  # forward passes
    if oracle is None:
        seconds = pass_of_hand * (sweeps + 4 * (tensors - kinds))
        return _plan("differences", few, f"central differences {along}", seconds, hand, key)
    what = f"complex step {along}"
    seconds = tensors * _seconds_of_forward(oracle, *few, key)
    if hand.ops_name != "reference":
        what += f", and central differences in {kinds} kinds of tensor"
        seconds += pass_of_hand * sweeps
    return _plan("directions", few, what, seconds, hand, key)


def _plan(
    method: str, batch: tuple[Array, Array], what: str, seconds: float, hand: Model, key: int | None
) -> Plan:
    rate = hand.config.dropout
    dropout = f", dropout {rate:g} with a fixed mask" if rate and key is not None else ""
    description = f"{what}, {_sizes(hand, batch)}, float64, {hand.ops_name}{dropout}"
    return Plan(method, *batch, description, seconds)


def _sizes(model: Model, batch: tuple[Array, Array]) -> str:
    """The sizes of a batch in words; a Transformer has two sequences in each place."""
    B, T, *S = model.sizes_of(*batch)
    return f"sources {B} x {S[0]}, targets {B} x {T}" if S else f"tokens {B} x {T}"


def _seconds_of_forward(model: Model, tokens: Array, targets: Array, key: int | None) -> float:
    model.forward(tokens, targets, dropout_key=key)  # allocates buffers and compiles
    start = time.perf_counter()
    model.forward(tokens, targets, dropout_key=key)
    return time.perf_counter() - start
