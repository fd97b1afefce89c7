"""Derivatives of a model's loss: for each element, along directions, by differences."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.gradients.derivatives import STEP, best_slope, richardson
from gpt_numpy.model.base_model import Model

Tick = Callable[[str, int, int], None]  # a noun in the plural, how many are done, of how many

# Steps of differences, relative to the size of a tensor's elements. Where the input of a ReLU
# crosses 0 within a step the slope jumps: there only small ones are right.
SMOOTH_STEPS = tuple(2.0**-k for k in range(5, 12))
KINKED_STEPS = tuple(2.0**-k for k in range(9, 19))
LARGEST_KEPT = 2_000_000  # elements: larger arrays of contributions are not kept


class Measured(NamedTuple):
    """One tensor: the largest difference, the size of the exact gradient, and itself if known."""

    difference: float
    scale: float
    exact: Array | None = None
    contributions: Array | None = None  # (B, T, size): the gradient of each position's loss


class Twins(NamedTuple):
    """The model under test, in float64, and a complex copy in the reference, on one batch.

    `tokens` and `targets` are what the model's `forward` takes: of a Transformer source and target.
    """

    hand: Model
    oracle: Model | None
    tokens: Array
    targets: Array
    key: int | None

    def slope(self, name: str, direction: Array) -> float:
        """The exact derivative of the loss along a direction in one tensor."""
        assert self.oracle is not None
        param = self.oracle.params[name]
        np.multiply(direction, STEP, out=param.imag)
        try:
            loss = self.oracle.forward(self.tokens, self.targets, dropout_key=self.key)
        finally:
            param.imag[...] = 0
        return float(loss.imag / STEP)

    def loss_moved(self, directions: dict[str, Array], step: float) -> float:
        """The loss of the model under test with some tensors moved."""
        saved = {name: self.hand.params[name].copy() for name in directions}
        try:
            for name, direction in directions.items():
                self.hand.params[name][...] += step * direction
            return float(self.hand.forward(self.tokens, self.targets, dropout_key=self.key))
        finally:
            for name, value in saved.items():
                self.hand.params[name][...] = value


def by_element(twins: Twins, tick: Tick) -> dict[str, Measured]:
    """The exact gradient of every parameter; one pass for each element."""
    oracle = twins.oracle
    assert oracle is not None
    kept = oracle.counted(twins.tokens, twins.targets)
    measured, done = {}, 0
    for name, param in oracle.params.items():
        flat, exact = param.reshape(-1), np.empty(param.shape)
        shape = (*oracle.sizes_of(twins.tokens, twins.targets)[:2], param.size)
        parts = np.empty(shape) if np.prod(shape) <= LARGEST_KEPT else None
        for j in range(flat.size):
            flat[j] += 1j * STEP
            loss = oracle.forward(twins.tokens, twins.targets, dropout_key=twins.key)
            exact.flat[j] = loss.imag / STEP
            if parts is not None:
                parts[..., j] = oracle.activations["losses"].imag / (STEP * kept)
            flat[j] = flat[j].real
            done += 1
            tick("parameters", done, oracle.n_params)
        difference = float(np.abs(twins.hand.grads[name] - exact).max())
        measured[name] = Measured(difference, float(np.abs(exact).max()), exact, parts)
    return measured


def by_direction(twins: Twins, rng: np.random.Generator, tick: Tick) -> dict[str, Measured]:
    """The exact slope along one random direction in each tensor; one pass for each."""
    measured = {}
    for done, (name, grad) in enumerate(twins.hand.grads.items(), start=1):
        direction = rng.standard_normal(grad.shape)
        measured[name] = _along(direction, grad, twins.slope(name, direction))
        tick("tensors", done, len(twins.hand.grads))
    return measured


def by_kind(
    twins: Twins, rng: np.random.Generator, tick: Tick
) -> dict[str, tuple[float, float, float]]:
    """Differences through the model under test: for each kind, error, estimate and best step."""
    found = {}
    kinds = kinds_of(twins.hand)
    for done, (kind, names) in enumerate(kinds.items(), start=1):
        directions = _scaled_directions(twins.hand, names, rng)
        slope = best_slope(partial(twins.loss_moved, directions), steps_of(twins.hand))
        hand = sum(float((d * twins.hand.grads[name]).sum()) for name, d in directions.items())
        norm = np.sqrt(sum(_norm(d, twins.hand.grads[name]) ** 2 for name, d in directions.items()))
        scale = max(abs(slope.value), norm) or 1.0
        found[kind] = (abs(hand - slope.value) / scale, slope.error / scale, float(slope.step))
        tick("kinds of tensor", done, len(kinds))
    return found


def by_differences(twins: Twins, rng: np.random.Generator, tick: Tick) -> dict[str, Measured]:
    """The slope along one random direction in each tensor, by differences through the model.

    The first tensor of each kind searches for the best step; the others use the same one.
    """
    measured: dict[str, Measured] = {}
    kinds = kinds_of(twins.hand)
    for names in kinds.values():
        step = 0.0
        for name in names:
            directions = _scaled_directions(twins.hand, [name], rng)
            loss = partial(twins.loss_moved, directions)
            if step:
                slope = float(richardson(loss, step))
            else:
                swept = best_slope(loss, steps_of(twins.hand))
                slope, step = float(swept.value), float(swept.step)
            measured[name] = _along(directions[name], twins.hand.grads[name], slope)
            tick("tensors", len(measured), len(twins.hand.params))
    return {name: measured[name] for name in twins.hand.params}


def steps_of(model: Model) -> tuple[float, ...]:
    """The steps of differences through this model."""
    smooth = getattr(model.config, "activation", "relu") not in ("relu", "relu2")  # the paper's
    return SMOOTH_STEPS if smooth else KINKED_STEPS


def kinds_of(model: Model) -> dict[str, list[str]]:
    """The names of the parameters, grouped over blocks under names such as `h.*.ln_1.weight`."""
    kinds: dict[str, list[str]] = {}
    for name in model.params:
        kind = ".".join("*" if part.isdigit() else part for part in name.split("."))
        kinds.setdefault(kind, []).append(name)
    return kinds


def _along(direction: Array, grad: Array, exact: float) -> Measured:
    difference = abs(float((direction * grad).sum()) - exact)
    # The slope is as large as the norm on average, but may be small by chance.
    return Measured(difference, max(abs(exact), _norm(direction, grad)))


def _norm(direction: Array, grad: Array) -> float:
    """The expected size of the slope of a gradient along such a direction."""
    return float(np.linalg.norm(grad) * np.sqrt(np.mean(direction * direction)))


def _scaled_directions(
    model: Model, names: Iterable[str], rng: np.random.Generator
) -> dict[str, Array]:
    """A random direction in each tensor, of the size of its elements."""
    directions = {}
    for name in names:
        param = model.params[name]
        size = max(float(np.sqrt(np.mean(param * param))), 0.02)  # a bias may be nearly 0
        directions[name] = size * rng.standard_normal(param.shape)
    return directions
