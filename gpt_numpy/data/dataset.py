"""What a model is trained on: the tokens of a text, in a training and a validation split."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.checks import path, shown
from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.config.presets import NANOGPT_BYTE_PAIRS
from gpt_numpy.config.translation import TASKS, VERSES
from gpt_numpy.data import texts
from gpt_numpy.data.nanogpt_bins import read_bins, token_dtype
from gpt_numpy.data.token_file import Tokens
from gpt_numpy.data.tokenizers.byte_pairs import BPETokenizer
from gpt_numpy.data.tokenizers.characters import CharTokenizer
from gpt_numpy.data.tokenizers.tokenizer import Tokenizer

_CHUNK = 1 << 20


@dataclass(frozen=True, eq=False)
class Dataset:
    """A text as tokens, split in two."""

    name: str
    train: Tokens  # (n,), uint16 or uint32, read-only; in memory or in a file
    val: Tokens
    tokenizer: Tokenizer | None  # None if unknown
    vocab_size: int  # number of different tokens, V; all tokens are below it
    fingerprint: str  # sha256 of the tokens and lengths of both splits, whatever their dtype


def open_dataset(
    dataset: str,
    data: str = "",
    *,
    tokenizer: Tokenizer | None = None,
    nanogpts: bool = False,
    say: Callable[[str], None] = print,
) -> Dataset:
    """The data set of a name, or of a text file.

    dataset : NAME of a prepared folder, with data/NAME/train.bin in nanoGPT's format; otherwise one
        of `texts.NAMES`. nanoGPT's `shakespeare_char` is the same text as `tinyshakespeare`.
    data : a text file; if given, `dataset` is ignored.
    tokenizer : encodes the text; None: one token for each of its characters. A prepared folder has
        its own, or is taken to hold tokens of this one.
    nanogpts : the name has nanoGPT's meaning: `shakespeare` there is a folder to prepare.
    say : reports downloads and assumptions, one line per call.

    Raises `InputError` when the data set does not exist, cannot be used, or is too short.
    """
    if not isinstance(data, str) or data:
        file = str(path("data", data))
        text = texts.file_text(file)
        if odd := texts.oddity(file, text[:_CHUNK]):
            say(odd)
        return _from_text(file, text, tokenizer)
    if not isinstance(dataset, str):
        raise InputError(f"dataset={shown(dataset)}: must be the name of a data set")
    folder = Path("data") / dataset
    if dataset and os.path.isfile(folder / "train.bin"):
        return _checked(dataset, *read_bins(folder, say, tokenizer))
    if dataset == "shakespeare_char":
        say("no data/shakespeare_char/train.bin: using tinyshakespeare, which is the same text")
        dataset = "tinyshakespeare"
    missing = f"there is no file {(folder / 'train.bin').as_posix()!r}"
    if nanogpts and dataset in NANOGPT_BYTE_PAIRS:
        raise InputError(
            f"dataset={dataset!r}: {missing}, and a .py file means nanoGPT's data set: prepare it "
            f"with gpt-numpy prepare FILE --dataset={dataset} --tokenizer=gpt2, "
            "or name another with --dataset"
        )
    if dataset not in texts.NAMES:
        prepared = sorted(path.parent.name for path in Path().glob("data/*/train.bin"))
        like = did_you_mean(dataset, [*texts.NAMES, *TASKS, VERSES, *prepared])
        raise InputError(
            f"dataset={dataset!r}: no data set has this name, and {missing}; {like}; "
            "gpt-numpy prepare FILE --dataset=NAME makes one"
        )
    return _from_text(dataset, texts.named_text(dataset, say), tokenizer)


def check_length(dataset: Dataset, block_size: int) -> None:
    """Raise `InputError` unless each split holds at least block_size + 1 tokens."""
    longest = min(len(dataset.train), len(dataset.val)) - 1
    for split, tokens in (("training", dataset.train), ("validation", dataset.val)):
        if len(tokens) < block_size + 1:
            raise InputError(
                f"block_size={block_size}: the {split} split of {dataset.name} has {len(tokens)} "
                f"tokens and needs block_size + 1 = {block_size + 1}; "
                f"use --block_size={longest} or less, or a longer text"
            )


def _from_text(name: str, text: str, tokenizer: Tokenizer | None = None) -> Dataset:
    cut = int(len(text) * 0.9)  # as nanoGPT computes it
    tokenizer = tokenizer or CharTokenizer.from_text(text)
    try:
        train, val = (_encoded(tokenizer, part) for part in (text[:cut], text[cut:]))
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    return _checked(name, train, val, tokenizer.vocab_size, tokenizer)


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
                f"{name} is too short: its {split} split has {len(tokens)} tokens and needs at "
                "least 2; the first 90 % of a text are for training, the rest for validation"
            )
    return Dataset(name, train, val, tokenizer, vocab_size, _fingerprint(train, val))


def _fingerprint(*splits: Tokens) -> str:
    digest = hashlib.sha256(b"gpt_numpy tokens")
    for tokens in splits:
        digest.update(len(tokens).to_bytes(8, "little"))
        for start in range(0, len(tokens), _CHUNK):
            digest.update(tokens[start : start + _CHUNK].astype("<u4").tobytes())
    return digest.hexdigest()
