"""What every tokenizer has in common: its public methods and the checks of their arguments."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from numpy.typing import ArrayLike

from gpt_numpy.base.arrays import Array, as_array
from gpt_numpy.base.errors import InputError


class Tokenizer(ABC):
    """Converts text to tokens, the integers below `vocab_size`, and back."""

    kind: ClassVar[str]  # its name in checkpoints
    vocab_size: int  # number of different tokens, V

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """A description from which `tokenizer_from_json` makes this tokenizer again."""

    def encode(self, text: str) -> Array:
        """The tokens of a text, (n,), int64; `InputError` for what cannot be encoded."""
        return self._encode(checked_text(text))

    def encode_prompt(self, text: str) -> Array:
        """The tokens of a text in which the name of a special token stands for that token."""
        return self.encode(text)

    def decode(self, ids: ArrayLike) -> str:
        """The text of a sequence of tokens, (n,); `InputError` if one of them is not a token."""
        tokens = as_array("ids", ids)
        if tokens.ndim != 1:
            raise InputError(f"ids has shape {tokens.shape}: must be (n,), one sequence of tokens")
        if tokens.size == 0:
            return ""
        if tokens.dtype.kind not in "iu":
            raise InputError(f"ids has dtype {tokens.dtype}: tokens are integers")
        wrong = (tokens < 0) | (tokens >= self.vocab_size)
        if wrong.any():
            place = int(wrong.argmax())
            raise InputError(
                f"ids[{place}]={tokens[place]} is not a token: "
                f"must be from 0 to vocab_size - 1 = {self.vocab_size - 1}"
            )
        return self._decode(tokens)

    @abstractmethod
    def _encode(self, text: str) -> Array: ...

    @abstractmethod
    def _decode(self, tokens: Array) -> str: ...


def checked_text(text: str) -> str:
    """The text itself; `InputError` if it is not a string."""
    if not isinstance(text, str):
        raise InputError(f"text is of type {type(text).__name__}: it must be a str")
    return text
