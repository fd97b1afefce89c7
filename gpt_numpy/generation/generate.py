"""Generation: draw the next token from the model's distribution, append it, repeat.

Source: nanoGPT's generate. As long as a sequence fits into the context, the keys and values of its
tokens are cached. Beyond that the model sees the last block_size tokens, as in nanoGPT; then every
step shifts the positions of all tokens, so no cached key or value is valid and all are recomputed.
With window="half" the model instead continues from the last half of the context, and caches until
it is full again: much faster, but the text differs.

With dtype="bfloat16" the matrices are copied in 16 bits when generation starts, two bytes a
parameter: a token then reads half as much from memory. The next generation copies them again, to
the same memory, which the model keeps.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from gpt_numpy.base.arrays import Array, array_or_rows
from gpt_numpy.base.checks import instance, integer, shown
from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.config.choices import WINDOWS
from gpt_numpy.generation.kv_cache import Cache
from gpt_numpy.generation.sampling import Sampler, Sampling
from gpt_numpy.model.gpt import GPT


class Drawn(NamedTuple):
    """A token that was drawn."""

    sequence: int
    token: int
    log_probability: float | None  # in the model's own distribution, in nats; None: not computed


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
    tokens : integers (B, T) or (T,), or sequences of different lengths, T at least 1; of more than
        block_size tokens the model sees the last ones.
    temperature, top_k, top_p, min_p, repetition_penalty, seed : see `sampling.Sampling`; top_k and
        top_p None: no limit. Sequence b gets the same new tokens whatever the others are.
    window : "full", the last block_size tokens, or "half": see the top of this file.

    Returns
    -------
    Array of int64, (B, T + max_new_tokens) or (T + max_new_tokens,), beginning with the given
    tokens; for sequences of different lengths, a list of arrays.

    Raises
    ------
    InputError : a value out of range, or tokens that the model does not have.
    NotFiniteError : the model's logits are not finite.
    """
    prompts, form = check_prompts(model, tokens)
    top_k, top_p = 0 if top_k is None else top_k, 1.0 if top_p is None else top_p
    how = Sampling(temperature, top_k, top_p, min_p, repetition_penalty, seed)
    sequences = [list(prompt) for prompt in prompts]
    for drawn in stream(model, prompts, max_new_tokens, how, window=window):
        sequences[drawn.sequence].append(drawn.token)
    out = [np.array(sequence, dtype=np.int64) for sequence in sequences]
    if form == "vector":
        return out[0]
    return np.stack(out) if form == "matrix" else out


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
    """Draw a token for each sequence in turn, repeatedly, and yield every token at once.

    prompts : the sequences, as `check_prompts` returns them.
    log_probabilities : also compute the log-probability of each token.
    finished : called with each token; if it returns True, its sequence gets no more tokens.

    Raises `InputError` and `NotFiniteError` as `generate` does.
    """
    max_new_tokens = integer("max_new_tokens", max_new_tokens, below=_MOST_TOKENS)
    if not isinstance(window, str) or window not in WINDOWS:
        raise InputError(f"window={shown(window)}: {did_you_mean(str(window), WINDOWS)}")

    def draw() -> Iterator[Drawn]:
        block_size = model.config.block_size
        sampler = Sampler(how, model.config.vocab_size, len(prompts))
        for b, prompt in enumerate(prompts):
            sampler.note(b, prompt)
        # The tokens of each sequence that the model may still see.
        recent = [deque(prompt[-block_size:].tolist(), maxlen=block_size) for prompt in prompts]
        longest = max(map(len, prompts)) + max_new_tokens
        cache = Cache(model, len(prompts), min(longest, block_size))
        _fill(cache, prompts, block_size)
        active = np.arange(len(prompts))
        for _ in range(max_new_tokens):
            logits = cache.step(active, np.array([recent[b][-1] for b in active], np.int64))
            done = []
            for b, row in zip(active.tolist(), logits, strict=True):
                token = sampler.draw(b, row)
                recent[b].append(token)
                likely = sampler.log_probability(row, token) if log_probabilities else None
                drawn = Drawn(b, token, likely)
                if finished is not None and finished(drawn):
                    done.append(b)
                yield drawn
            if done:
                active = active[~np.isin(active, done)]
                if active.size == 0:
                    return
            for b in active[cache.lengths[active] == block_size].tolist():
                seen = block_size if window == "full" else max(block_size // 2, 1)
                cache.fill(b, np.array(recent[b], np.int64)[-seen:-1])

    return draw() if max_new_tokens else iter(())


def _fill(cache: Cache, prompts: Sequence[Array], block_size: int) -> None:
    """Cache all but the last token of each prompt; equal prompts are computed once."""
    first: dict[bytes, int] = {}
    for b, prompt in enumerate(prompts):
        seen = prompt[-block_size:][:-1]
        if first.setdefault(seen.tobytes(), b) == b:
            cache.fill(b, seen)
        else:
            cache.copy(first[seen.tobytes()], b)


def check_prompts(model: GPT, tokens: Array | Sequence[Sequence[int]]) -> tuple[list[Array], str]:
    """The sequences in `tokens`, and its form: "vector", "matrix" or "list" (different lengths).

    Raises `InputError` when there is no sequence, or one is empty or not of the model's tokens.
    """
    instance("model", model, GPT)
    given = array_or_rows("tokens", tokens)
    if isinstance(given, list):
        form, prompts = "list", given
    else:
        form = "matrix" if given.ndim == 2 else "vector"
        if given.ndim not in (1, 2) or given.size == 0:
            raise InputError(f"tokens has shape {given.shape}: must be (T,) or (B, T), T >= 1")
        prompts = list(np.atleast_2d(given))
    for b, prompt in enumerate(prompts):
        name = f"tokens[{b}]" if form == "list" else "tokens"
        if prompt.ndim != 1 or prompt.size == 0:
            raise InputError(f"{name} has shape {prompt.shape}: must be (T,), T at least 1")
        if prompt.dtype.kind not in "iu":
            raise InputError(f"{name} is of type {prompt.dtype}: must be integers, such as int64")
        low, high, V = prompt.min(), prompt.max(), model.config.vocab_size
        if low < 0 or high >= V:
            wrong = low if low < 0 else high
            raise InputError(f"{name} contains {wrong}: must be from 0 to vocab_size - 1 = {V - 1}")
    return [prompt.astype(np.int64) for prompt in prompts], form
