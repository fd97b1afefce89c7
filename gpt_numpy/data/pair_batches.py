"""Batches of pairs, as pure functions of a seed and an index: drawn pairs, and stored ones.

A batch holds as many pairs as fit `batch_tokens`, for the sources and for the targets each, with
the padding counted (section 5.1 of the paper: about 25,000 each). Stored pairs are sorted by their
lengths, so that little is padding, and cut into batches; an epoch goes through all batches in an
order of its own, and shuffles among pairs of equal lengths. As the lengths alone decide the cuts,
every epoch has the same number of batches, and batch number i needs no stored state.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.data.batches import shuffled_range
from gpt_numpy.data.pair_tasks import PairTask, draw_pairs
from gpt_numpy.data.sentences import padded, source_tokens, target_tokens
from gpt_numpy.data.tokenizers.tokenizer import Tokenizer

_ORDER_OF_PAIRS, _ORDER_OF_BATCHES = 16, 17  # random streams of an epoch


class PairBatch(NamedTuple):
    """Sources (B, S) and targets (B, T + 1), int64, padded."""

    source: Array
    target: Array


class DrawnPairs:
    """The pairs of a task, of training or of the test, without end."""

    def __init__(self, task: PairTask, tokenizer: Tokenizer, *, test: bool) -> None:
        self._task, self._tokenizer, self._test = task, tokenizer, test
        source, target = task.longest
        self.longest = (source + 1, target + 1)  # tokens that the model reads of each

    def batch(self, batch_tokens: int, *, seed: int, stream: int, index: int) -> PairBatch:
        """Batch number `index`."""
        count = max(1, batch_tokens // max(self.longest))
        pairs = draw_pairs(
            self._task, count, seed=seed, stream=stream, index=index, test=self._test
        )
        sources = [source_tokens(self._tokenizer, source) for source, _ in pairs]
        targets = [target_tokens(self._tokenizer, target) for _, target in pairs]
        return PairBatch(padded(sources), padded(targets))

    def texts(self, count: int, *, seed: int, stream: int) -> list[tuple[str, str]]:
        """Pairs as texts, for a look at what the model makes of them."""
        return draw_pairs(self._task, count, seed=seed, stream=stream, index=0, test=self._test)


class StoredPairs:
    """Pairs of texts; `tokens` are their sources and targets, as `sentences` makes them."""

    def __init__(
        self, pairs: Sequence[tuple[str, str]], tokens: Sequence[tuple[Array, Array]]
    ) -> None:
        self._pairs, self._tokens = list(pairs), list(tokens)
        # The model reads all of a source, and all of a target except its last token.
        self._lengths = np.array([(len(s), len(t) - 1) for s, t in tokens], np.int64)
        source, target = self._lengths.max(axis=0).tolist()
        self.longest = (source, target)
        # A batch uses those of the batch before it, until the epoch ends.
        self._cuts = functools.lru_cache(maxsize=4)(self._find_cuts)
        self._order = functools.lru_cache(maxsize=4)(self._find_order)

    def __len__(self) -> int:
        return len(self._pairs)

    def batch(self, batch_tokens: int, *, seed: int, stream: int, index: int) -> PairBatch:
        """Batch number `index`: of epoch index // n, if there are n batches in each."""
        cuts = self._cuts(batch_tokens)
        epoch, place = divmod(index, len(cuts))
        order = self._order(seed, stream, epoch)
        number = shuffled_range(len(cuts), seed, _ORDER_OF_BATCHES + 2 * stream, epoch)[place]
        start, end = cuts[int(number)]
        return self._padded(order[start:end])

    def all_batches(self, batch_tokens: int) -> Iterator[PairBatch]:
        """Every pair once."""
        order = self._order(0, 0, 0)
        for start, end in self._cuts(batch_tokens):
            yield self._padded(order[start:end])

    def n_batches(self, batch_tokens: int) -> int:
        """The number of batches of an epoch."""
        return len(self._cuts(batch_tokens))

    def texts(self, count: int, *, seed: int, stream: int) -> list[tuple[str, str]]:
        """At most so many pairs, spread over all of them; the same ones every time."""
        step = max(1, len(self._pairs) // max(count, 1))
        return self._pairs[::step][:count]

    def _padded(self, chosen: Array) -> PairBatch:
        sources, targets = zip(*(self._tokens[k] for k in chosen), strict=True)
        return PairBatch(padded(sources), padded(targets))

    def _find_cuts(self, batch_tokens: int) -> list[tuple[int, int]]:
        """Where the batches of the sorted pairs begin and end."""
        lengths = self._lengths[self._sorted(np.arange(len(self._pairs)))]
        cuts, start, longest = [], 0, np.zeros(2, np.int64)
        for k, length in enumerate(lengths):
            larger = np.maximum(longest, length)
            if k > start and (k + 1 - start) * larger.max() > batch_tokens:
                cuts.append((start, k))
                start, larger = k, length
            longest = larger
        return [*cuts, (start, len(lengths))]

    def _find_order(self, seed: int, stream: int, epoch: int) -> Array:
        """The pairs by length; those of equal lengths in an order of the epoch."""
        return self._sorted(
            shuffled_range(len(self._pairs), seed, _ORDER_OF_PAIRS + 2 * stream, epoch)
        )

    def _sorted(self, places: Array) -> Array:
        keys = self._lengths[places]
        return places[np.lexsort((keys[:, 0], keys[:, 1]))]
