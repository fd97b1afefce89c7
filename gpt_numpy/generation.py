"""Sampling: draw the next token from the model's distribution, append it, repeat.

Source: nanoGPT's generate (temperature, top_k); Holtzman et al., "The Curious Case of Neural Text
Degeneration" (2020) for top_p.
"""

from typing import Any

import numpy as np

from gpt_numpy.arrays import Array
from gpt_numpy.errors import InputError
from gpt_numpy.model import GPT


def generate(
    model: GPT,
    tokens: Array,
    max_new_tokens: int,
    *,
    temperature: float = 0.8,
    top_k: int | None = 200,
    top_p: float | None = None,
    seed: int = 0,
) -> Array:
    """Continue each sequence of `tokens` by `max_new_tokens` tokens.

    Parameters
    ----------
    tokens : integers (B, T) or (T,), T at least 1; beyond block_size the model sees the last ones.
    temperature : what the logits are divided by; 0 always takes the likeliest token.
    top_k : draw from this many likeliest tokens; None or 0: from all.
    top_p : draw from the likeliest tokens that together reach this probability; None: from all.
    seed : of the draws; the same seed gives the same tokens.

    Returns
    -------
    Array of int64, (B, T + max_new_tokens) or (T + max_new_tokens,): the given tokens come first.

    Raises
    ------
    InputError : a value out of range, or tokens that the model does not have.
    """
    _check_options(max_new_tokens, temperature, top_k, top_p, seed)
    given = np.asarray(tokens)
    sequences = np.atleast_2d(given)
    if given.ndim > 2 or sequences.size == 0:
        raise InputError(f"tokens has shape {given.shape}: must be (T,) or (B, T), T at least 1")
    B, T = sequences.shape
    out = np.empty((B, T + max_new_tokens), dtype=np.int64)
    out[:, :T] = sequences
    # random_raw, not a distribution: NumPy keeps bit generators' streams from version to version.
    bits = np.random.Philox(key=seed)
    for end in range(T, T + max_new_tokens):
        seen = out[:, max(0, end - model.config.block_size) : end]
        probabilities = next_distribution(model.logits(seen)[:, -1], temperature, top_k, top_p)
        uniform = (bits.random_raw(B) >> np.uint64(11)) * 2.0**-53
        cumulative = probabilities.cumsum(axis=-1)
        # Scaled by the last sum, which rounding leaves a little off 1.
        drawn = (cumulative <= (uniform * cumulative[:, -1])[:, None]).sum(axis=-1)
        out[:, end] = drawn
    return out[0] if given.ndim == 1 else out


def next_distribution(
    logits: Array, temperature: float, top_k: int | None, top_p: float | None
) -> Array:
    """The distribution that a token is drawn from, (B, V), float64."""
    z = logits.astype(np.float64)
    if temperature == 0:
        return np.eye(z.shape[-1])[z.argmax(axis=-1)]
    z = (z - z.max(axis=-1, keepdims=True)) / temperature
    if top_k and top_k < z.shape[-1]:
        smallest = np.partition(z, -top_k, axis=-1)[:, -top_k, None]
        z = np.where(z < smallest, -np.inf, z)
    p = np.exp(z)
    p /= p.sum(axis=-1, keepdims=True)
    if top_p is not None and top_p < 1:
        order = np.argsort(-p, axis=-1, kind="stable")
        ordered = np.take_along_axis(p, order, axis=-1)
        # A token stays as long as those before it have not reached top_p yet.
        ordered[ordered.cumsum(axis=-1) - ordered >= top_p] = 0
        np.put_along_axis(p, order, ordered, axis=-1)
        p /= p.sum(axis=-1, keepdims=True)
    return p


def _check_options(
    max_new_tokens: int, temperature: float, top_k: int | None, top_p: float | None, seed: int
) -> None:
    def refuse(name: str, value: Any, mend: str) -> None:
        raise InputError(f"{name}={value!r}: must be {mend}")

    if max_new_tokens < 0:
        refuse("max_new_tokens", max_new_tokens, "at least 0")
    if not (np.isfinite(temperature) and temperature >= 0):
        refuse("temperature", temperature, "a finite number of at least 0 (0: the likeliest token)")
    if top_k is not None and top_k < 0:
        refuse("top_k", top_k, "at least 1, or 0 or None for all tokens")
    if top_p is not None and not 0 < top_p <= 1:
        refuse("top_p", top_p, "greater than 0 and at most 1, or None")
    if seed < 0:
        refuse("seed", seed, "at least 0")
