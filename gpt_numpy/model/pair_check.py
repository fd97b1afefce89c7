"""Sources and targets are checked before a pass: kernels do not look whether an id is in range."""

import numpy as np

from gpt_numpy.base.arrays import Array, check_range, sequences_of_integers
from gpt_numpy.base.errors import InputError
from gpt_numpy.config.transformer import BEGIN, PAD, TransformerConfig


def checked_source(source: Array, config: TransformerConfig) -> Array:
    """`source` as an array (B, S) of integers in the model's range, padded at the end.

    Raises
    ------
    InputError : another shape or type, too many positions, an unknown id, PAD elsewhere.
    """
    source = _checked("source", source, config.vocab_size)
    if source.shape[1] > config.source_size:
        raise InputError(
            f"source has {source.shape[1]} positions: the model sees at most "
            f"source_size={config.source_size}"
        )
    _check_padding("source", source)
    return source


def checked_target(target: Array, config: TransformerConfig, sequences: int) -> Array:
    """`target` as an array (B, T + 1) of integers: BEGIN, tokens, padded at the end.

    Raises
    ------
    InputError : as above; another number of sequences than sources; no BEGIN, or nothing after it.
    """
    target = _checked("target", target, config.vocab_size)
    if len(target) != sequences:
        raise InputError(
            f"target has {len(target)} sequences, source has {sequences}: one target for each"
        )
    if not 2 <= target.shape[1] <= config.target_size + 1:
        raise InputError(
            f"target has {target.shape[1]} positions: must be BEGIN and from 1 to "
            f"target_size={config.target_size} more"
        )
    wrong = np.flatnonzero(target[:, 0] != BEGIN)
    if wrong.size:
        raise InputError(
            f"target[{wrong[0]}] begins with {target[wrong[0], 0]}: must begin with BEGIN={BEGIN}"
        )
    _check_padding("target", target)
    empty = np.flatnonzero(target[:, 1] == PAD)
    if empty.size:
        raise InputError(
            f"target[{empty[0]}] has only padding after BEGIN: leave this pair out of the batch"
        )
    return target


def lengths_of(padded: Array) -> Array:
    """The number of tokens of each sequence before its padding."""
    return np.count_nonzero(padded != PAD, axis=1)


def _checked(name: str, tokens: Array, vocab_size: int) -> Array:
    tokens = sequences_of_integers(name, tokens)
    check_range(name, tokens, vocab_size)
    return tokens.astype(np.int64, copy=False)  # which also holds the -1 of a target that is none


def _check_padding(name: str, tokens: Array) -> None:
    """Every sequence has a token, and no token follows padding."""
    padding = tokens == PAD
    only = np.flatnonzero(padding.all(axis=1))
    if only.size:
        raise InputError(f"{name}[{only[0]}] is all padding (PAD={PAD}): leave it out of the batch")
    resumed = padding[:, :-1] & ~padding[:, 1:]
    if resumed.any():
        row, at = np.argwhere(resumed)[0]
        raise InputError(
            f"{name}[{row}] has PAD={PAD} at position {at} and a token after it: "
            "padding goes at the end"
        )
