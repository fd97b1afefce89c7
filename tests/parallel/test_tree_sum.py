"""The order of sums, and who updates what: without MPI."""

import numpy as np
import pytest

from gpt_numpy.base.arrays import CHUNK, NamedArrays
from gpt_numpy.parallel.segments import bounds_of, pieces_of
from gpt_numpy.parallel.tree_sum import TreeSum, sum_in_order, sum_rows, waiting


def vectors(count, size=200):
    """Float32 vectors whose sum depends on the order of its terms."""
    rng = np.random.default_rng(count)
    return (rng.standard_normal((count, size)) * 10.0 ** rng.integers(-4, 4, (count, 1))).astype(
        "f4"
    )


def tree(terms):
    """The sum as the docstring draws it, for a power of two."""
    while len(terms) > 1:
        terms = [a + b for a, b in zip(terms[::2], terms[1::2], strict=True)]
    return terms[0]


def added(terms):
    total = TreeSum(buffer := np.empty_like(terms[0]), len(terms))
    for term in terms:
        buffer[...] = buffer + term if total.accumulate else term
        total.add()
    return buffer.copy()


@pytest.mark.parametrize("count", [1, 2, 4, 8, 16])
def test_the_order_is_a_balanced_tree(count):
    terms = vectors(count)
    assert np.array_equal(added(terms), tree(list(terms)))
    assert np.array_equal(sum_rows(terms.copy()), tree(list(terms)))
    if count > 2:
        one_by_one = np.add.accumulate(terms)[-1]
        assert not np.array_equal(one_by_one, tree(list(terms)))  # the terms can tell


@pytest.mark.parametrize("processes", [1, 2, 4, 8, 16])
def test_processes_with_aligned_shares_compute_the_same_bits(processes):
    terms = vectors(16)
    branches = np.array([added(part) for part in np.split(terms, processes)])
    assert np.array_equal(sum_rows(branches), added(terms))


def test_an_odd_number_is_added_one_by_one_and_needs_no_memory():
    terms = vectors(5)
    assert np.array_equal(added(terms), np.add.accumulate(terms)[-1])
    assert [waiting(count) for count in (1, 5, 2, 40, 64)] == [0, 0, 1, 3, 6]
    total = TreeSum(buffer := np.empty(3, "f4"), 40)
    for _ in range(40):
        buffer[...] = 1
        total.add()
    assert len(total._pending) == waiting(40)


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_an_odd_factor_is_added_first(processes):
    terms = vectors(12)
    branches = np.array([added(part) for part in np.split(terms, processes)])
    of_three = [np.add.accumulate(part)[-1] for part in np.split(terms, 4)]
    assert np.array_equal(sum_rows(branches), tree(of_three))


@pytest.mark.parametrize("count", [3, 5, 6, 7, 12, 13])
def test_any_count_is_added_once(count):
    terms = np.eye(count, dtype="f4")
    assert np.array_equal(added(terms), np.ones(count))
    assert np.array_equal(sum_rows(terms), np.ones(count))


def test_a_sum_begins_anew_after_the_last_vector():
    total = TreeSum(buffer := np.empty(3, "f4"), 2)
    for base in (1.0, 10.0):
        for term in (base, 2 * base):
            buffer[...] = term
            total.add()
        assert buffer.tolist() == [3 * base] * 3


def test_numbers_are_added_from_the_first_to_the_last():
    values = np.array([1e16, 1.0, -1e16, 1.0])
    assert sum_in_order(values) == 1.0
    assert sum_in_order(np.empty(0)) == 0.0


@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, 5 * CHUNK + 7])
@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_segments_are_whole_chunks_and_cover_everything(size, parts):
    bounds = bounds_of(size, parts)
    assert bounds[0] == 0 and bounds[-1] == size and bounds == sorted(bounds)
    assert all(bound % CHUNK == 0 or bound == size for bound in bounds)
    longest = max(np.diff(bounds))
    assert longest <= -(-size // parts) + CHUNK


def test_pieces_of_tensors_cover_a_segment():
    arrays = NamedArrays({"a": (3, 2), "b": (4,), "c": (5,)}, np.float32)
    assert pieces_of(arrays, 4, 12) == {"a": (4, 6), "b": (6, 10), "c": (10, 12)}
    assert pieces_of(arrays, 6, 10) == {"b": (6, 10)}
    assert pieces_of(arrays, 3, 3) == {}
