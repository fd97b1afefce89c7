"""GPT-2's byte-pair encoding, through the `tokenizers` library (extra `bpe`).

A text is UTF-8 bytes; a pattern splits it into words, each with the space before it; within a word,
pairs of tokens are merged in the order in which training found them. Every text can be encoded and
is restored exactly. A tokenizer is saved as a tokenizer.json, the format of that library.

Only tokenizers of GPT-2's kind are accepted: others split words at other places, so that long
texts, which are encoded in pieces, could not be split where these are.

Source: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), section 2.2;
Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units" (2016).
"""

import contextlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.errors import InputError
from gpt_numpy.data.tokenizers.tokenizer import Tokenizer, checked_text
from gpt_numpy.files.reading import os_errors_as_input_errors, read_bounded, read_json

END_OF_TEXT = "<|endoftext|>"
FILE_LIMIT = 1 << 24  # bytes of a tokenizer's file; GPT-2's has 4 million, all of Unicode 14
_PIECE = 1 << 16  # characters encoded at a time
_PIECES = 8  # pieces encoded in parallel, one thread each
# The library learns from a word in a time quadratic in its length: longer ones are cut for that.
_LONG_WORD = re.compile(r"\S{1000}|\s{1000}")
# As long as possible; it backtracks character by character from the end, so it takes linear time.
_UP_TO_A_CUT = re.compile(r".*\S(?=[ \n])", re.DOTALL)


class BPETokenizer(Tokenizer):
    """Byte-pair tokens as GPT-2 makes them; `description` is the content of a tokenizer.json.

    Raises `InputError` when it is something else, is not of GPT-2's kind, or the library is not
    installed.
    """

    kind = "bpe"

    def __init__(self, description: str) -> None:
        self._tokenizer = _from_description(description)
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        self.vocab_size = max(vocabulary.values(), default=-1) + 1
        # Special tokens stand between texts: one that is spelled out in a text is plain text.
        self._tokenizer.encode_special_tokens = True

    @classmethod
    def from_file(cls, path: Path) -> "BPETokenizer":
        """The tokenizer of a tokenizer.json. Raises `InputError` as the class does."""
        return cls(_read(path))

    @classmethod
    def from_vocabulary(cls, vocabulary: Path, merges: Path) -> "BPETokenizer":
        """The tokenizer of vocab.json and merges.txt, or of GPT-2's encoder.json and vocab.bpe."""
        library = _library()
        tokens = read_json(vocabulary, FILE_LIMIT)
        lines = [line for line in _read(merges).replace("\r\n", "\n").split("\n") if line]
        pairs = [tuple(line.split(" ")) for line in lines if not line.startswith("#version")]
        if any(len(pair) != 2 for pair in pairs):
            raise InputError(f"{merges} is not a list of pairs of tokens")
        if not all(type(token) is int and 0 <= token < 2**32 for token in tokens.values()):
            raise InputError(f"{vocabulary} is not a table of tokens and their numbers")
        with _all_errors_as_input_errors(f"{vocabulary} and {merges} do not match"):
            tokenizer = library.Tokenizer(library.models.BPE(tokens, pairs))
        _make_gpt2s_kind(library, tokenizer)
        if END_OF_TEXT in tokens:
            tokenizer.add_special_tokens([END_OF_TEXT])
        return cls(tokenizer.to_str())

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> "BPETokenizer":
        """A tokenizer of the most frequent pairs in the texts.

        texts : the text in pieces that end where words do, as `pieces` splits it.
        vocab_size : the maximal number of tokens, including the 256 bytes and END_OF_TEXT.

        Raises `InputError` when `vocab_size` is less than these 257.
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
        tokenizer.train_from_iterator((part for text in texts for part in _cut(text)), trainer)
        return cls(tokenizer.to_str())

    @property
    def end_of_text(self) -> int | None:
        """The token between texts; None if the vocabulary has none."""
        token: int | None = self._tokenizer.token_to_id(END_OF_TEXT)
        return token

    def encode_prompt(self, text: str) -> Array:
        """The tokens of a text in which END_OF_TEXT is one token, as in nanoGPT's sample.py."""
        if self.end_of_text is None:
            return self.encode(text)
        first, *others = map(self.encode, checked_text(text).split(END_OF_TEXT))
        end = np.array([self.end_of_text], np.int64)
        return np.concatenate([first, *(part for other in others for part in (end, other))])

    def to_json(self) -> dict[str, Any]:
        """A description from which `tokenizer_from_json` makes this tokenizer again."""
        return {"kind": self.kind, "tokenizer": self.description}

    @property
    def description(self) -> str:
        """The content of its tokenizer.json."""
        return str(self._tokenizer.to_str())

    def __repr__(self) -> str:
        return f"BPETokenizer({self.vocab_size} tokens)"

    def _encode(self, text: str) -> Array:
        found = [np.empty(0, np.int64)]
        remaining = pieces(text)
        while batch := list(itertools.islice(remaining, _PIECES)):
            try:  # the library's own error for a lone surrogate is of another type
                "".join(batch).encode()
            except UnicodeEncodeError as error:
                raise InputError(f"the text cannot be UTF-8: {error.reason}") from None
            encoded = self._tokenizer.encode_batch_fast(batch, add_special_tokens=False)
            found += [np.array(one.ids, np.int64) for one in encoded]
        return np.concatenate(found)

    def _decode(self, tokens: Array) -> str:
        # Bytes that are not UTF-8 become U+FFFD.
        return str(self._tokenizer.decode(tokens.tolist(), skip_special_tokens=False))


def pieces(text: str) -> Iterator[str]:
    """The text in pieces whose tokens, concatenated, are those of the whole text."""
    start = 0
    while start < len(text):
        length = _PIECE
        while start + length < len(text) and not last_cut(text[start : start + length]):
            length *= 2
        part = text[start : start + length]
        part = part if start + length >= len(text) else part[: last_cut(part)]
        yield part
        start += len(part)


def _cut(text: str) -> Iterator[str]:
    start = 0
    for run in _LONG_WORD.finditer(text):
        yield text[start : run.end()]
        start = run.end()
    yield text[start:]


def last_cut(text: str) -> int:
    """The last index at which GPT-2's pattern ends a word whatever follows; 0 if there is none.

    No word continues across a space or line break that follows a character other than white space,
    and what precedes the cut does not change how the pattern splits what follows it.
    """
    found = _UP_TO_A_CUT.match(text)
    return found.end() if found else 0


def _from_description(description: str) -> Any:
    library = _library()
    if not isinstance(description, str) or len(description) > FILE_LIMIT:
        raise InputError(f"a tokenizer.json is a string of at most {FILE_LIMIT} characters")
    with _all_errors_as_input_errors("not a tokenizer.json"):
        tokenizer = library.Tokenizer.from_str(description)
        # They are for batches of a fixed length.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        known = json.loads(tokenizer.to_str())
    model, splitter = known["model"], known["pre_tokenizer"] or {}
    expected = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    marks = ("continuing_subword_prefix", "end_of_word_suffix", "unk_token", "byte_fallback")
    added = known["added_tokens"]
    alphabet = library.pre_tokenizers.ByteLevel.alphabet()
    for what, holds in (
        ("model is not BPE", model["type"] == "BPE"),
        ("pre_tokenizer is not ByteLevel as GPT-2's", {**splitter, **expected} == splitter),
        ("decoder is not ByteLevel", (known["decoder"] or {}).get("type") == "ByteLevel"),
        ("normalizer changes the text", known["normalizer"] is None),
        ("model has a dropout", not model.get("dropout")),
        ("model marks parts of words", not any(model.get(mark) for mark in marks)),
        ("added tokens are not special, and not plain words", all(map(_plain, added))),
        ("vocabulary lacks some bytes", all(symbol in model["vocab"] for symbol in alphabet)),
    ):
        if not holds:
            raise InputError(f"tokenizer.json: its {what}: only GPT-2's kind of tokenizer is read")
    return tokenizer


def _plain(token: dict[str, Any]) -> bool:
    """Whether an added token is special, or read alike in a text that is encoded in pieces.

    Pieces end before white space. The decoder restores tokens of printable ASCII as they are.
    """
    content = token["content"]
    word = content.isascii() and content.isprintable() and " " not in content
    return bool(token["special"]) or (word and content != END_OF_TEXT and not token["rstrip"])


@contextlib.contextmanager
def _all_errors_as_input_errors(what: str) -> Iterator[None]:
    """Turn every error of the library into an `InputError` of one line that begins with `what`."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # a panic of the library is not an Exception
        raise InputError(f"{what}: {' '.join(str(error).split())[:200]}") from None


def _make_gpt2s_kind(library: Any, tokenizer: Any) -> None:
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()


def _read(path: Path) -> str:
    with os_errors_as_input_errors(f"{path} cannot be read"):
        data = read_bounded(path, FILE_LIMIT)
    try:
        return data.decode("utf-8-sig")
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
