"""The derivatives of a model's loss, measured: by element, along directions, by differences."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.gradients.derivatives import STEP, best_slope, richardson
from gpt_numpy.model.gpt import GPT

Tick = Callable[[str, int, int], None]  # what is measured, how much is done, how much there is

KIND_STEPS = tuple(2.0**-k for k in range(5, 12))  # of the size of a tensor's elements
LARGEST_KEPT = 2_000_000  # elements of what the positions contribute to one tensor


class Measured(NamedTuple):
    """One tensor: the largest difference, the size of the exact one, and the exact one if known."""

    difference: float
    scale: float
    exact: Array | None = None
    contributions: Array | None = None  # (B, T, size): what each position's loss adds to it


class Checked(NamedTuple):
    """The model whose gradients are checked, in float64, and its complex twin, on one batch."""

    hand: GPT
    oracle: GPT | None
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
        """The loss of the checked model itself with some tensors moved."""
        saved = {name: self.hand.params[name].copy() for name in directions}
        try:
            for name, direction in directions.items():
                self.hand.params[name][...] += step * direction
            loss = self.hand.forward(self.tokens, self.targets, dropout_key=self.key)
        finally:
            for name, value in saved.items():
                self.hand.params[name][...] = value
        return float(loss)


def by_element(pair: Checked, tick: Tick) -> dict[str, Measured]:
    """The exact gradient of every parameter: one pass for each element."""
    assert pair.oracle is not None
    # A twin that keeps the loss of each position: it says which positions are missing.
    oracle = GPT(
        pair.oracle.config, seed=None, dtype="complex128", ops="reference", keep=("losses",)
    )
    oracle.params.flat[...] = pair.oracle.params.flat
    kept = max(int((np.asarray(pair.targets) >= 0).sum()), 1)
    measured, done = {}, 0
    for name, param in oracle.params.items():
        flat, exact = param.reshape(-1), np.empty(param.size)
        shape = (*np.shape(pair.tokens), param.size)
        parts = np.empty(shape) if np.prod(shape) <= LARGEST_KEPT else None
        for j in range(flat.size):
            flat[j] += 1j * STEP
            loss = oracle.forward(pair.tokens, pair.targets, dropout_key=pair.key)
            exact[j] = loss.imag / STEP
            if parts is not None:
                parts[..., j] = oracle.activations["losses"].imag / (STEP * kept)
            flat[j] = flat[j].real
            done += 1
            tick("parameters", done, oracle.n_params)
        difference = float(np.abs(pair.hand.grads[name].reshape(-1) - exact).max())
        scale = float(np.abs(exact).max())
        measured[name] = Measured(difference, scale, exact.reshape(param.shape), parts)
    return measured


def by_direction(pair: Checked, rng: np.random.Generator, tick: Tick) -> dict[str, Measured]:
    """The exact slope along one random direction in each tensor."""
    measured = {}
    for done, (name, grad) in enumerate(pair.hand.grads.items(), start=1):
        direction = rng.standard_normal(grad.shape)
        exact = pair.slope(name, direction)
        measured[name] = _along(direction, grad, exact)
        tick("tensors", done, len(pair.hand.grads))
    return measured


def by_kind(
    pair: Checked, rng: np.random.Generator, tick: Tick
) -> dict[str, tuple[float, float, float]]:
    """Differences through the checked model: each kind's error, its estimate, and the best step."""
    found = {}
    kinds = kinds_of(pair.hand)
    for done, (kind, names) in enumerate(kinds.items(), start=1):
        directions = _scaled_directions(pair.hand, names, rng)
        slope = best_slope(lambda step, d=directions: pair.loss_moved(d, step), KIND_STEPS)  # type: ignore[misc]
        hand = sum(float((d * pair.hand.grads[name]).sum()) for name, d in directions.items())
        norm = np.sqrt(sum(_norm(d, pair.hand.grads[name]) ** 2 for name, d in directions.items()))
        scale = max(abs(slope.value), norm) or 1.0
        found[kind] = (abs(hand - slope.value) / scale, slope.error / scale, float(slope.step))
        tick("kinds of tensor", done, len(kinds))
    return found


def by_differences(pair: Checked, rng: np.random.Generator, tick: Tick) -> dict[str, Measured]:
    """The slope along one random direction in each tensor, by differences through the model.

    The first tensor of each kind finds the best step; the others take it over.
    """
    measured: dict[str, Measured] = {}
    kinds = kinds_of(pair.hand)
    for names in kinds.values():
        step = 0.0
        for name in names:
            directions = _scaled_directions(pair.hand, [name], rng)

            def loss(size: float, directions: dict[str, Array] = directions) -> float:
                return pair.loss_moved(directions, size)

            if step:
                slope = float(richardson(loss, step))
            else:
                swept = best_slope(loss, KIND_STEPS)
                slope, step = float(swept.value), float(swept.step)
            measured[name] = _along(directions[name], pair.hand.grads[name], slope)
            tick("tensors", len(measured), len(pair.hand.params))
    return {name: measured[name] for name in pair.hand.params}


def kinds_of(model: GPT) -> dict[str, list[str]]:
    """The names of the parameters by what they are in every block: `h.*.ln_1.weight`."""
    kinds: dict[str, list[str]] = {}
    for name in model.params:
        parts = name.split(".")
        kind = ".".join([parts[0], "*", *parts[2:]]) if parts[0] == "h" else name
        kinds.setdefault(kind, []).append(name)
    return kinds


def passes_by_kind(model: GPT) -> int:
    """How many forward passes `by_kind` takes."""
    return 2 * len(KIND_STEPS) * len(kinds_of(model))


def passes_by_differences(model: GPT) -> int:
    """How many forward passes `by_differences` takes."""
    kinds = len(kinds_of(model))
    return 2 * len(KIND_STEPS) * kinds + 4 * (len(model.params) - kinds)


def _along(direction: Array, grad: Array, exact: float) -> Measured:
    difference = abs(float((direction * grad).sum()) - exact)
    # On average the slope is as large as the norm, but it may be small by chance.
    return Measured(difference, max(abs(exact), _norm(direction, grad)))


def _norm(direction: Array, grad: Array) -> float:
    """The norm of a gradient, where the direction is as long as its scale in each element."""
    return float(np.linalg.norm(grad) * np.sqrt(np.mean(direction * direction)))


def _scaled_directions(
    model: GPT, names: Iterable[str], rng: np.random.Generator
) -> dict[str, Array]:
    """A random direction in each tensor, as large as its elements are."""
    directions = {}
    for name in names:
        param = model.params[name]
        size = float(np.sqrt(np.mean(param * param))) or 0.02
        directions[name] = size * rng.standard_normal(param.shape)
    return directions
