"""From logits to a token: what may be drawn, how likely each is, and the draw.

Sources: Holtzman et al., "The Curious Case of Neural Text Degeneration" (2020) for top_p; Nguyen et
al., "Turning Up the Heat: Min-p Sampling" (2025); Keskar et al., "CTRL" (2019), section 4.1, for
repetition_penalty; temperature and top_k as in nanoGPT's generate. They are applied in this order:
repetition_penalty, temperature, top_k, top_p, min_p.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.checks import integer, real
from gpt_numpy.base.errors import NotFiniteError


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn.

    temperature : what the logits are divided by; 0 always takes the likeliest token.
    top_k : draw from this many likeliest tokens; None or 0: from all.
    top_p : draw from the likeliest tokens that together reach this probability; None: from all.
    min_p : only from tokens at least this many times as likely as the likeliest; 0: from all.
    repetition_penalty : logits of tokens that are there already are divided by it if positive, else
        multiplied; 1 changes nothing.
    seed : of the draws. Sequence b draws from a stream of its own, made of the seed and b.

    Raises `InputError` when a value is of the wrong type or out of range.
    """

    temperature: float = 0.8
    top_k: int | None = 200
    top_p: float | None = None
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        fix = "a finite number of at least 0 (0: the likeliest token)"
        self._set("temperature", real, lambda x: x >= 0, fix)
        if self.top_k is not None:
            self._set("top_k", integer, 0, "at least 1, or 0 or None for all tokens")
        if self.top_p is not None:
            self._set("top_p", real, lambda x: 0 < x <= 1, "greater than 0 and at most 1, or None")
        self._set("min_p", real, lambda x: 0 <= x <= 1, "at least 0 and at most 1")
        self._set("repetition_penalty", real, lambda x: x > 0, "a finite number greater than 0")
        self._set("seed", integer)

    def _set(self, name: str, check: Callable[..., Any], *how: Any) -> None:
        """Let a field be the plain number that it stands for, once it is checked."""
        object.__setattr__(self, name, check(name, getattr(self, name), *how))


class Sampler:
    """Draws tokens, one sequence's after the other's, in memory that it takes once."""

    def __init__(self, how: Sampling, vocab_size: int, count: int) -> None:
        self._how = how
        # random_raw, not a distribution: NumPy keeps bit generators' streams between versions.
        self._streams = [np.random.Philox(key=how.seed + (b << 64)) for b in range(count)]
        self._seen = np.zeros((count, vocab_size), dtype=bool)
        self._work = np.empty(vocab_size)
        self._mask = np.empty(vocab_size, dtype=bool)

    def note(self, sequence: int, tokens: Array) -> None:
        """Let these tokens count as there already."""
        self._seen[sequence, tokens] = True

    def draw(self, sequence: int, logits: Array) -> int:
        """The next token of a sequence, from its logits (V,).

        Raises
        ------
        NotFiniteError : a logit is not finite.
        """
        how = self._how
        np.isfinite(logits, out=self._mask)
        if not self._mask.all():
            raise NotFiniteError(
                "the logits of the next token are not finite: the model holds parameters that are "
                "not finite or too large; train it with a lower learning_rate"
            )
        if how.repetition_penalty != 1:
            logits = penalised(logits, self._seen[sequence], how.repetition_penalty)
        if how.temperature == 0 or how.top_k == 1:
            token = int(logits.argmax())
        else:
            tokens, weights = self._candidates(logits)
            # A multiple of 2^-53 below 1, times the sum of weights: no need to divide them by it.
            uniform = (int(self._streams[sequence].random_raw()) >> 11) * 2.0**-53
            cumulative = weights.cumsum()
            place = int(cumulative.searchsorted(uniform * cumulative[-1], side="right"))
            token = int(tokens[place]) if tokens is not None else place
        self._seen[sequence, token] = True
        return token

    def log_probability(self, logits: Array, token: int) -> float:
        """The log of what the model gives a token, whatever was left out or made bolder."""
        top = logits.max()
        np.subtract(logits, top, out=self._work)
        np.exp(self._work, out=self._work)
        return float(logits[token] - top) - math.log(self._work.sum())

    def _candidates(self, logits: Array) -> tuple[Array | None, Array]:
        """The tokens that may be drawn in rising order (None: all), and their weights."""
        how, V = self._how, logits.size
        tokens, z = None, self._work
        if how.top_k and how.top_k < V:
            z[:] = logits
            z.partition(V - how.top_k)
            tokens = top_tokens(logits, z[V - how.top_k], how.top_k, self._mask)
            z = logits[tokens].astype(np.float64)
        else:
            z[:] = logits
        with np.errstate(over="ignore", under="ignore"):  # -inf over a tiny temperature is right
            z -= z.max()
            z /= how.temperature
            np.exp(z, out=z)
        if how.top_p is not None and how.top_p < 1:
            keep_top_p(z, how.top_p)
        if how.min_p > 0:
            z[z < how.min_p] = 0  # the likeliest weighs 1
        return tokens, z


def penalised(logits: Array, seen: Array, penalty: float) -> Array:
    """The logits, those of tokens that were seen made less likely."""
    return np.where(seen, np.where(logits > 0, logits / penalty, logits * penalty), logits)


def top_tokens(logits: Array, smallest: Any, k: int, mask: Array) -> Array:
    """The k tokens with the largest logits, of which `smallest` is the least, in rising order.

    Among equals it takes those with the lower numbers.
    """
    tokens = np.flatnonzero(np.greater_equal(logits, smallest, out=mask))
    if tokens.size > k:
        equal = np.flatnonzero(logits[tokens] == smallest)
        tokens = np.delete(tokens, equal[k - tokens.size :])
    return tokens


def keep_top_p(weights: Array, top_p: float) -> None:
    """Set to zero all but the largest weights that together reach this share of their sum."""
    order = np.argsort(-weights, kind="stable")
    ordered = weights[order] / weights.sum()
    # A token stays as long as those before it have not reached top_p yet.
    weights[order[ordered.cumsum() - ordered >= top_p]] = 0


def next_distribution(
    logits: Array, temperature: float, top_k: int | None, top_p: float | None, min_p: float = 0.0
) -> Array:
    """The distributions that tokens are drawn from, (B, V), float64, for logits (B, V)."""
    greedy = temperature == 0
    how = Sampling(1.0 if greedy else temperature, 1 if greedy else top_k, top_p, min_p)
    p = np.zeros(logits.shape)
    for row, out in zip(logits, p, strict=True):
        tokens, weights = Sampler(how, row.size, 0)._candidates(row)
        out[slice(None) if tokens is None else tokens] = weights / weights.sum()
    return p
