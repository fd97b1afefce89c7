"""Turn text files of any size into a folder for `train --dataset=NAME`, in little memory.

Files are read in blocks, and their tokens are written at once. The layout is nanoGPT's (see
`nanogpt_bins`): the first nine tenths of the characters, as tokens, in train.bin, and the rest,
encoded on its own, in val.bin.
"""

import contextlib
import functools
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.errors import InputError
from gpt_numpy.data.nanogpt_bins import token_dtype, write_vocabulary
from gpt_numpy.data.texts import oddity
from gpt_numpy.data.tokenizers.byte_pairs import END_OF_TEXT, BPETokenizer, last_cut
from gpt_numpy.data.tokenizers.characters import CharTokenizer
from gpt_numpy.data.tokenizers.gpt2 import gpt2_tokenizer
from gpt_numpy.data.tokenizers.tokenizer import Tokenizer
from gpt_numpy.data.tokenizers.tokenizer_files import (
    read_tokenizer,
    tokenizer_from_file,
    write_tokenizer,
)
from gpt_numpy.files.durable import written_durably
from gpt_numpy.files.reading import WRITABLE, is_open_pipe, os_errors_as_input_errors
from gpt_numpy.files.temporary import temporary_folder

_BLOCK = 1 << 18  # characters read at a time
_LONGEST_WORD = 1 << 20  # characters; longer words are cut, so that memory use stays bounded
KINDS = ("char", "gpt2", "train")  # of tokenizers that are not read from a file


def prepare(
    files: list[str],
    folder: Path,
    *,
    tokenizer: str | Tokenizer = "char",
    vocab_size: int = 8192,
    separator: str = END_OF_TEXT,
    val_share: float = 0.1,
    say: Callable[[str], None] = print,
) -> None:
    """Write train.bin, val.bin and the vocabulary of UTF-8 text files to a new folder.

    tokenizer : "char", one token for each character of the concatenated files; "gpt2", GPT-2's own
        byte pairs; "train", byte pairs learned from the files; or a tokenizer.json, or a folder
        with one; or a tokenizer itself.
    vocab_size : the maximal number of tokens, for "train".
    separator : string that separates documents within a file, for byte pairs; "": every file is one
        document. In its place, and between files, stands the end-of-text token.
    val_share : share of the characters, at the end, that is for validation.
    say : reports progress, one line per call.

    Raises `InputError` when a file cannot be read or is not UTF-8, there is too little text, or the
    folder is in use or cannot be written.
    """
    with _pipes_as_files(files) as regular:
        _prepare(regular, folder, tokenizer, vocab_size, separator, val_share, say)


def _prepare(
    files: list[str],
    folder: Path,
    tokenizer: str | Tokenizer,
    vocab_size: int,
    separator: str,
    val_share: float,
    say: Callable[[str], None],
) -> None:
    for name in files:
        if not Path(name).is_file():
            what = "is a folder" if Path(name).is_dir() else "is not a regular file"
            what = what if Path(name).exists() else "there is no such file"
            raise InputError(f"{name!r}: {what}: name text files")
    if not any(Path(name).stat().st_size for name in files):
        raise InputError(f"{', '.join(files)}: there is no text in it")
    for name in files:
        if odd := oddity(name, next(_blocks(name), "")):
            say(odd)
    if (folder / "train.bin").exists():
        raise InputError(f"{folder} already holds train.bin: remove it, or name another --dataset")
    known = _tokenizer(files, tokenizer, vocab_size, separator, say)
    try:
        with (
            os_errors_as_input_errors(f"{folder}: cannot write there", WRITABLE),
            written_durably(folder / "train.bin") as train,
            written_durably(folder / "val.bin") as val,
        ):
            pieces = functools.partial(_texts, files, known, separator)
            cut = int(sum(len(text) for text, _ in pieces()) * (1 - val_share))
            counts = _write_splits(_tokens(pieces(), known, cut), known, train, val, val_share)
            # Before the tokens get their names: without a vocabulary they are useless.
            if isinstance(known, CharTokenizer):
                write_vocabulary(folder / "meta.pkl", known.characters)
            else:
                write_tokenizer(folder, known)
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # succeeds only if nothing was written
    say(f"vocab size: {known.vocab_size:,}")
    for split, count in zip(("train", "val"), counts, strict=True):
        say(f"{split} has {count:,} tokens")


@contextlib.contextmanager
def _pipes_as_files(files: list[str]) -> Iterator[list[str]]:
    """The files, of which some are read twice; for a pipe, a copy."""
    if not any(map(is_open_pipe, files)):
        yield files
        return
    advice = "set TMPDIR to a folder with space for a copy, or name a file"
    with contextlib.ExitStack() as stack:
        regular = list(files)
        for i, name in enumerate(files):
            if is_open_pipe(name):
                with os_errors_as_input_errors(f"{name!r} cannot be copied", advice):
                    regular[i] = str(stack.enter_context(temporary_folder()) / "pipe")
                    with open(name, "rb") as pipe, open(regular[i], "wb") as copy:
                        shutil.copyfileobj(pipe, copy)
        yield regular


def _tokenizer(
    files: list[str],
    name: str | Tokenizer,
    vocab_size: int,
    separator: str,
    say: Callable[[str], None],
) -> Tokenizer:
    if isinstance(name, Tokenizer):
        return name
    if name == "char":
        return CharTokenizer.from_texts(block for file in files for block in _blocks(file))
    if name == "gpt2":
        return gpt2_tokenizer(say)
    if name == "train":
        say(f"finding at most {vocab_size:,} byte pairs")
        words = (piece for file in files for piece, _ in _pieces(file, separator))
        return BPETokenizer.train(words, vocab_size)
    path = Path(name)
    if path.is_file():
        return tokenizer_from_file(path)
    found = read_tokenizer(path) if path.is_dir() else None
    if found is None:
        raise InputError(
            f"tokenizer={name!r}: must be char, gpt2, train, a tokenizer.json, a folder with one, "
            "or a folder with a model"
        )
    return found


def _texts(files: list[str], tokenizer: Tokenizer, separator: str) -> Iterator[tuple[str, bool]]:
    """All files in pieces that are encoded on their own, and whether a document ends."""
    for file in files:
        if isinstance(tokenizer, BPETokenizer):
            yield from _pieces(file, separator)
        else:
            yield from ((block, False) for block in _blocks(file))


def _tokens(
    pieces: Iterable[tuple[str, bool]], tokenizer: Tokenizer, cut: int
) -> Iterator[tuple[int, Array]]:
    """The tokens of the pieces, in split 0 up to character `cut` and in split 1 from there on.

    Between two documents stands the end-of-text token; empty documents are dropped.
    """
    end = tokenizer.end_of_text if isinstance(tokenizer, BPETokenizer) else None
    split, written, ended = 0, False, False  # of the document before
    for text, ends in pieces:
        for into, part in enumerate((text[:cut], text[cut:])):
            if part and ended and end is not None:
                yield split, np.array([end], np.int64)
            if part:
                yield into, tokenizer.encode(part)
                split, written, ended = into, True, False
        cut = max(cut - len(text), 0)
        if ends and written:
            written, ended = False, True


def _write_splits(
    parts: Iterable[tuple[int, Array]],
    tokenizer: Tokenizer,
    train: IO[bytes],
    val: IO[bytes],
    share: float,
) -> tuple[int, int]:
    """Write the tokens of each split to its file; both counts."""
    dtype = token_dtype(tokenizer.vocab_size)
    counts = [0, 0]
    for split, tokens in parts:
        (train, val)[split].write(tokens.astype(dtype).tobytes())
        counts[split] += len(tokens)
    if min(counts) < 2:
        raise InputError(
            f"val_share={share}: {counts[0]} of {sum(counts)} tokens are for training and "
            f"{counts[1]} for validation, and each split needs at least 2: give more text"
        )
    return counts[0], counts[1]


def _pieces(file: str, separator: str) -> Iterator[tuple[str, bool]]:
    """The documents of a file in pieces that end where words do, and whether the document ends."""
    held = ""
    for block in _blocks(file):
        *whole, held = (held + block).split(separator) if separator else [held + block]
        for document in whole:
            yield document, True
        # Keep what may be the beginning of a separator, and a word that may continue.
        finished = held[: len(held) - max(len(separator) - 1, 0)]
        cut = last_cut(finished) or (len(finished) if len(held) > _LONGEST_WORD else 0)
        if cut:
            yield held[:cut], False
            held = held[cut:]
    yield held, True


def _blocks(file: str) -> Iterator[str]:
    """The text of a file in blocks, line ends untouched."""
    try:
        with (
            os_errors_as_input_errors(f"{file!r} cannot be read"),
            open(file, encoding="utf-8", newline="") as text,
        ):
            while block := text.read(_BLOCK):
                yield block
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file!r} is not UTF-8 ({error.reason}, 0x{error.object[error.start]:02x}): "
            "convert it to UTF-8 first"
        ) from None
