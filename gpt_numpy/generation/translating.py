"""Write the target of each source: greedily, by drawing, or by beam search."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array, array_or_rows
from gpt_numpy.base.checks import shown
from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.config.decoding import Decoding
from gpt_numpy.config.transformer import BEGIN, END, PAD, TransformerConfig
from gpt_numpy.data.sentences import padded
from gpt_numpy.generation.beam_search import Hypothesis, beam_search, continue_rows, log_softmax
from gpt_numpy.generation.sampling import Sampler, Sampling
from gpt_numpy.model.decoder import Decoder
from gpt_numpy.model.encoder_decoder import Transformer

MORE_THAN_SOURCE = 50  # tokens; the paper's limit of a target
_ROWS_TIMES_LENGTH = 1 << 14  # of sources that are decoded at a time


def translate(model: Any, sources: Array | Sequence[Sequence[int]], **settings: Any) -> list[Array]:
    """The target that the model writes for each source.

    Parameters
    ----------
    model : a `Transformer`.
    sources : integers (B, S), padded at the end with PAD, or sequences of different lengths.
    settings : beam, length_penalty, max_new_tokens, temperature, top_k, top_p, seed of `Decoding`:
        beam search with a beam of 4, unless a temperature above 0 says to draw. Source b gets the
        same draws whatever the others are.

    Returns
    -------
    For each source the tokens of its target, (T,), int64, without BEGIN and END.

    Raises
    ------
    InputError : another model, a value out of range, or sources that the model cannot read.
    NotFiniteError : the model's logits are not finite.
    """
    if not hasattr(model, "start_decoding"):
        raise InputError(
            f"model={shown(model)}: must be a Transformer; a GPT continues texts with gn.generate"
        )
    known = [field.name for field in fields(Decoding)]
    for name in settings.keys() - set(known):
        raise InputError(f"{name}={shown(settings[name])}: {did_you_mean(name, known)}")
    found = hypotheses(model, checked_sources(model, sources), Decoding(**settings))
    return [np.array(each.tokens, np.int64) for each in found]


def hypotheses(
    model: Transformer,
    sources: Sequence[Array],
    how: Decoding,
    poll: Callable[[], None] = lambda: None,
) -> list[Hypothesis]:
    """The best hypothesis for each source, (S,), as `checked_sources` returns them.

    poll : called before every group of sources that is decoded at a time; may raise to stop.

    Raises `NotFiniteError` when the model's logits are not finite.
    """
    found: dict[int, Hypothesis] = {}
    draws = Sampling(how.temperature, how.top_k, how.top_p, seed=how.seed)
    greedy = how.beam == 1 or how.temperature > 0
    sampler = Sampler(draws, model.config.vocab_size, len(sources)) if greedy else None
    for group in _groups(sources, 1 if greedy else how.beam):
        poll()
        batch = padded([sources[k] for k in group])
        limits = [_limit(model, sources[k], how) for k in group]
        decoder = model.start_decoding(batch)
        if sampler is not None:
            best = _drawn(decoder, limits, sampler, group)
        else:
            all_found = beam_search(decoder, limits, how.beam, how.length_penalty)
            best = [of_source[0] for of_source in all_found]
        found |= zip(group, best, strict=True)
    return [found[k] for k in range(len(sources))]


def _groups(sources: Sequence[Array], rows_each: int) -> Iterator[list[int]]:
    """The sources in groups of similar lengths, which bound the memory of keys and values."""
    group: list[int] = []
    for k in sorted(range(len(sources)), key=lambda k: len(sources[k])):
        if group and (len(group) + 1) * rows_each * len(sources[k]) > _ROWS_TIMES_LENGTH:
            yield group
            group = []
        group.append(k)
    if group:
        yield group


def _limit(model: Transformer, source: Array, how: Decoding) -> int:
    """The most tokens of a target, END counted."""
    longest = how.max_new_tokens + 1 if how.max_new_tokens else len(source) + MORE_THAN_SOURCE
    return min(longest, model.config.target_size)


def _drawn(
    decoder: Decoder, limits: list[int], sampler: Sampler, streams: list[int]
) -> list[Hypothesis]:
    """A target for each source, token by token; the most likely ones with a temperature of 0.

    streams : which of the sampler's sequences each source is.
    """
    written: list[list[int]] = [[] for _ in limits]
    totals = [0.0] * len(limits)
    active, rows, length = list(range(len(limits))), list(range(len(limits))), 0
    while active:
        continue_rows(decoder, rows)
        last = [written[k][-1] if written[k] else BEGIN for k in active]
        logits = decoder.step(np.array(last, np.int64))
        table, length = log_softmax(logits), length + 1
        rows = []
        for row, k in enumerate(active):
            token = END
            if length < limits[k]:  # PAD and BEGIN, the tokens before END, are never written
                token += sampler.draw(streams[k], logits[row, END:])
            totals[k] += float(table[row, token])
            if token != END:
                written[k].append(token)
                rows.append(row)
        active = [active[row] for row in rows]
    return [Hypothesis(tokens, total, total) for tokens, total in zip(written, totals, strict=True)]


def checked_sources(model: Transformer, sources: Array | Sequence[Sequence[int]]) -> list[Array]:
    """The sources without padding, each (S,), int64, S at least 1.

    Raises `InputError` when there is none, or one is empty, too long, or not of the model's tokens.
    """
    given = array_or_rows("sources", sources)
    if not isinstance(given, list) and (given.ndim != 2 or given.size == 0):
        raise InputError(f"sources has shape {given.shape}: must be (B, S), none of them 0")
    return [_checked_source(f"sources[{b}]", row, model.config) for b, row in enumerate(given)]


def _checked_source(name: str, source: Array, config: TransformerConfig) -> Array:
    if source.ndim != 1 or source.dtype.kind not in "iu":
        raise InputError(
            f"{name} has shape {source.shape} and type {source.dtype}: must be integers (S,)"
        )
    length = source.size - int((source[::-1] != PAD).argmax()) if (source != PAD).any() else 0
    if length == 0:
        raise InputError(f"{name} holds no token other than PAD={PAD}: must be at least one")
    if length > config.source_size:
        raise InputError(
            f"{name} has {length} tokens: the model reads at most source_size={config.source_size}"
        )
    source = source[:length].astype(np.int64)
    wrong = source[(source <= PAD) | (source >= config.vocab_size)]
    if wrong.size:
        raise InputError(
            f"{name} contains {wrong[0]}: must be from 1 to vocab_size - 1 = "
            f"{config.vocab_size - 1}; PAD={PAD} only at the end"
        )
    return source
