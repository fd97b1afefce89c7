"""What checks let through, and how their messages show values: never all of a large one."""

import time
from pathlib import Path

import numpy as np
import pytest

from gpt_numpy.base.arrays import ALIGNMENT, aligned_empty, aligned_zeros, as_array
from gpt_numpy.base.checks import integer, is_integer, path, real, shown
from gpt_numpy.base.errors import InputError


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def endless():
    value = []
    value.append(value)
    return value


LARGE = {
    "string": lambda: "a" * 10**7,
    "bytes": lambda: b"a" * 10**7,
    "list": lambda: list(range(10**6)),
    "lists": lambda: [[0] * 10**4] * 10**5,
    "dict": lambda: {i: [i] for i in range(10**5)},
    "set": lambda: set(range(10**6)),
    "depth": lambda: nested(10**5),
    "itself": endless,
    "integer": lambda: 10**10000,
}


@pytest.mark.parametrize("kind", LARGE)
def test_a_large_value_is_shown_at_once(kind):
    value = LARGE[kind]()
    start = time.perf_counter()
    assert len(shown(value)) <= 103
    assert time.perf_counter() - start < 0.1


@pytest.mark.parametrize(
    "value", ["ab", "a" * 98, b"x", 1, 1.5, None, [1, ("a", {"b": {2}})], {}, frozenset({1}), [[]]]
)
def test_a_short_value_is_shown_as_it_is(value):
    assert shown(value) == repr(value)


def test_a_long_string_is_cut():
    assert shown("ab" * 100) == repr("ab" * 100)[:100] + "..."


@pytest.mark.parametrize("value", [None, "hello", {1}, {"a": 1}, (n for n in "ab")])
def test_what_is_no_array_is_shown(value):
    with pytest.raises(InputError, match="^tokens=.*: must be an array of integers$"):
        as_array("tokens", value)


def test_a_masked_array_is_refused():
    with pytest.raises(InputError, match=r"^tokens is a masked array.*tokens\.filled\(VALUE\)$"):
        as_array("tokens", np.ma.masked_array([1, 2], [True, False]))


def test_a_bool_is_no_number_and_an_integer_may_be_of_numpy():
    assert is_integer(3) and is_integer(np.uint8(3)) and integer("n", np.int64(7)) == 7
    for value in (True, np.bool_(True), 3.0, "3", None):
        assert not is_integer(value)
        with pytest.raises(InputError, match="n=.*: must be an integer, at least 0 and less than"):
            integer("n", value)
    for value in (True, "3", None, 1j):
        with pytest.raises(InputError, match="x=.*: must be above 0"):
            real("x", value, lambda x: x > 0, "above 0")


def test_numbers_are_finite_and_allowed():
    assert real("x", np.float32(0.5), lambda x: x > 0, "above 0") == 0.5
    for value in (10**400, float("inf"), float("nan"), 0):
        with pytest.raises(InputError, match="x=.*: must be above 0"):
            real("x", value, lambda x: x > 0, "above 0")


def test_what_is_no_path_of_a_file_is_refused():
    assert path("out", "a/b") == path("out", Path("a/b")) == Path("a/b")
    for value in (3, None, b"a", "a\0b", "a" * 5000):
        with pytest.raises(InputError, match="out=.*: must be"):
            path("out", value)


def test_arrays_begin_at_a_cache_line():
    for size in range(1, 20):  # where memory happens to begin differs from one to the next
        for make in (aligned_empty, aligned_zeros):
            array = make(size, "float32")
            assert array.shape == (size,) and array.ctypes.data % ALIGNMENT == 0


def test_rows_of_unequal_length_are_no_array():
    assert as_array("tokens", [[1, 2], [3, 4]]).shape == (2, 2)
    with pytest.raises(InputError, match="tokens cannot be an array of integers"):
        as_array("tokens", [[1, 2], [3]])
