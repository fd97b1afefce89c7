"""Text while it is generated: only whole characters, and nothing of a string that ends it.

A character may take several tokens, and a token may belong to several characters, so tokens wait
until their text is complete. A stop string may begin in one token and end in another, so what may
be its beginning waits, too.
"""

from collections.abc import Callable

import numpy as np

from gpt_numpy.base.arrays import Array

UNFINISHED = "\ufffd"  # decoders write it for bytes that are not a whole character
LONGEST = 8  # tokens of one character; after more, the bytes are not a character at all


class TextStream:
    """The text of tokens that arrive one by one.

    `decode` returns the text of a sequence of tokens. `stop` is the string that ends the text; "":
    none.
    """

    def __init__(self, decode: Callable[[Array], str], stop: str = "") -> None:
        self._decode, self._stop = decode, stop
        self._before: list[int] = []  # already returned as text; the next text may depend on them
        self._waiting: list[int] = []
        self._held = ""  # text that may be the beginning of `stop`
        self.stopped = False

    def add(self, token: int) -> str:
        """The text that this token completes; "" if it is not certain yet, and after `stop`."""
        self._waiting.append(int(token))
        new = self._new_text()
        if new.endswith(UNFINISHED) and len(self._waiting) < LONGEST:
            return ""
        self._before, self._waiting = self._waiting, []
        return self._release(new)

    def end(self) -> str:
        """The text that is still waiting."""
        rest = self._release(self._new_text()) + self._held
        self._waiting, self._held = [], ""
        return rest

    def _new_text(self) -> str:
        known = self._decode(np.array(self._before, dtype=np.int64))
        return self._decode(np.array(self._before + self._waiting, dtype=np.int64))[len(known) :]

    def _release(self, new: str) -> str:
        if self.stopped or not self._stop:
            return "" if self.stopped else new
        text = self._held + new
        place = text.find(self._stop)
        if place >= 0:
            self.stopped, self._held = True, ""
            return text[:place]
        sizes = range(min(len(self._stop) - 1, len(text)), 0, -1)
        held = next((n for n in sizes if self._stop.startswith(text[-n:])), 0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]
