"""Generation: draw the next token from the model's distribution, append it, repeat.

Source: nanoGPT's generate. As long as a text fits into the context, the keys and values of its
tokens are kept. Beyond it the model sees the last block_size tokens, as in nanoGPT; every token
then has another position with every step, so that no key and no value holds, and all are computed
again. With window="half" the model goes on from the last half of the context, and fills it with
kept keys and values until it is full again: much faster, and a different text.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from gpt_numpy.base.arrays import Array, as_array
from gpt_numpy.base.checks import integer, shown
from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.config.choices import WINDOWS
from gpt_numpy.generation.kv_cache import Cache
from gpt_numpy.generation.sampling import Sampler, Sampling
from gpt_numpy.model.gpt import GPT


class Drawn(NamedTuple):
    """A token as it was drawn."""

    sequence: int
    token: int
    log_probability: float | None  # in the model's own distribution, in nats; where asked for


_MOST_TOKENS = 2**32  # more is a mistake: it would take years, and more memory than there is


def generate(
    model: GPT,
    tokens: Array | Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    temperature: float = 0.8,
    top_k: int | None = 200,
    top_p: float | None = None,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    seed: int = 0,
    window: str = WINDOWS[0],
) -> Array | list[Array]:
    """Continue each sequence of `tokens` by `max_new_tokens` tokens.

    Parameters
    ----------
    tokens : integers (B, T) or (T,), or rows of different lengths, each at least one token long;
        beyond block_size the model sees the last ones.
    temperature, top_k, top_p, min_p, repetition_penalty, seed : see `sampling.Sampling`. A sequence
        gets the same tokens alone as among others, if it has the same number in the batch.
    window : "full", the last block_size tokens, or "half": see the head of this file.

    Returns
    -------
    Array of int64, (B, T + max_new_tokens) or (T + max_new_tokens,): the given tokens come first;
    of rows of different lengths, a list of arrays.

    Raises
    ------
    InputError : a value out of range, or tokens that the model does not have.
    NotFiniteError : the model's logits are not finite.
    """
    rows, shape = check_prompts(model, tokens)
    how = Sampling(temperature, top_k, top_p, min_p, repetition_penalty, seed)
    texts = [list(row) for row in rows]
    for drawn in stream(model, rows, max_new_tokens, how, window=window):
        texts[drawn.sequence].append(drawn.token)
    out = [np.array(text, dtype=np.int64) for text in texts]
    if shape == "one row":
        return out[0]
    return np.stack(out) if shape == "table" else out


def stream(
    model: GPT,
    prompts: Sequence[Array],
    max_new_tokens: int,
    how: Sampling,
    *,
    window: str = WINDOWS[0],
    log_probabilities: bool = False,
    finished: Callable[[Drawn], bool] | None = None,
) -> Iterator[Drawn]:
    """Draw one token after the other, of each sequence in turn, and hand each one out at once.

    Parameters
    ----------
    prompts : the sequences, as `check_prompts` gives them.
    log_probabilities : say how likely each token was to the model.
    finished : asked after each token; where it says True, that sequence has its last token.

    Raises
    ------
    InputError, NotFiniteError : as `generate`.
    """
    max_new_tokens = integer("max_new_tokens", max_new_tokens, below=_MOST_TOKENS)
    if not isinstance(window, str) or window not in WINDOWS:
        raise InputError(f"window={shown(window)}: {did_you_mean(str(window), WINDOWS)}")
    return _stream(model, prompts, max_new_tokens, how, window, log_probabilities, finished)


def _stream(
    model: GPT,
    prompts: Sequence[Array],
    max_new_tokens: int,
    how: Sampling,
    window: str,
    log_probabilities: bool,
    finished: Callable[[Drawn], bool] | None,
) -> Iterator[Drawn]:
    if max_new_tokens == 0:
        return
    sampler = Sampler(how, model.config.vocab_size, len(prompts))
    texts = [Text(prompt, max_new_tokens, model.config.block_size) for prompt in prompts]
    for b, prompt in enumerate(prompts):
        sampler.note(b, prompt)
    cache = Cache(model, len(prompts))
    _fill(cache, prompts, model.config.block_size)
    active = np.arange(len(prompts))
    for _ in range(max_new_tokens):
        last = np.array([texts[b].last for b in active])
        logits = cache.step(active, last)
        done = []
        for b, row in zip(active.tolist(), logits, strict=True):
            token = sampler.draw(b, row)
            likely = sampler.log_probability(row, token) if log_probabilities else None
            drawn = Drawn(b, token, likely)
            texts[b].append(token)
            if finished is not None and finished(drawn):
                done.append(b)
            yield drawn
        if done:
            active = active[~np.isin(active, done)]
            if active.size == 0:
                return
        for b in active[cache.lengths[active] == model.config.block_size].tolist():
            _make_room(cache, b, texts[b], model.config.block_size, window)


class Text:
    """The tokens of a sequence that the model may still see, in memory that is taken once."""

    def __init__(self, prompt: Array, more: int, block_size: int) -> None:
        seen = prompt[-block_size:]
        self._tokens = np.empty(len(seen) + more, dtype=np.int64)
        self._tokens[: len(seen)] = seen
        self._end = len(seen)

    def append(self, token: int) -> None:
        """Add a token."""
        self._tokens[self._end] = token
        self._end += 1

    @property
    def last(self) -> int:
        """The last token."""
        return int(self._tokens[self._end - 1])

    def before_last(self, count: int) -> Array:
        """So many tokens before the last one."""
        return self._tokens[self._end - 1 - count : self._end - 1]


def _fill(cache: Cache, prompts: Sequence[Array], block_size: int) -> None:
    """Put all but the last token of each prompt in its slot; equal prompts are computed once."""
    first: dict[bytes, int] = {}
    for b, prompt in enumerate(prompts):
        seen = prompt[-block_size:][:-1]
        if first.setdefault(seen.tobytes(), b) == b:
            cache.fill(b, seen)
        else:
            cache.copy(first[seen.tobytes()], b)


def _make_room(cache: Cache, slot: int, text: Text, block_size: int, window: str) -> None:
    """Let a full slot hold the tokens before the last one that the model goes on to see."""
    seen = block_size if window == "full" else max(block_size // 2, 1)
    cache.fill(slot, text.before_last(seen - 1))


def check_prompts(model: GPT, tokens: Array | Sequence[Sequence[int]]) -> tuple[list[Array], str]:
    """The sequences of `tokens`, and whether it is one row, a table or rows of several lengths.

    Raises
    ------
    InputError : no sequence or an empty one, not integers, or tokens that the model does not have.
    """
    try:
        given = np.asarray(tokens)
        rows, shape = list(np.atleast_2d(given)), "table" if given.ndim == 2 else "one row"
        if given.ndim not in (1, 2) or given.size == 0:
            raise InputError(
                f"tokens has shape {given.shape}: must be (T,) or (B, T), T at least 1"
            )
    except InputError:
        raise
    except ValueError:  # NumPy's word for rows of different lengths
        rows, shape = [as_array(f"tokens[{b}]", row) for b, row in enumerate(tokens)], "rows"
    for b, row in enumerate(rows):
        name = "tokens" if shape != "rows" else f"tokens[{b}]"
        if row.ndim != 1 or row.size == 0:
            raise InputError(f"{name} has shape {row.shape}: must be (T,), T at least 1")
        if row.dtype.kind not in "iu":
            raise InputError(f"{name} is of type {row.dtype}: must be integers, such as int64")
        low, high, V = row.min(), row.max(), model.config.vocab_size
        if low < 0 or high >= V:
            wrong = low if low < 0 else high
            raise InputError(f"{name} contains {wrong}: must be from 0 to vocab_size - 1 = {V - 1}")
    return [row.astype(np.int64) for row in rows], shape
