"""Beam search: the most probable sequences, several hypotheses at a time.

A hypothesis of the beam is a beginning of a target. In every step each is continued by every token,
and of all continuations of a source the `beam` most probable ones go on. One whose new token is END
is finished, if it is among the first `beam` of its step, and is kept: a longer one may still be
better, because scores are not log-probabilities alone. They are divided by the paper's length
penalty, for n tokens, END counted:

    score = log p(y | x) / ((5 + n) / 6)^alpha

A source is done when `beam` hypotheses have finished, when no unfinished one can beat the best of
them (log p only falls with every token, and the penalty divides by its value at the longest length
at the most), or at the limit of its length, where END is the only token left. With a beam of 1 that
is greedy decoding; with one that holds all sequences it is an exhaustive search.

Sources: Vaswani et al., "Attention Is All You Need" (2017), section 6.1; Wu et al., "Google's
Neural Machine Translation System" (2016), equation 14.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.errors import NotFiniteError
from gpt_numpy.config.transformer import BEGIN, END, PAD
from gpt_numpy.model.decoder import Decoder

_NEVER_WRITTEN = [PAD, BEGIN]


class Hypothesis(NamedTuple):
    """A finished target."""

    tokens: list[int]  # without BEGIN and END
    log_probability: float  # of the tokens and END, in nats
    score: float  # log-probability over length penalty


class Beam(NamedTuple):
    """The unfinished hypotheses of one source, the most probable first."""

    source: int
    tokens: list[list[int]]
    log_probabilities: list[float]


def continue_rows(decoder: Decoder, rows: list[int]) -> None:
    """Let row i of the decoder continue what row rows[i] was; nothing is copied if all stay."""
    if rows != list(range(decoder.rows)):
        decoder.select(np.array(rows, np.int64))


def length_penalty(n_tokens: int, alpha: float) -> float:
    """What the log-probability of n tokens is divided by; END is one of them."""
    return float(((5 + n_tokens) / 6) ** alpha)


def log_softmax(logits: Array) -> Array:
    """The log-probabilities of the next token, float64, (rows, V); `NotFiniteError`."""
    if not np.isfinite(logits).all():
        raise NotFiniteError(
            "the logits of the next token are not finite: the model has parameters that are not "
            "finite or too large; train it with a lower learning rate"
        )
    below = logits.astype(np.float64)
    below -= below.max(axis=1, keepdims=True)
    below -= np.log(np.exp(below).sum(axis=1, keepdims=True))
    return below


def beam_search(
    decoder: Decoder, limits: Sequence[int], beam: int, alpha: float
) -> list[list[Hypothesis]]:
    """The finished hypotheses of each source, the best first; at least one.

    Parameters
    ----------
    decoder : a row for each source, at its beginning.
    limits : for each source, the most tokens to write, END counted, at least 1.
    beam : hypotheses of a source that are continued.
    alpha : the power of the length penalty; 0: none.

    Raises
    ------
    NotFiniteError : the model's logits are not finite.
    """
    finished: list[list[Hypothesis]] = [[] for _ in limits]
    # Every search begins with one hypothesis, that nothing is written.
    beams = [Beam(source, [[]], [0.0]) for source in range(len(limits))]
    rows = list(range(len(limits)))
    length = 0
    while beams:
        continue_rows(decoder, rows)
        last = [tokens[-1] if tokens else BEGIN for one in beams for tokens in one.tokens]
        table = log_softmax(decoder.step(np.array(last, np.int64)))
        table[:, _NEVER_WRITTEN] = -np.inf
        length += 1
        going_on, rows, first = [], [], 0
        for one in beams:
            count = len(one.tokens)
            found = table[first : first + count]
            if length == limits[one.source]:
                found[:, np.arange(found.shape[1]) != END] = -np.inf
            longer, parents, ended = _continued(one, found, beam)
            finished[one.source] += [_scored(*pair, length, alpha) for pair in ended]
            if longer.tokens and not _decided(
                finished[one.source], longer, beam, limits[one.source], alpha
            ):
                going_on.append(longer)
                rows += [first + parent for parent in parents]
            first += count
        beams = going_on
    return [sorted(found, key=lambda h: -h.score) for found in finished]


def _continued(
    one: Beam, table: Array, beam: int
) -> tuple[Beam, list[int], list[tuple[list[int], float]]]:
    """The beam one token further, which hypothesis each comes from, and those that have ended.

    table : log-probabilities of each hypothesis's next token, (hypotheses, V).
    """
    totals = (table + np.array(one.log_probabilities)[:, None]).reshape(-1)
    longer, parents, ended = Beam(one.source, [], []), [], []
    # Each hypothesis can end once, so these hold `beam` that go on, if there are as many.
    for rank, place in enumerate(_largest(totals, 2 * beam)):
        parent, token = divmod(int(place), table.shape[1])
        total = float(totals[place])
        if token == END and rank < beam:
            ended.append((one.tokens[parent], total))
        elif token != END and len(longer.tokens) < beam:
            longer.tokens.append([*one.tokens[parent], token])
            longer.log_probabilities.append(total)
            parents.append(parent)
    return longer, parents, ended


def _largest(values: Array, count: int) -> Array:
    """The places of the largest values above -inf, in order; of equal ones the first come first."""
    if count < values.size:
        least = np.partition(values, values.size - count)[values.size - count]
        places = np.flatnonzero((values >= least) & (values > -np.inf))
    else:
        places = np.flatnonzero(values > -np.inf)
    return places[np.argsort(-values[places], kind="stable")][:count]


def _scored(tokens: list[int], total: float, length: int, alpha: float) -> Hypothesis:
    return Hypothesis(tokens, total, total / length_penalty(length, alpha))


def _decided(found: list[Hypothesis], longer: Beam, beam: int, limit: int, alpha: float) -> bool:
    """Whether the search of a source is over."""
    best = max((hypothesis.score for hypothesis in found), default=-math.inf)
    reachable = max(longer.log_probabilities) / length_penalty(limit, alpha)
    return len(found) >= beam or best >= reachable
