"""Tokens and targets are checked before a pass: kernels read a table at whatever index they get."""

from gpt_numpy.base.arrays import Array, as_array
from gpt_numpy.base.errors import InputError
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.reference.cross_entropy import IGNORED


def checked_tokens(name: str, tokens: Array, config: GPTConfig, lowest: int = 0) -> Array:
    """`tokens` as an array (B, T) of integers in the model's range.

    Raises
    ------
    InputError : another shape or type, more positions than the context, a token out of range.
    """
    tokens = as_array(name, tokens)
    if tokens.ndim != 2 or 0 in tokens.shape:
        raise InputError(
            f"{name} has shape {tokens.shape}: must be (sequences, positions), none of them 0"
        )
    if tokens.dtype.kind not in "iu":
        raise InputError(f"{name} is of type {tokens.dtype}: must be integers, such as int64")
    if tokens.shape[1] > config.block_size:
        raise InputError(
            f"{name} has {tokens.shape[1]} positions: "
            f"the model sees at most block_size={config.block_size} at once"
        )
    low, high = int(tokens.min()), int(tokens.max())
    if low < lowest or high >= config.vocab_size:
        wrong = low if low < lowest else high
        also = " (or -1 to leave a position out)" if lowest == IGNORED else ""
        raise InputError(
            f"{name} contains {wrong}: must be from 0 to {config.vocab_size - 1}{also}"
        )
    return tokens
