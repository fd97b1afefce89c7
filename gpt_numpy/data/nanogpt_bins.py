"""Read a folder that nanoGPT prepared: `train.bin`, `val.bin` and perhaps `meta.pkl`.

The two are rows of tokens, unsigned 16-bit little-endian numbers without a header. The third
holds the vocabulary as a pickle, `{"vocab_size": V, "itos": {token: character}, "stoi": ...}`,
which is read as data (see `pickles`): nothing in it can run.

`gpt-numpy prepare` writes such folders. For byte pairs it writes a tokenizer.json instead of a
meta.pkl, which nanoGPT's sample.py would take for characters. Tokens of a vocabulary that 16 bits
cannot count, of more than 65,536, are 32 bits wide; nanoGPT has no such files.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gpt_numpy.base.errors import InputError
from gpt_numpy.data.token_file import TokenFile
from gpt_numpy.data.tokenizers.characters import BPETokenizer, CharTokenizer
from gpt_numpy.data.tokenizers.files import TOKENIZER, Tokenizer
from gpt_numpy.files import pickles
from gpt_numpy.files.durable import written_durably

# What nanoGPT's train.py assumes without a meta.pkl: GPT-2's 50257, rounded up to a multiple of 64.
NANOGPT_VOCAB_SIZE = 50304
_CHUNK = 1 << 20


def read_bins(
    folder: Path, say: Callable[[str], None]
) -> tuple[TokenFile, TokenFile, int, Tokenizer | None]:
    """The two splits, the vocabulary size, and the tokenizer if it is known.

    With neither a `meta.pkl` nor a `tokenizer.json` the vocabulary ends at the largest token, and
    there is no tokenizer. `say` is told what is missing.

    Shapes: each split is (n,), uint16 or uint32, read from its file as needed. Raises `InputError`
    when a file is missing, damaged, or at odds with the others.
    """
    meta, described = folder / "meta.pkl", folder / TOKENIZER
    vocab_size = 0
    tokenizer: Tokenizer | None = None
    source: Path | None = None
    if os.path.lexists(described):
        tokenizer = BPETokenizer.from_file(described)
        vocab_size, source = tokenizer.vocab_size, described
    elif os.path.lexists(meta):
        vocab_size, tokenizer = read_vocabulary(meta, say)
        source = meta
    dtype = token_dtype(vocab_size)
    train, val = _tokens(folder / "train.bin", dtype), _tokens(folder / "val.bin", dtype)
    largest = {"train.bin": _largest(train), "val.bin": _largest(val)}
    if source is None:
        vocab_size = max(largest.values()) + 1
        say(
            f"no {meta.as_posix()}: vocab_size = {vocab_size}, the largest token + 1 "
            f"(nanoGPT would take {NANOGPT_VOCAB_SIZE}); text cannot be encoded or decoded"
        )
    for name, token in largest.items():
        if token >= vocab_size:
            raise InputError(
                f"{folder / name} has the token {token}, but {source} says "
                f"vocab_size={vocab_size}: they do not belong together; prepare the folder again"
            )
    return train, val, vocab_size, tokenizer


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """The type of the tokens in the files: 16 bits where these can count the vocabulary."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


def _tokens(path: Path, dtype: np.dtype[Any]) -> TokenFile:
    try:
        size = path.stat().st_size
        if size == 0:
            raise InputError(f"{path} is empty: prepare the folder again")
        if size % dtype.itemsize:
            what = "an odd number, but a token takes two"
            if dtype.itemsize > 2:
                what = f"but a token of its vocabulary takes {dtype.itemsize}"
            raise InputError(
                f"{path} has {size} bytes, {what}: "
                "it was cut off, or is not nanoGPT's; prepare the folder again"
            )
        return TokenFile(path, dtype)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror or error}: "
            "a prepared folder has both train.bin and val.bin"
        ) from None


def _largest(tokens: TokenFile) -> int:
    starts = range(0, len(tokens), _CHUNK)
    return max(int(tokens[start : start + _CHUNK].max()) for start in starts)


def read_vocabulary(path: Path, say: Callable[[str], None]) -> tuple[int, CharTokenizer | None]:
    """The vocabulary size of a meta.pkl, and its tokenizer if the vocabulary is characters.

    Raises `InputError` when it cannot be read, or says no size.
    """
    try:
        with path.open("rb") as file:
            meta = pickles.read_pickle(file.read(pickles.MAX_BYTES + 1))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except InputError as error:
        raise InputError(
            f"{path}: {error}; without that file, vocab_size is the largest token + 1"
        ) from None
    vocab_size = meta.get("vocab_size") if isinstance(meta, dict) else None
    if type(vocab_size) is not int or vocab_size < 1:
        raise InputError(
            f"{path} has no vocab_size of 1 or more: it must be a dict with that key, as "
            "nanoGPT's data/shakespeare_char/prepare.py writes it"
        )
    assert isinstance(meta, dict)
    tokenizer = _tokenizer(meta.get("itos"), vocab_size)
    if tokenizer is None:
        say(
            f"itos in {path.as_posix()} does not give each token a character of its own: "
            "text cannot be encoded or decoded"
        )
    return vocab_size, tokenizer


def write_vocabulary(path: Path, characters: str) -> None:
    """Write the meta.pkl of a vocabulary, as nanoGPT's shakespeare_char/prepare.py does."""
    stoi = {character: token for token, character in enumerate(characters)}
    meta = {"vocab_size": len(stoi), "itos": dict(enumerate(characters)), "stoi": stoi}
    with written_durably(path) as file:
        file.write(pickles.pickled(meta))


def _tokenizer(itos: object, vocab_size: int) -> CharTokenizer | None:
    """The tokenizer of nanoGPT's token -> character table, None if it is not one of characters."""
    if isinstance(itos, list):
        itos = dict(enumerate(itos))
    if not isinstance(itos, dict) or len(itos) != vocab_size:
        return None
    try:
        return CharTokenizer([itos[token] for token in range(vocab_size)])
    except (KeyError, InputError):
        return None
