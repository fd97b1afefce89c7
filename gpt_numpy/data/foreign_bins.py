"""Recognise files of tokens that are not nanoGPT's, which would be read as noise without a word."""

from pathlib import Path

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.errors import InputError

_SEEN = 1 << 20  # bytes at the start that are looked at
_FEWEST = 64  # bytes: fewer say nothing
_HEADER = 1024  # bytes, of llm.c's files
_LLM_C = {20240520: "<u2", 20240801: "<u4"}  # the first number there, and the type of tokens
_TEXT = np.isin(np.arange(256), [9, 10, 13, *range(32, 127)])


def check_layout(path: Path, itemsize: int) -> None:
    """Raise `InputError` if a file looks like something else than tokens of `itemsize` bytes.

    The message says what it looks like, and how to write it again.
    """
    with path.open("rb") as file:
        data = np.frombuffer(file.read(_SEEN), np.uint8)
    first = int.from_bytes(data[:4].tobytes(), "little")
    name, out = str(path), f"astype('<u{itemsize}').tofile({str(path)!r})"
    if data[:6].tobytes() == b"\x93NUMPY":
        looks, fix = "NumPy's .npy", f"np.load({name!r}).{out}"
    elif first in _LLM_C and len(data) >= _HEADER:
        looks = "a file of llm.c, with a header"
        fix = f"np.fromfile({name!r}, {_LLM_C[first]!r}, offset={_HEADER}).{out}"
    else:
        kind = _kind(data[: len(data) // 8 * 8], itemsize) if len(data) >= _FEWEST else ""
        if not kind:
            return
        if kind == "text":
            raise InputError(
                f"{name} looks like text, not tokens: move it away, then gpt-numpy prepare FILE"
            )
        looks, fix = _NAMES[kind[1:]], f"np.fromfile({name!r}, {kind!r}).{out}"
    raise InputError(
        f"{name} looks like {looks}, not tokens of {8 * itemsize} bits without a header: "
        f'write it again: python -c "import numpy as np; {fix}"'
    )


_NAMES = {
    "i8": "integers of 64 bits",
    "i4": "integers of 32 bits",
    "u4": "big-endian integers of 32 bits",
    "u2": "big-endian integers of 16 bits",
}


def _kind(data: Array, itemsize: int) -> str:
    """The type of number that the bytes look like, "text", or "" for what they should be."""
    if _TEXT[data].all():
        return "text"
    used = [bool(data[k::8].any()) for k in range(8)]  # which bytes of eight are ever not 0
    if used == [False] * 8:
        return ""
    # Small numbers leave the upper bytes empty.
    if not any(used[4:]) and itemsize < 8 and any(used[:4]):
        return "<i8"
    if itemsize == 2 and not any(used[2:4] + used[6:]):
        return "<i4"
    if itemsize == 2 and not any(used[:2] + used[4:6]):
        return ">u4"
    return ">u2" if itemsize == 2 and _is_swapped(data.view("<u2")) else ""


def _is_swapped(tokens: Array) -> bool:
    """Whether 16-bit tokens are those of a usual vocabulary only with their bytes swapped."""
    swapped = tokens.byteswap()
    characters = not (tokens & 0xFF).any() and len(np.unique(tokens)) > 1
    # Lower bytes reach 255 in any longer file; upper ones only in a full vocabulary.
    byte_pairs = int(tokens.max()) >= 0xFF00 and int(swapped.max()) <= 50304
    return characters or byte_pairs
