"""Chooses how to check a model's gradients, by the measured time of a forward pass."""

import time
from typing import NamedTuple

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.gradients.oracles import kinds_of, passes_by_differences, passes_by_kind
from gpt_numpy.model.gpt import GPT

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
    hand: GPT, oracle: GPT | None, tokens: Array, targets: Array, key: int | None, method: str
) -> Plan:
    """Choose a method by the time of a first forward pass; without an oracle, differences.

    Raises
    ------
    InputError : the tokens or targets cannot be used.
    """
    if np.ndim(tokens) != 2 or np.shape(targets) != np.shape(tokens):
        hand.forward(tokens, targets)  # raises an error that says what is wrong
    n, ops = hand.n_params, hand.ops_name
    positions = positions_of(n)
    few = np.asarray(tokens)[:1, :positions], np.asarray(targets)[:1, :positions]
    if oracle is not None and method in ("auto", "elements"):
        # With few positions first: if even they take long, the whole batch is not tried.
        each = _seconds_of_forward(oracle, *few, key)
        small = each * n <= BUDGET_SECONDS
        if small or method == "elements":
            each = _seconds_of_forward(oracle, tokens, targets, key)
        if method == "elements" or small and each * n <= BUDGET_SECONDS:
            what = f"complex step in each of {n:,} parameters"
            return Plan("elements", tokens, targets, _describe(what, tokens, hand, key), each * n)
    tensors = len(hand.params)
    each_tensor = f"in each of {tensors} tensors ({n:,} parameters)"
    real = _seconds_of_forward(hand, *few, key)
    if oracle is None:
        what = f"central differences along one random direction {each_tensor}"
        seconds = real * passes_by_differences(hand)
        return Plan("differences", *few, _describe(what, few[0], hand, key), seconds)
    what = f"complex step along one random direction {each_tensor}"
    seconds = _seconds_of_forward(oracle, *few, key) * tensors
    if ops != "reference":
        kinds = len(kinds_of(hand))
        what += f", and central differences in {kinds} kinds of tensor"
        seconds += real * passes_by_kind(hand)
    return Plan("directions", *few, _describe(what, few[0], hand, key), seconds)


def _describe(what: str, tokens: Array, hand: GPT, key: int | None) -> str:
    shape = " x ".join(map(str, np.shape(tokens)))
    rate = hand.config.dropout
    dropout = f", dropout {rate:g} with a fixed mask" if rate and key is not None else ""
    return f"{what}, tokens {shape}, float64, {hand.ops_name}{dropout}"


def _seconds_of_forward(model: GPT, tokens: Array, targets: Array, key: int | None) -> float:
    model.forward(tokens, targets, dropout_key=key)  # allocates buffers and compiles
    start = time.perf_counter()
    model.forward(tokens, targets, dropout_key=key)
    return time.perf_counter() - start
