"""Texts given on the command line, as tokens of a trained model."""

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.checks import shown
from gpt_numpy.base.errors import InputError
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


def with_line_breaks(text: str) -> str:
    """A setting in which a line break is typed as a backslash and an n."""
    return text.replace("\\n", "\n")
