"""From text to tokens and back: one token for each character.

A tokenizer is its vocabulary, an ordered row of distinct characters; a character's token is its
place in the row. Characters are Python's, Unicode code points, so lone surrogates are characters
too, and every string that is made of known characters comes back exactly.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gpt_numpy.base.arrays import Array, as_array
from gpt_numpy.base.errors import InputError
from gpt_numpy.data.tokenizers.byte_pairs import BPETokenizer as BPETokenizer

_CODE_POINTS = 0x110000
# Characters converted at a time: text of any length then needs little memory beside its tokens.
_CHUNK = 1 << 20


class CharTokenizer:
    """One token for each character of a fixed vocabulary.

    Parameters
    ----------
    characters : the vocabulary, distinct single characters; the place of each is its token.

    Raises `InputError` when there are none, or when one is not a single character or comes twice.
    """

    kind = "char"

    def __init__(self, characters: Iterable[str]) -> None:
        try:
            listed = list(characters)
        except TypeError:
            raise InputError(
                f"characters={_short(characters)}: must be a row of single characters"
            ) from None
        if not listed:
            raise InputError("characters is empty: a tokenizer needs at least one character")
        for index, character in enumerate(listed):
            if not isinstance(character, str) or len(character) != 1:
                raise InputError(
                    f"characters[{index}]={_short(character)} is not a single character"
                )
        self.characters = "".join(listed)
        self._codes = np.concatenate(list(_code_chunks(self.characters)))
        # Token of each code point, -1 for the unknown; the last entry stands for all beyond it.
        self._tokens = np.full(int(self._codes.max()) + 2, -1, np.int64)
        self._tokens[self._codes] = np.arange(len(listed))
        if len(set(listed)) != len(listed):
            twice = next(c for i, c in enumerate(listed) if self._tokens[ord(c)] != i)
            raise InputError(f"characters has {twice!r} more than once: each needs one token")

    @classmethod
    def from_text(cls, text: str) -> "CharTokenizer":
        """The tokenizer of a text: its characters in the order of their code points."""
        seen = np.zeros(_CODE_POINTS, bool)
        for codes in _code_chunks(_checked_text(text)):
            seen[codes] = True
        return cls(map(chr, np.flatnonzero(seen).tolist()))

    @property
    def vocab_size(self) -> int:
        """Number of different tokens, V."""
        return len(self.characters)

    def encode(self, text: str) -> Array:
        """The tokens of a text, one for each character.

        Shapes: (len(text),), int64. Raises `InputError` when the text has characters that are not
        in the vocabulary, and shows them.
        """
        tokens = np.empty(len(_checked_text(text)), np.int64)
        start = 0
        for codes in _code_chunks(text):
            part = tokens[start : start + len(codes)]
            self._tokens.take(codes, out=part, mode="clip")
            if part.min() < 0:
                raise InputError(self._unknown(text))
            start += len(codes)
        return tokens

    def decode(self, ids: ArrayLike) -> str:
        """The text of a row of tokens.

        Shapes: ids is (n,), integers. Raises `InputError` when one is not a token.
        """
        row = as_array("ids", ids)
        if row.ndim != 1:
            raise InputError(f"ids has shape {row.shape}: decode takes one row of tokens")
        if row.size == 0:
            return ""
        if row.dtype.kind not in "iu":
            raise InputError(f"ids has dtype {row.dtype}: tokens are integers")
        wrong = (row < 0) | (row >= self.vocab_size)
        if wrong.any():
            place = int(wrong.argmax())
            raise InputError(
                f"ids[{place}]={row[place]} is not a token: "
                f"they go from 0 to vocab_size - 1 = {self.vocab_size - 1}"
            )
        codes: bytes = self._codes[row].tobytes()
        return codes.decode("utf-32-le", "surrogatepass")

    def to_json(self) -> dict[str, Any]:
        """What `tokenizer_from_json` makes this tokenizer from again.

        A list and not one string: JSON would join two lone surrogates that stand side by side.
        Write it with `json.dumps` as it comes, which escapes what is not ASCII.
        """
        return {"kind": self.kind, "characters": list(self.characters)}

    def __repr__(self) -> str:
        return f"CharTokenizer({_shown(self.characters)})"

    def _unknown(self, text: str) -> str:
        """The sentence that says which characters of `text` are not known."""
        known = set(self.characters)
        unknown = [c for c in dict.fromkeys(text) if c not in known]
        shown = ", ".join(map(repr, unknown[:10])) + (", ..." if len(unknown) > 10 else "")
        plural = "s" if len(unknown) > 1 else ""
        return (
            f"the text has {len(unknown)} character{plural} that the tokenizer does not know: "
            f"{shown}; leave out what is not in its vocabulary of {self.vocab_size}: "
            f"{_shown(self.characters)}"
        )


def _checked_text(text: str) -> str:
    if not isinstance(text, str):
        raise InputError(f"text is of type {type(text).__name__}: it must be a str")
    return text


def _code_chunks(text: str) -> Iterator[Array]:
    """The code points of a text, chunk by chunk, each (at most _CHUNK,), uint32."""
    for start in range(0, len(text), _CHUNK):
        part = text[start : start + _CHUNK].encode("utf-32-le", "surrogatepass")
        yield np.frombuffer(part, "<u4")


def _short(value: object) -> str:
    """A value as an error message shows it, however long it is."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _shown(characters: str) -> str:
    return repr(characters[:200]) + (", ..." if len(characters) > 200 else "")
