"""A decoder whose logits stand in a table: what a search does can be computed by hand.

The logits of the next token depend on the source's number and on all tokens so far.
"""

import itertools
from types import SimpleNamespace

import numpy as np

from gpt_numpy.config.transformer import BEGIN, END
from gpt_numpy.generation.beam_search import log_softmax


class TableModel:
    """A model of V tokens; `logits(source, tokens)` are those of the token after `tokens`."""

    def __init__(self, seed, vocab_size=5, target_size=20, ending=0.0):
        self.seed, self.ending = seed, ending
        self.config = SimpleNamespace(
            vocab_size=vocab_size, source_size=30, target_size=target_size
        )
        self.steps = []  # rows of every step

    def logits(self, source, tokens):
        rng = np.random.default_rng([self.seed, *source, 99, *tokens])
        logits = rng.normal(size=self.config.vocab_size) * 1.5
        logits[END] += self.ending
        return logits

    def start_decoding(self, source, rows_each=1):
        return TableDecoder(self, np.repeat(source, rows_each, axis=0))


class TableDecoder:
    """Rows of a source and the tokens so far."""

    def __init__(self, model, sources):
        self.model = model
        self.written = [([int(token) for token in source if token], []) for source in sources]

    @property
    def rows(self):
        return len(self.written)

    def step(self, tokens):
        assert len(tokens) == self.rows
        self.model.steps.append(self.rows)
        for (_, before), token in zip(self.written, tokens, strict=True):
            assert before or token == BEGIN
            before.append(int(token))
        return np.array([self.model.logits(source, before) for source, before in self.written])

    def select(self, rows):
        self.written = [(self.written[row][0], list(self.written[row][1])) for row in rows]


def every_target(model, source, longest):
    """All targets of at most `longest` tokens, END counted, each with its log-probability."""
    choices = range(END + 1, model.config.vocab_size)
    for length in range(longest):
        for tokens in itertools.product(choices, repeat=length):
            written, total = [BEGIN], 0.0
            for token in [*tokens, END]:
                total += log_softmax(model.logits(source, written)[None])[0, token]
                written.append(token)
            yield list(tokens), total
