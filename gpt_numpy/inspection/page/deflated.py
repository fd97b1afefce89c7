"""Arrays as short strings: their bytes, sorted by weight and deflated, in base 85.

The last bytes of all numbers stand together, and so on to the first: signs and exponents repeat,
the low digits of fractions do not, and each compresses best among its own kind. The page inflates
them with what browsers have for it (parts/twin/inflated.js).
"""

import zlib

import numpy as np

from gpt_numpy.base.arrays import Array

# Those of Python's base64.b85encode, with three others for < > &, which HTML escapes.
DIGITS = np.frombuffer(
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%/()*+-;,=.?@^_`{|}~", "u1"
)
POWERS = np.array([85**k for k in (4, 3, 2, 1, 0)])


def deflated(array: Array) -> str:
    """The little-endian bytes of an array; its type and shape are not in the string."""
    numbers = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    by_weight = numbers.view(np.uint8).reshape(numbers.size, numbers.itemsize).T
    return in_base85(zlib.compress(by_weight.tobytes()))


def in_base85(data: bytes) -> str:
    """Five characters for four bytes, less than base64 needs; none that JSON or HTML escapes."""
    missing = -len(data) % 4
    words = np.frombuffer(data + bytes(missing), ">u4").astype(np.int64)
    digits = DIGITS[words[:, None] // POWERS % 85].tobytes()
    return digits[: len(digits) - missing].decode()
