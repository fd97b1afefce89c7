"""From logits to a token: which tokens may be drawn, with which probability, and the draw.

Sources: Holtzman et al., "The Curious Case of Neural Text Degeneration" (2020) for top_p; Nguyen et
al., "Turning Up the Heat: Min-p Sampling" (2025); Keskar et al., "CTRL" (2019), section 4.1, for
repetition_penalty; temperature and top_k as in nanoGPT's generate. They are applied in this order:
repetition_penalty, temperature, top_k, top_p, min_p.
"""

import math
from dataclasses import dataclass

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.errors import NotFiniteError
from gpt_numpy.config.fields import Configuration, setting

_LARGEST_LOGIT = 1e300  # so that the difference of two is finite


@dataclass(frozen=True)
class Sampling(Configuration):
    """How tokens are drawn; sequence b has a random stream of its own, given by the seed and b.

    Raises `InputError` when a value is of the wrong type or out of range.
    """

    temperature: float = setting(0.8, "divides the logits; 0: always the most likely token", low=0)
    top_k: int = setting(200, "draw from this many most likely tokens; 0: from all")
    top_p: float = setting(
        1.0, "draw from the fewest most likely tokens that reach this probability", above=0, high=1
    )
    min_p: float = setting(
        0.0, "drop tokens less likely than this share of the largest probability", low=0, high=1
    )
    repetition_penalty: float = setting(
        1.0, "divides logits of tokens that already occur; multiplies negative ones", above=0
    )
    seed: int = setting(0, "of the draws")
    vocab_size: int = setting(
        0, "tokens of the tokenizer: later ones of a larger model are never drawn; 0: all are"
    )


class Sampler:
    """Draws tokens for `count` sequences."""

    def __init__(self, how: Sampling, vocab_size: int, count: int) -> None:
        self._how = how
        # Raw draws and no distribution: NumPy guarantees only the raw draws in every version.
        self._streams = [np.random.Philox(key=how.seed + (b << 64)) for b in range(count)]
        self._seen = np.zeros((count, vocab_size), dtype=bool)

    def note(self, sequence: int, tokens: Array) -> None:
        """Count these tokens as occurring in a sequence, for the repetition penalty."""
        self._seen[sequence, tokens] = True

    def draw(self, sequence: int, logits: Array) -> int:
        """The next token of a sequence, from its logits (V,); `NotFiniteError` for wrong ones."""
        how = self._how
        if not np.isfinite(logits).all():
            raise NotFiniteError(
                "the logits of the next token are not finite: the model has parameters that are "
                "not finite or too large; train it with a lower learning_rate"
            )
        if how.repetition_penalty != 1:
            logits = _penalised(logits, self._seen[sequence], how.repetition_penalty)
        logits = logits[: how.vocab_size or None]
        if how.temperature == 0 or how.top_k == 1:
            token = int(logits.argmax())
        else:
            tokens, weights = self._candidates(logits)
            # A multiple of 2^-53 in [0, 1), scaled by the sum of the weights.
            uniform = (int(self._streams[sequence].random_raw()) >> 11) * 2.0**-53
            cumulative = weights.cumsum()
            place = int(cumulative.searchsorted(uniform * cumulative[-1], side="right"))
            token = int(tokens[place]) if tokens is not None else place
        self._seen[sequence, token] = True
        return token

    def log_probability(self, logits: Array, token: int) -> float:
        """Log-probability of a token under the model itself, before any of these settings."""
        below = (logits - logits.max()).astype(np.float64)
        return float(below[token]) - math.log(np.exp(below).sum())

    def _candidates(self, logits: Array) -> tuple[Array | None, Array]:
        """The tokens that may be drawn, in rising order (None: all), and their weights."""
        how, V = self._how, logits.size
        tokens, z = None, logits.astype(np.float64)
        if 0 < how.top_k < V:
            z.partition(V - how.top_k)
            smallest = z[V - how.top_k]
            larger, equal = np.flatnonzero(logits > smallest), np.flatnonzero(logits == smallest)
            # Of equal logits, those of the lower tokens.
            tokens = np.sort(np.concatenate([larger, equal[: how.top_k - larger.size]]))
            z = logits[tokens].astype(np.float64)
        with np.errstate(over="ignore", under="ignore"):  # -inf for a tiny temperature is right
            z -= z.max()
            z /= how.temperature
            np.exp(z, out=z)
        if how.top_p < 1:
            order = np.argsort(-z, kind="stable")
            ordered = z[order] / z.sum()
            # Keep a token if those before it have not yet reached top_p.
            z[order[ordered.cumsum() - ordered >= how.top_p]] = 0
        if how.min_p > 0:
            z[z < how.min_p] = 0  # the most likely token has weight 1
        return tokens, z


def _penalised(logits: Array, seen: Array, penalty: float) -> Array:
    """The logits, float64, with those of the tokens seen lowered; finite for every penalty."""
    wide = logits.astype(np.float64)
    with np.errstate(over="ignore"):
        lower = np.where(wide > 0, wide / penalty, wide * penalty)
    return np.where(seen, lower.clip(-_LARGEST_LOGIT, _LARGEST_LOGIT), wide)
