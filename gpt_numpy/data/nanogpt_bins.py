"""Folders that nanoGPT prepared: `train.bin`, `val.bin` and perhaps `meta.pkl`.

The first two are tokens, unsigned little-endian 16-bit integers without a header. The third is the
vocabulary as a pickle, `{"vocab_size": V, "itos": {token: character}, "stoi": ...}`, which is read
as data (see `pickles`): nothing in it can run.

`gpt-numpy prepare` writes such folders. For byte pairs it writes a tokenizer.json instead of a
meta.pkl, which nanoGPT's sample.py would take for characters. Tokens have 32 bits if the vocabulary
has more than 65,536; nanoGPT has no such files.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gpt_numpy.base.errors import InputError
from gpt_numpy.data.foreign_bins import check_layout
from gpt_numpy.data.token_file import TokenFile
from gpt_numpy.data.tokenizers.byte_pairs import BPETokenizer
from gpt_numpy.data.tokenizers.characters import CharTokenizer
from gpt_numpy.data.tokenizers.tokenizer import Tokenizer
from gpt_numpy.data.tokenizers.tokenizer_files import TOKENIZER
from gpt_numpy.files import pickles
from gpt_numpy.files.durable import written_durably
from gpt_numpy.files.reading import os_errors_as_input_errors

# What nanoGPT's train.py assumes without a meta.pkl: GPT-2's 50257, rounded up to a multiple of 64.
NANOGPT_VOCAB_SIZE = 50304
_CHUNK = 1 << 20  # tokens read at a time


def read_bins(
    folder: Path, say: Callable[[str], None], models: Tokenizer | None = None
) -> tuple[TokenFile, TokenFile, int, Tokenizer | None]:
    """The two splits, the vocabulary size, and the tokenizer if it is known.

    With neither a `meta.pkl` nor a `tokenizer.json`, the tokens are those of `models`, the
    tokenizer of the model to be trained. Without that one, too, the vocabulary ends at the largest
    token and there is no tokenizer. `say` reports what is missing.

    Shapes: each split is (n,), uint16 or uint32, read from its file when needed. Raises
    `InputError` when a file is missing, damaged, or does not match the others.
    """
    source, vocab_size = folder / TOKENIZER, 0
    tokenizer: Tokenizer | None = None
    if os.path.lexists(source):
        tokenizer = BPETokenizer.from_file(source)
        vocab_size = tokenizer.vocab_size
    elif os.path.lexists(source := folder / "meta.pkl"):
        vocab_size, tokenizer = read_vocabulary(source, say)
    dtype = token_dtype(vocab_size)
    splits = {name: _token_file(folder / name, dtype) for name in ("train.bin", "val.bin")}
    largest = {name: _largest(tokens) for name, tokens in splits.items()}
    found = max(largest.values()) + 1
    if not vocab_size and models is not None and found <= models.vocab_size:
        say(f"no {source.as_posix()}: taking the tokens for those of the model's tokenizer")
        return splits["train.bin"], splits["val.bin"], models.vocab_size, models
    if not vocab_size:
        vocab_size = found
        say(
            f"no {source.as_posix()}: vocab_size = {vocab_size}, the largest token + 1 "
            f"(nanoGPT would use {NANOGPT_VOCAB_SIZE}); text cannot be encoded or decoded"
        )
    for name, token in largest.items():
        if token >= vocab_size:
            raise InputError(
                f"{folder / name} has the token {token}, but {source} says "
                f"vocab_size={vocab_size}: they do not belong together; prepare the folder again"
            )
    return splits["train.bin"], splits["val.bin"], vocab_size, tokenizer


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """The type of tokens in files: 16 bits if that is enough for the vocabulary, otherwise 32."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


def _token_file(path: Path, dtype: np.dtype[Any]) -> TokenFile:
    advice = "a prepared folder has both train.bin and val.bin"
    with os_errors_as_input_errors(f"{path} cannot be read", advice):
        size = path.stat().st_size
        if size == 0:
            raise InputError(f"{path} is empty: prepare the folder again")
        if size % dtype.itemsize:
            raise InputError(
                f"{path} has {size} bytes, not a multiple of the {dtype.itemsize} of a token: "
                "it was truncated, or is not nanoGPT's; prepare the folder again"
            )
        check_layout(path, dtype.itemsize)
        return TokenFile(path, dtype)


def _largest(tokens: TokenFile) -> int:
    return max(int(tokens[i : i + _CHUNK].max()) for i in range(0, len(tokens), _CHUNK))


def read_vocabulary(path: Path, say: Callable[[str], None]) -> tuple[int, CharTokenizer | None]:
    """The vocabulary size in a meta.pkl, and its tokenizer if the vocabulary is characters.

    `say` reports a vocabulary of something else. Raises `InputError` when the file cannot be read
    or gives no size.
    """
    with os_errors_as_input_errors(f"{path} cannot be read"), path.open("rb") as file:
        data = file.read(pickles.MAX_BYTES + 1)
    try:
        meta = pickles.read_pickle(data)
    except InputError as error:
        advice = "without that file, vocab_size is the largest token + 1"
        raise InputError(f"{path}: {error}; {advice}") from None
    table = meta if isinstance(meta, dict) else {}
    vocab_size = table.get("vocab_size")
    if type(vocab_size) is not int or vocab_size < 1:
        raise InputError(
            f"{path} has no vocab_size of 1 or more: it must be a dict with that key, as "
            "nanoGPT's data/shakespeare_char/prepare.py writes it"
        )
    tokenizer = _tokenizer(table.get("itos"), vocab_size)
    if tokenizer is None:
        say(
            f"itos in {path.as_posix()} does not map every token to a character of its own: "
            "text cannot be encoded or decoded, and samples are token numbers"
        )
    return vocab_size, tokenizer


def write_vocabulary(path: Path, characters: str) -> None:
    """Write the meta.pkl of a vocabulary, as nanoGPT's shakespeare_char/prepare.py does."""
    stoi = {character: token for token, character in enumerate(characters)}
    meta = {"vocab_size": len(stoi), "itos": dict(enumerate(characters)), "stoi": stoi}
    with written_durably(path) as file:
        file.write(pickles.pickled(meta))


def _tokenizer(itos: object, vocab_size: int) -> CharTokenizer | None:
    """The tokenizer of nanoGPT's token -> character table; None if it maps to something else."""
    if isinstance(itos, list):
        itos = dict(enumerate(itos))
    if not isinstance(itos, dict) or len(itos) != vocab_size:
        return None
    characters: list[Any] = [itos.get(token) for token in range(vocab_size)]
    if not all(isinstance(character, str) for character in characters):
        return None  # no error message with values that may be too large to print
    try:
        return CharTokenizer(characters)
    except InputError:
        return None
