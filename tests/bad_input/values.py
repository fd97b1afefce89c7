"""Arguments that are drawn at random, each with what it stands for, or that it stands for nothing.

A drawn argument is a pair: what is passed, and what it means, as the canonical value of its kind.
What cannot be used means BAD. Where a person could argue either way (True for 1, 3.0 for 3, a list
for a tuple), it means `Maybe(canonical)`: an error or the right result, but nothing else.
"""

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

BAD = object()


@dataclass(frozen=True)
class Maybe:
    """Stands for `value`, or is refused."""

    value: Any


RAGGED = [[1], [1, 2]]

STRANGE = (
    None, True, False, "", "3", "x" * 5000, b"3", [], [3], (1, 2), {}, {"a": 1}, set(), object(),
    3.0, 2.5, -0.0, 1e300, -1e300, 5e-324, math.nan, math.inf, -math.inf, 3 + 0j, 1j,
    0, 1, 2, 3, -1, -2, 255, 2**31, -(2**31) - 1, 2**63, 2**63 - 1, -(2**63), 2**64, 2**64 - 1,
    10**30, 10**400, np.int64(3), np.uint8(3), np.float32(0.5), np.float64(3), np.float64("nan"),
    np.bool_(True), np.str_("3"), np.complex64(1), np.array(3), np.array(0.5), np.array([1, 2]),
    np.array([], int), np.array("3"), np.datetime64("2020-01-01"), Fraction(1, 2), Decimal("0.5"),
    len, int, range(3), ..., NotImplemented,
)  # fmt: skip


def strange(rng):
    """Any of these, and numbers of every size."""
    if rng.random() < 0.7:
        return STRANGE[rng.integers(len(STRANGE))]
    size = 10.0 ** rng.uniform(-3, 25) * rng.choice([-1, 1])
    return float(size) if rng.random() < 0.5 else int(size)


def integer(value, low, high=math.inf):
    """What it means where an integer from `low` to `high` is asked for."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value) if low <= value <= high else BAD
    number = _number(value)
    if number is None or not math.isfinite(number) or number != int(number):
        return BAD
    return Maybe(int(number)) if low <= number <= high else BAD


def real(value, allowed):
    """What it means where a finite number that is `allowed` is asked for."""
    number = _number(value)
    if number is None or not (math.isfinite(number) and allowed(number)):
        return BAD
    plain = isinstance(value, int | float | np.integer | np.floating)
    return number if plain and not isinstance(value, bool) else Maybe(number)


def _number(value):
    if isinstance(value, str | bytes | np.str_):
        return None
    if isinstance(value, np.ndarray) and (value.ndim or value.dtype.kind not in "iufb"):
        return None
    if not isinstance(
        value, int | float | Fraction | Decimal | np.integer | np.floating | np.bool_ | np.ndarray
    ):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def one_of(value, choices):
    """What it means where one of a few names is asked for."""
    if not isinstance(value, str) or value not in choices:
        return BAD
    return value if type(value) is str else Maybe(str(value))


INTEGER_TYPES = ("i1", "u1", "i2", "<i4", ">i4", "i8", "u8", "u2", ">u2")
WRONG_TYPES = ("f8", "f4", "c16", "?", "O", "U3", "S2", "M8[s]", "m8[s]", "V4")


def token_array(rng, shape, low, high):
    """Integers from `low` to `high` - 1 in this shape, in every way that it may be got wrong.

    What it means is the array of int64.
    """
    right = rng.integers(low, high, shape)
    ways = [
        _laid_out,
        _typed,
        _typed,
        _out_of_range,
        _out_of_range,
        _shaped,
        _shaped,
        _not_an_array,
    ]
    return ways[rng.integers(len(ways))](rng, right, low, high)


def _laid_out(rng, right, low, high):
    wide = np.repeat(np.repeat(right, 2, axis=0), 3, axis=1)
    ways = [
        lambda: np.asfortranarray(right),
        lambda: wide[::2, ::3],
        lambda: right[::-1, ::-1].copy()[::-1, ::-1],
        lambda: right.tolist(),
        lambda: tuple(map(tuple, right.tolist())),
        lambda: np.frombuffer(right.tobytes(), np.int64).reshape(right.shape),  # read-only
        lambda: _misaligned(right),
    ]  # fmt: skip
    if rng.random() < 0.2:
        row = np.broadcast_to(right[:1], right.shape)
        return row, row.copy()
    return ways[rng.integers(len(ways))](), right


def _misaligned(right):
    bytes_ = np.frombuffer(b"\0" + right.tobytes(), np.uint8)
    return bytes_[1:].view(np.int64).reshape(right.shape)


def _typed(rng, right, low, high):
    if rng.random() < 0.4:
        kind = INTEGER_TYPES[rng.integers(len(INTEGER_TYPES))]
        if (right.astype(kind) == right).all():
            return right.astype(kind), right
        return right, right
    kind = WRONG_TYPES[rng.integers(len(WRONG_TYPES))]
    if kind == "V4":
        return np.zeros(right.shape, kind), BAD
    return right.astype(kind), BAD


def _out_of_range(rng, right, low, high):
    wrong = [low - 1, high, high + 1, -100, 255, 2**31, 2**32, 2**63 - 1, -(2**63), 2**64 - 1]
    value = int(wrong[rng.integers(len(wrong))])
    kinds = [k for k in INTEGER_TYPES if np.iinfo(k).min <= value <= np.iinfo(k).max]
    kinds = [k for k in kinds if (right.astype(k) == right).all()]
    if not kinds:  # no type holds both it and the others
        return right.tolist()[:-1] + [[value] * right.shape[1]], BAD
    array = right.astype(kinds[rng.integers(len(kinds))])
    array[rng.integers(array.shape[0]), rng.integers(array.shape[1])] = value
    return array, BAD


def _shaped(rng, right, low, high):
    B, T = right.shape
    ways = [
        lambda: right[0],
        lambda: right[None],
        lambda: right[:0],
        lambda: right[:, :0],
        lambda: right[0, 0],
        lambda: int(right[0, 0]),
        lambda: np.tile(right, (1, 20)),
        lambda: RAGGED,
        lambda: right.reshape(B, T, 1),
        lambda: np.zeros((0, 0), int),
        lambda: np.broadcast_to(right[:, :1], (B, 10**6)),
        lambda: np.zeros((1,) * 20, int),
    ]
    return ways[rng.integers(len(ways))](), BAD


def _not_an_array(rng, right, low, high):
    things = (
        None, "text", b"ab", {}, {"a": 1}, object(), [], [[]], [None], [["1"]], set([1]), 1.5,
        iter([1]), np.ma.masked, np.zeros((2, 3), [("a", "i4")]), len, [[1j]], [[2**70]], ...,
    )  # fmt: skip
    return things[rng.integers(len(things))], BAD
