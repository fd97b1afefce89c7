"""Sampling: draw the next token from the model's distribution, append it, repeat.

Source: nanoGPT's generate (temperature, top_k); Holtzman et al., "The Curious Case of Neural Text
Degeneration" (2020) for top_p.
"""

import numpy as np

from gpt_numpy.arrays import Array, as_array
from gpt_numpy.checks import real, whole
from gpt_numpy.errors import InputError, NotFiniteError
from gpt_numpy.model import GPT

_MOST_TOKENS = 2**32  # more is a mistake: it would take years, and more memory than there is


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
    NotFiniteError : the model's logits are not finite.
    """
    max_new_tokens = whole("max_new_tokens", max_new_tokens, below=_MOST_TOKENS)
    mend = "a finite number of at least 0 (0: the likeliest token)"
    temperature = real("temperature", temperature, lambda x: x >= 0, mend)
    if top_k is not None:
        top_k = whole("top_k", top_k, 0, "at least 1, or 0 or None for all tokens")
    if top_p is not None:
        mend = "greater than 0 and at most 1, or None"
        top_p = real("top_p", top_p, lambda x: 0 < x <= 1, mend)
    seed = whole("seed", seed)
    given = as_array("tokens", tokens)
    sequences = np.atleast_2d(given)
    if given.ndim not in (1, 2) or sequences.size == 0:
        raise InputError(f"tokens has shape {given.shape}: must be (T,) or (B, T), T at least 1")
    if given.dtype.kind not in "iu":
        raise InputError(f"tokens is of type {given.dtype}: must be integers, such as int64")
    low, high, V = sequences.min(), sequences.max(), model.config.vocab_size
    if low < 0 or high >= V:
        wrong = low if low < 0 else high
        raise InputError(f"tokens contains {wrong}: must be from 0 to vocab_size - 1 = {V - 1}")
    B, T = sequences.shape
    out = np.empty((B, T + max_new_tokens), dtype=np.int64)
    out[:, :T] = sequences
    # random_raw, not a distribution: NumPy keeps bit generators' streams from version to version.
    bits = np.random.Philox(key=seed)
    for end in range(T, T + max_new_tokens):
        seen = out[:, max(0, end - model.config.block_size) : end]
        logits = model.logits(seen)[:, -1]
        if not np.isfinite(logits).all():
            raise NotFiniteError(
                f"the logits of token {end} are not finite: the model holds parameters that are "
                "not finite or too large; train it with a lower learning_rate"
            )
        probabilities = next_distribution(logits, temperature, top_k, top_p)
        uniform = (bits.random_raw(B) >> np.uint64(11)) * 2.0**-53
        cumulative = probabilities.cumsum(axis=-1)
        # Scaled by the last sum, which rounding leaves a little off 1.
        drawn = (cumulative <= (uniform * cumulative[:, -1])[:, None]).sum(axis=-1)
        out[:, end] = drawn
    return out[0] if given.ndim == 1 else out


def next_distribution(
    logits: Array, temperature: float, top_k: int | None, top_p: float | None
) -> Array:
    """The distribution that a token is drawn from, (B, V), float64.

    Among equals, `top_k` and temperature 0 take the tokens with the lower numbers.
    """
    z = logits.astype(np.float64)
    if temperature == 0:
        top_k, temperature = 1, 1.0
    with np.errstate(over="ignore"):  # a difference over a tiny temperature is -inf, as it should
        z = (z - z.max(axis=-1, keepdims=True)) / temperature
    if top_k and top_k < z.shape[-1]:
        smallest = np.partition(z, -top_k, axis=-1)[:, -top_k, None]
        equal = z == smallest
        room = top_k - (z > smallest).sum(axis=-1, keepdims=True)
        z[(z < smallest) | (equal & (equal.cumsum(axis=-1) > room))] = -np.inf
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
