"""Tokens and targets are checked before a pass: kernels read a table at whatever index they get."""

from gpt_numpy.base.arrays import Array, check_range, sequences_of_integers
from gpt_numpy.base.errors import InputError
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.reference.cross_entropy import IGNORED


def checked_tokens(name: str, tokens: Array, config: GPTConfig, lowest: int = 0) -> Array:
    """`tokens` as an array (B, T) of integers in the model's range.

    Raises
    ------
    InputError : another shape or type, more positions than the context, a token out of range.
    """
    tokens = sequences_of_integers(name, tokens)
    if tokens.shape[1] > config.block_size:
        raise InputError(
            f"{name} has {tokens.shape[1]} positions: "
            f"the model sees at most block_size={config.block_size} at once"
        )
    also = " (or -1 to leave a position out)" if lowest == IGNORED else ""
    check_range(name, tokens, config.vocab_size, low=lowest, also=also)
    return tokens
