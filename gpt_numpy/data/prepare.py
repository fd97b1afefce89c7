"""Turn text files of any size into a folder that `train --dataset=NAME` reads, in little memory.

The files are read a block at a time, and what is encoded is written at once: nothing is kept but
the block. The layout is nanoGPT's (see `bins`): all tokens in order, the first nine tenths in
train.bin and the rest in val.bin.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.errors import InputError
from gpt_numpy.data.nanogpt_bins import token_dtype, write_vocabulary
from gpt_numpy.data.tokenizers.byte_pairs import END_OF_TEXT, BPETokenizer, last_cut
from gpt_numpy.data.tokenizers.characters import CharTokenizer
from gpt_numpy.data.tokenizers.files import Tokenizer, read_tokenizer, write_tokenizer
from gpt_numpy.data.tokenizers.gpt2 import gpt2_tokenizer
from gpt_numpy.files.durable import written_durably

_BLOCK = 1 << 18  # characters that are read at a time
# A word of more characters than this is cut: some limit there must be, or memory has none.
_LONGEST_WORD = 1 << 20
_CODE_POINTS = 0x110000

Say = Callable[[str], None]


def prepare(
    files: list[str],
    folder: Path,
    *,
    tokenizer: str = "char",
    vocab_size: int = 8192,
    separator: str = END_OF_TEXT,
    val_share: float = 0.1,
    say: Say = print,
) -> None:
    """Write train.bin, val.bin and the vocabulary of some text files, UTF-8, to a new folder.

    Parameters
    ----------
    tokenizer : "char", a token for each character of the files, which are joined as they are;
        "gpt2", GPT-2's own byte pairs; "train", byte pairs found in the files; or a tokenizer.json
        or a folder with one.
    vocab_size : tokens at most, for "train".
    separator : text at which documents end within a file, for byte pairs; "": only files are
        documents. It is left out, and each document is followed by the end-of-text token.
    val_share : share of the tokens, the last ones, that is for validation.

    Raises
    ------
    InputError : a file cannot be read or is not UTF-8, there is too little text, the folder is
        taken or cannot be written.
    """
    for name in files:
        _check_file(name)
    if (folder / "train.bin").exists():
        raise InputError(f"{folder} already holds train.bin: remove it, or name another --dataset")
    known = _tokenizer(files, tokenizer, vocab_size, separator, say)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            written_durably(folder / "train.bin") as train,
            written_durably(folder / "val.bin") as val,
        ):
            counts = _write_splits(_tokens(files, known, separator), known, train, val, val_share)
            # Before the tokens get their names: without their vocabulary they are worth nothing.
            if isinstance(known, CharTokenizer):
                write_vocabulary(folder / "meta.pkl", known.characters)
            else:
                write_tokenizer(folder, known)
    except OSError as error:
        raise InputError(f"{folder}: cannot write there: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # which it can only be when nothing was written
    say(f"vocab size: {known.vocab_size:,}")
    for split, count in zip(("train", "val"), counts, strict=True):
        say(f"{split} has {count:,} tokens")


def _check_file(name: str) -> None:
    path = Path(name)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "there is no such file"
        raise InputError(f"{name!r}: {what}: name text files")


def _tokenizer(files: list[str], name: str, vocab_size: int, separator: str, say: Say) -> Tokenizer:
    if name == "char":
        seen = np.zeros(_CODE_POINTS, bool)
        for file in files:
            for block in _blocks(file):
                seen[np.frombuffer(block.encode("utf-32-le"), "<u4")] = True
        if not seen.any():
            raise InputError(f"{', '.join(files)}: there is no text in it")
        return CharTokenizer(map(chr, np.flatnonzero(seen).tolist()))
    if name == "gpt2":
        return gpt2_tokenizer(say)
    if name == "train":
        say(f"finding at most {vocab_size:,} byte pairs")
        words = (piece for file in files for piece, _ in _pieces(file, separator))
        return BPETokenizer.train(words, vocab_size)
    path = Path(name)
    if path.is_file():
        return BPETokenizer.from_file(path)
    found = read_tokenizer(path) if path.is_dir() else None
    if found is None:
        raise InputError(
            f"tokenizer={name!r}: must be char, gpt2, train, a tokenizer.json or a folder with one"
        )
    return found


def _tokens(files: list[str], tokenizer: Tokenizer, separator: str) -> Iterator[Array]:
    """The tokens of all files, in pieces."""
    for file in files:
        if isinstance(tokenizer, CharTokenizer):
            yield from map(tokenizer.encode, _blocks(file))
            continue
        end = [] if tokenizer.end_of_text is None else [tokenizer.end_of_text]
        written = 0
        for piece, ends in _pieces(file, separator):
            tokens = tokenizer.encode(piece)
            written += len(tokens)
            yield tokens
            if ends and written:  # nothing stands for a document without text
                yield np.array(end, np.int64)
                written = 0


def _write_splits(
    parts: Iterable[Array], tokenizer: Tokenizer, train: IO[bytes], val: IO[bytes], share: float
) -> tuple[int, int]:
    """Write everything to `train`, then move the last `share` of it to `val`; how many each has."""
    dtype = token_dtype(tokenizer.vocab_size)
    count = 0
    for part in parts:
        train.write(part.astype(dtype).tobytes())
        count += len(part)
    cut = int(count * (1 - share))
    if min(cut, count - cut) < 2:
        raise InputError(
            f"val_share={share}: of {count} tokens, {cut} are for training and {count - cut} for "
            "validation, and each takes 2 or more: give more text"
        )
    train.seek(cut * dtype.itemsize)
    while block := train.read(1 << 20):
        val.write(block)
    train.truncate(cut * dtype.itemsize)
    return cut, count - cut


def _pieces(file: str, separator: str) -> Iterator[tuple[str, bool]]:
    """The documents of a file in pieces that end where words do, and whether a document ends."""
    held = ""
    for block in _blocks(file):
        *whole, held = (held + block).split(separator) if separator else [held + block]
        for document in whole:
            yield document, True
        # What may be the beginning of a separator stays, and so does a word that may go on.
        finished = held[: len(held) - max(len(separator) - 1, 0)]
        cut = last_cut(finished) or (len(finished) if len(held) > _LONGEST_WORD else 0)
        if cut:
            yield held[:cut], False
            held = held[cut:]
    yield held, True


def _blocks(file: str) -> Iterator[str]:
    """The text of a file, line ends untouched, some characters at a time."""
    try:
        with open(file, encoding="utf-8", newline="") as opened:
            while block := opened.read(_BLOCK):
                yield block
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file!r} is not UTF-8 ({error.reason}, 0x{error.object[error.start]:02x}): "
            "convert it to UTF-8 first"
        ) from None
    except OSError as error:
        raise InputError(f"{file!r} cannot be read: {error.strerror or error}") from None
