"""What a model is trained on: two rows of tokens, and the batches drawn from them.

B sequences, T = block_size positions, n tokens of a split. In every batch the target of a position
is the token that follows it.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.checks import path, shown
from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.data import texts
from gpt_numpy.data.nanogpt_bins import read_bins, token_dtype
from gpt_numpy.data.token_file import Tokens
from gpt_numpy.data.tokenizers.characters import BPETokenizer, CharTokenizer
from gpt_numpy.data.tokenizers.files import Tokenizer

_CHUNK = 1 << 20


@dataclass(frozen=True, eq=False)
class Dataset:
    """A text as tokens, split in two.

    train, val : (n,) each, uint16 or uint32, not writable; in memory or in a file.
    tokenizer : how text becomes tokens; None when it is not known.
    vocab_size : number of different tokens, V; each token is less.
    fingerprint : sha256 of the tokens and lengths of both splits, whatever their dtype.
    """

    name: str
    train: Tokens
    val: Tokens
    tokenizer: Tokenizer | None
    vocab_size: int
    fingerprint: str


def open_dataset(
    dataset: str,
    data: str = "",
    *,
    tokenizer: Tokenizer | None = None,
    say: Callable[[str], None] = print,
) -> Dataset:
    """The data set of a name, or of a text file.

    Parameters
    ----------
    dataset : a folder NAME with data/NAME/train.bin in it, as nanoGPT prepares it; else one of
        `texts.NAMES`. nanoGPT's `shakespeare_char` is the same text as `tinyshakespeare`.
    data : a text file; when given, `dataset` plays no part.
    tokenizer : what a text is encoded with; None: its own characters. A folder has its own.
    say : is told what is fetched or assumed, a line at a time.

    Raises `InputError` when there is no such thing, it cannot be used, or is too short.
    """
    if not isinstance(data, str) or data:
        file = str(path("data", data))
        return _from_text(file, texts.file_text(file), tokenizer)
    if not isinstance(dataset, str):
        raise InputError(f"dataset={shown(dataset)}: must be the name of a data set")
    folder = Path("data") / dataset
    if dataset and os.path.isfile(folder / "train.bin"):
        return _checked(dataset, *read_bins(folder, say))
    if dataset == "shakespeare_char":
        say("no data/shakespeare_char/train.bin: taking tinyshakespeare, which is the same text")
        dataset = "tinyshakespeare"
    if dataset not in texts.NAMES:
        prepared = sorted(path.parent.name for path in Path().glob("data/*/train.bin"))
        like = did_you_mean(dataset, [*texts.NAMES, *prepared])
        raise InputError(
            f"dataset={dataset!r}: no data set has this name, and there is no file "
            f"{(folder / 'train.bin').as_posix()!r}; {like}"
        )
    return _from_text(dataset, texts.named_text(dataset, say), tokenizer)


def check_length(dataset: Dataset, block_size: int) -> None:
    """Raise `InputError` unless each split has room for a context and the token after it."""
    longest = min(len(dataset.train), len(dataset.val)) - 1
    for split, tokens in (("training", dataset.train), ("validation", dataset.val)):
        if len(tokens) < block_size + 1:
            raise InputError(
                f"block_size={block_size}: the {split} split of {dataset.name} has {len(tokens)} "
                f"tokens, and needs block_size + 1 = {block_size + 1}; "
                f"use --block_size={longest} or less, or a longer text"
            )


def _from_text(name: str, text: str, tokenizer: Tokenizer | None = None) -> Dataset:
    cut = int(len(text) * 0.9)  # as nanoGPT computes it
    if isinstance(tokenizer, BPETokenizer):
        train, val = (_encoded(tokenizer, part) for part in (text[:cut], text[cut:]))
        return _checked(name, train, val, tokenizer.vocab_size, tokenizer)
    tokenizer = tokenizer or CharTokenizer.from_text(text)
    try:
        tokens = _encoded(tokenizer, text)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    return _checked(name, tokens[:cut], tokens[cut:], tokenizer.vocab_size, tokenizer)


def _encoded(tokenizer: Tokenizer, text: str) -> Array:
    dtype = token_dtype(tokenizer.vocab_size)
    if isinstance(tokenizer, BPETokenizer):
        tokens = tokenizer.encode(text).astype(dtype)
    else:
        tokens = np.empty(len(text), dtype)
        for start in range(0, len(text), _CHUNK):
            tokens[start : start + _CHUNK] = tokenizer.encode(text[start : start + _CHUNK])
    tokens.setflags(write=False)
    return tokens


def _checked(
    name: str, train: Tokens, val: Tokens, vocab_size: int, tokenizer: Tokenizer | None
) -> Dataset:
    for split, tokens in (("training", train), ("validation", val)):
        if len(tokens) < 2:
            raise InputError(
                f"{name} is too short: its {split} split has {len(tokens)} of at least 2 tokens; "
                "the first 90 % of a text are for training, the rest for validation"
            )
    return Dataset(name, train, val, tokenizer, vocab_size, _fingerprint(train, val))


def _fingerprint(*splits: Tokens) -> str:
    digest = hashlib.sha256(b"gpt_numpy tokens")
    for tokens in splits:
        digest.update(len(tokens).to_bytes(8, "little"))
        for start in range(0, len(tokens), _CHUNK):
            digest.update(tokens[start : start + _CHUNK].astype("<u4").tobytes())
    return digest.hexdigest()
