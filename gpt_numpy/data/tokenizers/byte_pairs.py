"""GPT-2's byte-pair encoding, through the `tokenizers` library (extra `bpe`).

A text is UTF-8 bytes; a pattern cuts it into words, each with the space before it; and within a
word pairs of tokens are joined in the order in which training found them. Every text has tokens,
and they give it back. A tokenizer is its tokenizer.json, the format of that library.

Only GPT-2's own kind is accepted: others cut words elsewhere, so that long texts, which are encoded
piece by piece, could not be cut where these are.

Source: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), section 2.2;
Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units" (2016).
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.errors import InputError

END_OF_TEXT = "<|endoftext|>"
FILE_LIMIT = 1 << 24  # bytes of a tokenizer.json; GPT-2's has 2 to 4 million
_PIECE = 1 << 16  # characters that are encoded at a time
_PIECES = 8  # and so many of them beside one another, a thread for each


class BPETokenizer:
    """Byte-pair tokens as GPT-2 makes them.

    Parameters
    ----------
    description : the content of a tokenizer.json.

    Raises `InputError` when it is none, is not of GPT-2's kind, or the library is not installed.
    """

    kind = "bpe"

    def __init__(self, description: str) -> None:
        self._tokenizer = _from_description(description)
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        self._vocab_size = max(vocabulary.values(), default=-1) + 1
        # The tokens of what a text says: special ones stand between texts, and never in one.
        self._tokenizer.encode_special_tokens = True

    @classmethod
    def from_file(cls, path: Path) -> "BPETokenizer":
        """The tokenizer of a tokenizer.json. Raises `InputError` as the class does."""
        return cls(_read(path))

    @classmethod
    def from_vocabulary(cls, vocabulary: Path, merges: Path) -> "BPETokenizer":
        """The tokenizer of vocab.json and merges.txt, or of GPT-2's encoder.json and vocab.bpe."""
        library = _library()
        tokens = json.loads(_read(vocabulary))
        pairs = [
            tuple(line.split(" "))
            for line in _read(merges).split("\n")
            if line and not line.startswith("#version")
        ]
        if not isinstance(tokens, dict) or any(len(pair) != 2 for pair in pairs):
            raise InputError(f"{vocabulary} and {merges} are not a vocabulary and its merges")
        try:
            tokenizer = library.Tokenizer(library.models.BPE(tokens, pairs))
        except Exception as error:
            raise InputError(f"{vocabulary} and {merges} do not fit: {error}") from None
        _make_gpt2s_kind(library, tokenizer)
        tokenizer.add_special_tokens([END_OF_TEXT])
        return cls(tokenizer.to_str())

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> "BPETokenizer":
        """A tokenizer of the most frequent pairs of the texts.

        Parameters
        ----------
        texts : the text in pieces that end where words do, as `pieces` cuts them.
        vocab_size : at most so many tokens; the 256 bytes and END_OF_TEXT are among them.

        Raises `InputError` when there is no room for these.
        """
        library = _library()
        if vocab_size < 257:
            raise InputError(
                f"vocab_size={vocab_size}: must be at least 257, the bytes and {END_OF_TEXT}"
            )
        tokenizer = library.Tokenizer(library.models.BPE())
        _make_gpt2s_kind(library, tokenizer)
        trainer = library.trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=2,
            special_tokens=[END_OF_TEXT],
            initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer.to_str())

    @property
    def vocab_size(self) -> int:
        """Number of different tokens, V."""
        return self._vocab_size

    @property
    def end_of_text(self) -> int | None:
        """The token that stands between texts; None where the vocabulary has none."""
        token: int | None = self._tokenizer.token_to_id(END_OF_TEXT)
        return token

    def encode(self, text: str) -> Array:
        """The tokens of a text. What looks like a special token in it is text like any other.

        Shapes: (n,), int64. Raises `InputError` for half a surrogate pair, which UTF-8 has not.
        """
        if not isinstance(text, str):
            raise InputError(f"text is of type {type(text).__name__}: it must be a str")
        found: list[Array] = []
        batch: list[str] = []
        try:
            for piece in pieces(text):
                batch.append(piece)
                if len(batch) == _PIECES:
                    found += self._encode_batch(batch)
                    batch = []
            found += self._encode_batch(batch)
        except UnicodeEncodeError as error:
            raise InputError(f"the text has no UTF-8 form: {error.reason}") from None
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def _encode_batch(self, batch: list[str]) -> list[Array]:
        for piece in batch:
            piece.encode()  # the library's own error for a surrogate is of another kind
        encoded = self._tokenizer.encode_batch_fast(batch, add_special_tokens=False)
        return [np.array(one.ids, np.int64) for one in encoded]

    def decode(self, ids: ArrayLike) -> str:
        """The text of a row of tokens; bytes that are not UTF-8 become U+FFFD.

        Shapes: ids is (n,), integers. Raises `InputError` when one is not a token.
        """
        row = np.asarray(ids)
        if row.ndim != 1:
            raise InputError(f"ids has shape {row.shape}: decode takes one row of tokens")
        if row.size and row.dtype.kind not in "iu":
            raise InputError(f"ids has dtype {row.dtype}: tokens are integers")
        wrong = (row < 0) | (row >= self.vocab_size)
        if wrong.any():
            place = int(wrong.argmax())
            raise InputError(
                f"ids[{place}]={row[place]} is not a token: "
                f"they go from 0 to vocab_size - 1 = {self.vocab_size - 1}"
            )
        text: str = self._tokenizer.decode(row.tolist(), skip_special_tokens=False)
        return text

    def to_json(self) -> dict[str, Any]:
        """What `tokenizer_from_json` makes this tokenizer from again."""
        return {"kind": self.kind, "tokenizer": self.description}

    @property
    def description(self) -> str:
        """The content of its tokenizer.json."""
        text: str = self._tokenizer.to_str()
        return text

    def __repr__(self) -> str:
        return f"BPETokenizer({self.vocab_size} tokens)"


def pieces(text: str) -> Iterator[str]:
    """The text in pieces whose tokens, one after the other, are those of the whole."""
    start = 0
    while start < len(text):
        length = _PIECE
        while start + length < len(text) and not last_cut(text[start : start + length]):
            length *= 2
        part = text[start : start + length]
        part = part if start + length >= len(text) else part[: last_cut(part)]
        yield part
        start += len(part)


def last_cut(text: str) -> int:
    """The last place where GPT-2's pattern ends a word whatever follows; 0 where there is none.

    No word goes on over a space or a line break that follows something else, and what stands before
    does not change how the pattern cuts what comes after.
    """
    end = len(text)
    while end > 0:
        place = max(text.rfind(" ", 0, end), text.rfind("\n", 0, end))
        if place < 1 or not text[place - 1].isspace():
            return max(place, 0)
        end = place
    return 0


def _from_description(description: str) -> Any:
    library = _library()
    if not isinstance(description, str) or len(description) > FILE_LIMIT:
        raise InputError(f"a tokenizer.json is a text of at most {FILE_LIMIT} characters")
    try:
        tokenizer = library.Tokenizer.from_str(description)
        known = json.loads(tokenizer.to_str())
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # a panic of the library is not an Exception
        raise InputError(f"not a tokenizer.json: {str(error)[:200]}") from None
    model, cutter = known["model"], known["pre_tokenizer"] or {}
    expected = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    for what, holds in (
        ("model is not BPE", model["type"] == "BPE"),
        ("pre_tokenizer is not ByteLevel as GPT-2's", {**cutter, **expected} == cutter),
        ("decoder is not ByteLevel", (known["decoder"] or {}).get("type") == "ByteLevel"),
        ("normalizer changes the text", known["normalizer"] is None),
        ("truncation or padding is set", not (known["truncation"] or known["padding"])),
        ("model has a dropout", not model.get("dropout")),
        ("model marks parts of words", not _word_marks(model)),
        ("an added token is not special", all(t["special"] for t in known["added_tokens"])),
        ("vocabulary lacks some bytes", _has_all_bytes(library, model["vocab"])),
    ):
        if not holds:
            raise InputError(f"tokenizer.json: its {what}: only GPT-2's kind of tokenizer is read")
    return tokenizer


def _word_marks(model: dict[str, Any]) -> bool:
    marks = ("continuing_subword_prefix", "end_of_word_suffix", "unk_token", "byte_fallback")
    return any(model.get(mark) for mark in marks)


def _has_all_bytes(library: Any, vocabulary: dict[str, int]) -> bool:
    return all(symbol in vocabulary for symbol in library.pre_tokenizers.ByteLevel.alphabet())


def _make_gpt2s_kind(library: Any, tokenizer: Any) -> None:
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_LIMIT + 1)
        if len(data) > FILE_LIMIT:
            raise InputError(f"{path} has more than {FILE_LIMIT} bytes")
        return data.decode("utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8") from None


def _library() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise InputError(
            "byte-pair encoding needs the library tokenizers: pip install 'gpt_numpy[bpe]'"
        ) from None
    return tokenizers
