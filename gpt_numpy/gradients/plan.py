"""How a model's gradients are to be checked, and how long that will take: measured, not guessed."""

import time
from typing import NamedTuple

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.gradients.oracles import kinds_of, passes_by_differences, passes_by_kind
from gpt_numpy.model.gpt import GPT

BUDGET_SECONDS = 60.0  # for a check of every element
LARGE = 50_000_000  # parameters, from which on fewer positions are used


class Plan(NamedTuple):
    """How a model is checked, and how long that takes."""

    method: str
    tokens: Array
    targets: Array
    text: str
    seconds: float


def positions_of(n_params: int) -> int:
    """How many positions of the first sequence a check along directions uses at most."""
    return 256 if n_params < LARGE else 128


def plan_check(
    hand: GPT, oracle: GPT | None, tokens: Array, targets: Array, key: int | None, method: str
) -> Plan:
    """Choose the method by the time that a first evaluation takes; no oracle: differences.

    Raises
    ------
    InputError : the tokens or targets cannot be used.
    """
    if np.ndim(tokens) != 2 or np.shape(targets) != np.shape(tokens):
        hand.forward(tokens, targets)  # says what is wrong with them
    n, ops = hand.n_params, hand.ops_name
    positions = positions_of(n)
    few = np.asarray(tokens)[:1, :positions], np.asarray(targets)[:1, :positions]
    if oracle is not None and method in ("auto", "elements"):
        # Of the few first: if even they take long, all of them need not be tried.
        each = _seconds_of_forward(oracle, *few, key)
        small = each * n <= BUDGET_SECONDS
        if small or method == "elements":
            each = _seconds_of_forward(oracle, tokens, targets, key)
        if method == "elements" or small and each * n <= BUDGET_SECONDS:
            what = f"complex step in each of {n:,} parameters"
            return Plan("elements", tokens, targets, _text(what, tokens, hand, key), each * n)
    tensors = len(hand.params)
    each_tensor = f"in each of {tensors} tensors ({n:,} parameters)"
    real = _seconds_of_forward(hand, *few, key)
    if oracle is None:
        what = f"central differences along one random direction {each_tensor}"
        seconds = real * passes_by_differences(hand)
        return Plan("differences", *few, _text(what, few[0], hand, key), seconds)
    what = f"complex step along one random direction {each_tensor}"
    seconds = _seconds_of_forward(oracle, *few, key) * tensors
    if ops != "reference":
        kinds = len(kinds_of(hand))
        what += f", and central differences in {kinds} kinds of tensor"
        seconds += real * passes_by_kind(hand)
    return Plan("directions", *few, _text(what, few[0], hand, key), seconds)


def _text(what: str, tokens: Array, hand: GPT, key: int | None) -> str:
    text = f"{what}, tokens {' x '.join(map(str, np.shape(tokens)))}, float64, {hand.ops_name}"
    rate = hand.config.dropout
    return text if key is None or not rate else f"{text}, dropout {rate:g} with its mask held"


def _seconds_of_forward(model: GPT, tokens: Array, targets: Array, key: int | None) -> float:
    model.forward(tokens, targets, dropout_key=key)  # allocates its buffers, compiles
    start = time.perf_counter()
    model.forward(tokens, targets, dropout_key=key)
    return time.perf_counter() - start
