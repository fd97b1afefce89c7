"""Draw batches from a split, as pure functions of a seed and an index, without stored state.

B sequences, T = block_size positions, n tokens in the split. The target of a position is the token
that follows it.
"""

import functools
from collections.abc import Iterator

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.checks import WORD_LIMIT, integer
from gpt_numpy.base.errors import InputError
from gpt_numpy.data.token_file import TokenFile, Tokens

# Every use of random numbers has a stream of its own, so that none affects another.
TRAIN, EVALUATE_TRAIN, EVALUATE_VAL, DROPOUT, SAMPLE = 1, 2, 3, 4, 5

_CHUNK_OF_WINDOWS = 4096  # windows of an epoch that are shuffled at a time
_ROUNDS = 6  # of the Feistel network
_LARGEST_BATCH = 2**32  # sequences; more is a mistake, and no machine's memory holds it


def draw_batch(
    tokens: Tokens,
    batch_size: int,
    block_size: int,
    *,
    seed: int,
    stream: int,
    step: int,
    micro_step: int = 0,
) -> tuple[Array, Array]:
    """Sequences that start at random places of a split, and their targets.

    The places are a pure function of (seed, stream, step, micro_step): resuming needs no saved
    state, and evaluation does not change the training batches. They are raw 64-bit draws, which are
    the same in every version of NumPy, modulo the number of places (the bias is at most n / 2^64).

    Shapes: tokens (n,); x and y (B, T), int64. Raises `InputError` when n < T + 1.
    """
    batch_size, block_size = _checked_sizes(tokens, batch_size, block_size)
    draws = _philox(seed, stream, step, micro_step).random_raw(batch_size)
    starts = (draws % np.uint64(len(tokens) - block_size)).astype(np.int64)
    return _sequences(tokens, starts, block_size)


def training_batch(
    tokens: Tokens, batch_size: int, block_size: int, *, seed: int, index: int
) -> tuple[Array, Array]:
    """Micro-batch number `index` of a run, which goes through the split in epochs.

    An epoch cuts the split into windows of T tokens, starting at a random one of the first T, and
    shuffles them. nanoGPT draws every place independently, so that after n tokens 1/e of them have
    never been seen. Like `draw_batch` this is a pure function of its arguments.

    Shapes: tokens (n,); x and y (B, T), int64. Raises `InputError` when n < T + 1.
    """
    batch_size, block_size = _checked_sizes(tokens, batch_size, block_size)
    seed, index = integer("seed", seed), integer("index", index)
    if index * batch_size >= WORD_LIMIT:
        raise InputError(f"index={index}: there are at most 2^64 sequences")
    windows = max(1, (len(tokens) - 1) // block_size - 1)
    starts = np.empty(batch_size, np.int64)
    for b in range(batch_size):
        epoch, window = divmod(index * batch_size + b, windows)
        chunk, place = divmod(window, _CHUNK_OF_WINDOWS)
        starts[b] = _window_starts(len(tokens), block_size, windows, seed, epoch, chunk)[place]
    return _sequences(tokens, starts, block_size)


def _sequences(tokens: Tokens, starts: Array, block_size: int) -> tuple[Array, Array]:
    """The sequences that start at `starts`, and their targets."""
    if isinstance(tokens, TokenFile):
        windows = tokens.windows(starts, block_size + 1)
    else:
        windows = tokens[starts[:, None] + np.arange(block_size + 1)]
    windows = windows.astype(np.int64)
    return windows[:, :-1].copy(), windows[:, 1:].copy()


def _checked_sizes(tokens: Tokens, batch_size: int, block_size: int) -> tuple[int, int]:
    batch_size = integer("batch_size", batch_size, 1, below=_LARGEST_BATCH)
    block_size = integer("block_size", block_size, 1)
    if len(tokens) <= block_size:
        raise InputError(
            f"block_size={block_size}: there are {len(tokens)} tokens, and a sequence with its "
            f"targets takes {block_size + 1}"
        )
    return batch_size, block_size


@functools.lru_cache(maxsize=4)
def _window_starts(
    n_tokens: int, block_size: int, windows: int, seed: int, epoch: int, chunk: int
) -> Array:
    """The starts of the windows of one chunk of an epoch, in training order."""
    first, *keys = _philox(seed, TRAIN, epoch, 0).random_raw(1 + _ROUNDS).tolist()
    phase = first % min(block_size, n_tokens - windows * block_size)
    start = chunk * _CHUNK_OF_WINDOWS
    order = np.arange(start, min(start + _CHUNK_OF_WINDOWS, windows), dtype=np.uint64)
    return phase + block_size * _shuffled(order, windows, keys).astype(np.int64)


def _shuffled(values: Array, size: int, keys: list[int]) -> Array:
    """Map `values` by a random permutation of range(size) that is computed, not stored.

    A Feistel network permutes pairs of half-words, whatever its round function; applying it again
    to results outside range(size) makes it a permutation of range(size). Source: Black, Rogaway,
    "Ciphers with Arbitrary Finite Domains" (2002).
    """
    half = np.uint64(max(1, -(-(size - 1).bit_length() // 2)))
    mask = np.uint64((1 << int(half)) - 1)
    values = values.copy()
    outside = np.ones(len(values), bool)
    while outside.any():
        left, right = values[outside] >> half, values[outside] & mask
        for key in keys:
            mixed = (right + np.uint64(key)) * np.uint64(0x9E3779B97F4A7C15)
            mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
            left, right = right, left ^ ((mixed >> np.uint64(32)) & mask)
        values[outside] = (left << half) | right
        outside = values >= size
    return values


def random_key(seed: int, stream: int, step: int, micro_step: int) -> int:
    """A random 64-bit number, a pure function of the arguments."""
    return int(_philox(seed, stream, step, micro_step).random_raw())


def shuffled_range(size: int, seed: int, stream: int, step: int) -> Array:
    """The integers below `size` in a random order, int64; a pure function of the arguments."""
    keys = _philox(seed, stream, step, 0).random_raw(_ROUNDS).tolist()
    return _shuffled(np.arange(size, dtype=np.uint64), size, keys).astype(np.int64)


def random_words(seed: int, stream: int, index: int) -> Iterator[int]:
    """Random 64-bit numbers without end, a pure function of the arguments."""
    generator = _philox(seed, stream, index, 0)
    while True:
        yield from generator.random_raw(1024).tolist()


def whole_split(tokens: Tokens, batch_size: int, block_size: int) -> Iterator[tuple[Array, Array]]:
    """All of a split, in order, as batches of the same shape, with every target exactly once.

    Sequences do not overlap. The last batch is padded with token 0 and target -1, which the loss
    ignores.

    Shapes: tokens (n,) with the n - 1 targets tokens[1:]; x and y (B, T), int64.
    """
    n_targets = len(tokens) - 1
    size = batch_size * block_size
    for start in range(0, n_targets, size):
        count = min(size, n_targets - start)
        x, y = np.zeros(size, np.int64), np.full(size, -1, np.int64)
        x[:count] = tokens[start : start + count]
        y[:count] = tokens[start + 1 : start + 1 + count]
        yield x.reshape(batch_size, block_size), y.reshape(batch_size, block_size)


def _philox(seed: int, stream: int, step: int, micro_step: int) -> np.random.Philox:
    """The counter-based random generator of a stream at one step.

    Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011). The lowest word of
    the counter is left to the draws.
    """
    key = np.array([integer("seed", seed), integer("stream", stream)], np.uint64)
    words = [0, integer("micro_step", micro_step), integer("step", step), 0]
    return np.random.Philox(key=key, counter=np.array(words, np.uint64))
