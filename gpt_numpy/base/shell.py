"""A word of a command that a message tells the user to type."""

import os
import shlex
import sys


def quoted(word: str) -> str:
    """The word as a shell reads it, in characters that standard output can show.

    Where its encoding lacks one, as in the C locale, the bytes are escaped: $'...' of bash and zsh.
    """
    try:
        word.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        escaped = (
            chr(byte) if 32 <= byte < 127 and byte not in b"\\'" else f"\\x{byte:02x}"
            for byte in os.fsencode(word)
        )
        return f"$'{''.join(escaped)}'"
    return shlex.quote(word)
