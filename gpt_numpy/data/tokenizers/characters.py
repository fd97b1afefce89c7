"""One token for each character.

The vocabulary is a sequence of distinct characters; a character's token is its index. Characters
are Python's, that is Unicode code points: lone surrogates are characters, too, and every string of
known characters is restored exactly.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.checks import shown
from gpt_numpy.base.errors import InputError
from gpt_numpy.data.tokenizers.tokenizer import Tokenizer, checked_text


class CharTokenizer(Tokenizer):
    """One token for each of `characters`, distinct single characters: its index there.

    Raises `InputError` when there are none, one is not a single character, or one occurs twice.
    """

    kind = "char"

    def __init__(self, characters: Iterable[str]) -> None:
        try:
            listed = list(characters)
        except TypeError:
            raise InputError(
                f"characters={shown(characters)}: must be a sequence of single characters"
            ) from None
        if not listed:
            raise InputError("characters is empty: a tokenizer needs at least one character")
        for i, character in enumerate(listed):
            if not isinstance(character, str) or len(character) != 1:
                raise InputError(f"characters[{i}]={shown(character)}: must be a single character")
        self.characters, self.vocab_size = "".join(listed), len(listed)
        self._codes = _code_points(self.characters)
        # The token of each code point, -1 if unknown; the last entry stands for all code points
        # beyond the largest known one.
        self._tokens = np.full(int(self._codes.max()) + 2, -1, np.int64)
        self._tokens[self._codes] = np.arange(len(listed))
        if len(set(listed)) != len(listed):
            twice = next(c for i, c in enumerate(listed) if self._tokens[ord(c)] != i)
            raise InputError(f"characters contains {twice!r} more than once: each needs one token")

    @classmethod
    def from_text(cls, text: str) -> "CharTokenizer":
        """The tokenizer of a text: its characters, sorted by code point."""
        return cls.from_texts([text])

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> "CharTokenizer":
        """The tokenizer of all characters that occur in the texts, sorted by code point."""
        seen: set[str] = set()
        for text in texts:
            seen.update(checked_text(text))
        return cls(sorted(seen))

    def to_json(self) -> dict[str, Any]:
        """A description from which `tokenizer_from_json` makes this tokenizer again.

        A list and not one string, because JSON would join two adjacent lone surrogates. Write it
        with `json.dumps` and its defaults, which escape everything that is not ASCII.
        """
        return {"kind": self.kind, "characters": list(self.characters)}

    def __repr__(self) -> str:
        return f"CharTokenizer({_beginning(self.characters)})"

    def _encode(self, text: str) -> Array:
        tokens: Array = self._tokens.take(_code_points(text), mode="clip")
        if (tokens < 0).any():
            raise InputError(self._unknown(text))
        return tokens

    def _decode(self, tokens: Array) -> str:
        codes: bytes = self._codes[tokens].tobytes()
        return codes.decode("utf-32-le", "surrogatepass")

    def _unknown(self, text: str) -> str:
        """The error message about the characters of `text` that are not in the vocabulary."""
        known = set(self.characters)
        unknown = [c for c in dict.fromkeys(text) if c not in known]
        first = ", ".join(map(repr, unknown[:10])) + (", ..." if len(unknown) > 10 else "")
        plural = "s" if len(unknown) > 1 else ""
        return (
            f"the text has {len(unknown)} character{plural} that the tokenizer does not know: "
            f"{first}; use only its vocabulary of {self.vocab_size}: "
            f"{_beginning(self.characters)}"
        )


def _code_points(text: str) -> Array:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _beginning(characters: str) -> str:
    return repr(characters[:200]) + (", ..." if len(characters) > 200 else "")
