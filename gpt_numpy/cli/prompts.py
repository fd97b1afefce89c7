"""Texts given on the command line, as tokens of a trained model."""

from collections.abc import Callable

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.checks import shown
from gpt_numpy.base.errors import InputError
from gpt_numpy.data.sentences import source_tokens, target_tokens
from gpt_numpy.data.tokenizers.tokenizer import Tokenizer
from gpt_numpy.training.checkpoint import Run


def encode_setting(run: Run, name: str, text: str) -> Array:
    """The tokens of the text of a setting, a list of token numbers if there is no tokenizer.

    InputError: the tokenizer does not know a character, or the text is not a list of numbers.
    """
    given = f"{name}={shown(text)}"
    if run.tokenizer is not None:
        try:
            return run.tokenizer.encode_prompt(text)
        except InputError as error:
            raise InputError(f"{given}: {error}") from None
    try:
        tokens = np.array([int(word) for word in text.split()], dtype=np.int64)
    except (ValueError, OverflowError):
        raise InputError(
            f"{given}: this run has no tokenizer (its data came as tokens); "
            f"give token numbers, such as --{name}='5 17'"
        ) from None
    last = run.config.vocab_size - 1
    if tokens.min(initial=0) < 0 or tokens.max(initial=0) > last:
        wrong = tokens[(tokens < 0) | (tokens > last)][0]
        raise InputError(f"{given} contains {wrong}: must be from 0 to vocab_size - 1 = {last}")
    return tokens


def encode_source(run: Run, given: str, text: str) -> Array:
    """The tokens of a source of an encoder-decoder, END last; `given` is what an error calls it.

    InputError: it is empty or too long, the tokenizer does not know a character, there is none.
    """
    if not text.strip():
        raise InputError(f"{given} is empty: give a text to translate")
    tokens = _encoded(run, source_tokens, given, text.strip())
    longest = run.config.source_size
    if len(tokens) > longest:
        raise InputError(
            f"{given} has {len(tokens)} tokens, END counted, and the model reads at most "
            f"source_size={longest}: translate it in parts"
        )
    return tokens


def encode_target(run: Run, given: str, text: str) -> Array:
    """The tokens of a target, BEGIN first and END last; errors as in `encode_source`."""
    tokens = _encoded(run, target_tokens, given, text.strip())
    longest = run.config.target_size
    if len(tokens) - 1 > longest:
        raise InputError(
            f"{given} has {len(tokens) - 1} tokens, END counted, and the model writes at most "
            f"target_size={longest}: give a shorter one"
        )
    return tokens


def _encoded(run: Run, encode: Callable[[Tokenizer, str], Array], given: str, text: str) -> Array:
    if run.tokenizer is None:
        raise InputError(f"{given}: this run has no tokenizer, so it cannot read a text")
    try:
        return encode(run.tokenizer, text)
    except InputError as error:
        raise InputError(f"{given}: {error}") from None


def with_line_breaks(text: str) -> str:
    """A setting in which a line break is typed as a backslash and an n."""
    return text.replace("\\n", "\n")
