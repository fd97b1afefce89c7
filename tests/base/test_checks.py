"""How error messages show values: in short, and without printing all of a large one."""

import time

import pytest

from gpt_numpy.base.checks import shown


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
