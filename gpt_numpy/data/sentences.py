"""Sentences as an encoder-decoder reads them: tokens of a text, END, and padding.

The first tokens of the vocabulary are PAD, BEGIN and END; those of the tokenizer come after them. A
source is its tokens and END; a target is BEGIN, its tokens and END. Source and target share one
vocabulary, as in the paper.
"""

from collections.abc import Sequence

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.config.transformer import BEGIN, END, PAD
from gpt_numpy.data.tokenizers.tokenizer import Tokenizer

FIRST = END + 1  # the tokenizer's token 0


def vocabulary_size(tokenizer: Tokenizer) -> int:
    """The number of tokens of a model with this tokenizer, V."""
    return FIRST + tokenizer.vocab_size


def source_tokens(tokenizer: Tokenizer, text: str) -> Array:
    """The tokens of a source, (S,); `InputError` for a character that the tokenizer lacks."""
    return np.append(tokenizer.encode(text) + FIRST, END)


def target_tokens(tokenizer: Tokenizer, text: str) -> Array:
    """The tokens of a target, (T + 1,); `InputError` as for a source."""
    return np.concatenate([[BEGIN], tokenizer.encode(text) + FIRST, [END]])


def text_of(tokenizer: Tokenizer, tokens: Sequence[int] | Array) -> str:
    """The text of tokens that a model has written; PAD, BEGIN and END are left out."""
    found = np.asarray(tokens, np.int64).reshape(-1)
    found = found[found >= FIRST] - FIRST
    # A model of more tokens than its tokenizer has may write one of the others.
    return tokenizer.decode(found[found < tokenizer.vocab_size])


def padded(sentences: Sequence[Array]) -> Array:
    """The sentences as one array, (B, longest), int64, with PAD at the end of shorter ones."""
    out = np.full((len(sentences), max(map(len, sentences))), PAD, np.int64)
    for row, sentence in zip(out, sentences, strict=True):
        row[: len(sentence)] = sentence
    return out
