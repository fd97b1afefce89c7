"""Rounding to bfloat16 and the product of rounded operands, against exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt_numpy.reference.bfloat16 import TDPBF16PS, loaded, product, rounded, stored

DIGITS = 24  # of float32
LEAST = Fraction(1, 2**126)
INFINITE = 0x7F80
FINITE = np.arange(0x0080, INFINITE, dtype=np.uint16)  # positive and not denormal, in order


def bits(x):
    return np.asarray(x, np.float32).view(np.uint32)


def assert_same(ours, exact):
    """The same bits, but any NaN is as good as any other."""
    ours, exact = np.asarray(ours, np.float32), np.asarray(exact, np.float32)
    assert ours.shape == exact.shape
    different = (bits(ours) != bits(exact)) & ~(np.isnan(ours) & np.isnan(exact))
    assert not different.any(), (ours[different][:3], exact[different][:3])


def test_bfloat16_numbers_are_their_own_rounding():
    for sign in (0, 0x8000):
        assert (stored(loaded(FINITE | sign)) == FINITE | sign).all()


def test_what_lies_between_two_numbers_goes_to_the_nearer_one_and_the_middle_to_the_even_one():
    below, above = FINITE[:-1].astype(np.uint32), FINITE[1:]
    middle = (below << 16) + 0x8000
    even = np.where(below % 2 == 0, below, above)
    for sign in (0, 0x8000):
        for lower, expected in ((middle - 1, below), (middle, even), (middle + 1, above)):
            x = (lower | sign << 16).astype(np.uint32).view(np.float32)
            assert (stored(x) == expected | sign).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_special_values(sign):
    largest, least = loaded(FINITE[-1]), 2.0**-126
    too_large = np.finfo(np.float32).max
    given_ = np.float32([0, 1e-45, 1e-39, np.nextafter(np.float32(least), 0), least, 1e30, np.inf])
    wanted = np.float32([0, 0, 0, 0, least, rounded(np.float32(1e30)), np.inf])
    assert_same(rounded(sign * given_), sign * wanted)
    assert abs(rounded(np.float32(1e30)) / 1e30 - 1) < 2**-8
    assert_same(
        rounded(sign * np.float32([largest, too_large])), sign * np.float32([largest, np.inf])
    )
    nans = np.uint32([0x7F800001, 0x7FC00000, 0x7FFFFFFF]) | np.uint32(0x80000000 * (sign < 0))
    assert np.isnan(rounded(nans.view(np.float32))).all()
    assert np.isnan(loaded(stored(nans.view(np.float32)))).all()


def nearest(exact, zero):
    """A fraction as float32: rounded once, of two equally near to the even one; no denormals."""
    if exact == 0:
        return zero
    size = abs(exact)
    exponent = 0
    while size >= 2**DIGITS:
        size, exponent = size / 2, exponent + 1
    while size < 2 ** (DIGITS - 1):
        size, exponent = size * 2, exponent - 1
    size = Fraction(round(size)) * Fraction(2) ** exponent  # `round` goes to the even one
    if size < LEAST:
        size = Fraction(0)
    if size >= 2**128:
        return np.float32(np.inf if exact > 0 else -np.inf)
    return np.copysign(np.float32(float(size)), np.float32(1 if exact > 0 else -1))


def plus(c, x, y):
    """The sum c + x y in fractions, rounded once."""
    p = Fraction(float(x)) * Fraction(float(y))
    zero = c + x * y if p == 0 and c == 0 else np.float32(0)  # the sign of zero
    return nearest(Fraction(float(c)) + p, zero)


def by_hand(a, b, c):
    """One sum in fractions, pair by pair, the odd element first."""
    a, b = (np.append(x, np.zeros(len(x) % 2, np.float32)) for x in (a, b))
    for k in range(0, len(a), 2):
        c = plus(plus(c, a[k + 1], b[k + 1]), a[k], b[k])
    return c


def by_hand_in_tiles(a, b, c):
    """The same as AMX does: even and odd elements of 16 pairs apart, then both to c."""
    a, b = (np.append(x, np.zeros(-len(x) % 32, np.float32)) for x in (a, b))
    for start in range(0, len(a), 32):
        even = odd = np.float32(0)
        for k in range(start, start + 32, 2):
            even, odd = plus(even, a[k], b[k]), plus(odd, a[k + 1], b[k + 1])
        c = plus(c, plus(even, odd, np.float32(1)), np.float32(1))
    return c


@pytest.mark.parametrize("inner", [1, 2, 3, 4, 17])
@given(seed=st.integers(0, 10**6), spread=st.sampled_from([1, 20, 126]), at=st.integers(-62, 60))
def test_a_product_is_that_of_exact_fractions(inner, seed, spread, at):
    # Exponents around those where products are denormal, where they are infinite, and between.
    rng = np.random.default_rng(seed)
    spread = min(spread, 62 - abs(at)) if spread < 126 else 1

    def draw(*shape):
        exponents = rng.integers(at - spread, at + spread + 1, shape)
        return rounded((rng.standard_normal(shape) * 2.0**exponents).astype(np.float32))

    a, b = draw(2, inner), draw(inner, 3)
    before = (rng.standard_normal((2, 3)) * 2.0 ** (2 * at)).astype(np.float32)
    before[np.abs(before) < 2.0**-126] = 0
    out = before.copy()
    product(a, b, out, add=True)
    for i in range(2):
        for j in range(3):
            assert_same(product(a, b)[i, j], by_hand(a[i], b[:, j], np.float32(0)))
            assert_same(out[i, j], by_hand(a[i], b[:, j], before[i, j]))


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), inner=st.integers(1, 70), at=st.sampled_from([0, -62, 60]))
def test_a_product_in_tiles_is_that_of_exact_fractions(seed, inner, at):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        exponents = rng.integers(at - 2, at + 3, shape)
        return rounded((rng.standard_normal(shape) * 2.0**exponents).astype(np.float32))

    a, b = draw(1, inner), draw(inner, 1)
    before = (rng.standard_normal((1, 1)) * 2.0 ** (2 * at)).astype(np.float32)
    before[np.abs(before) < 2.0**-126] = 0
    out = product(a, b, before.copy(), add=True, order=TDPBF16PS)
    assert_same(out[0, 0], by_hand_in_tiles(a[0], b[:, 0], before[0, 0]))


def test_amx_sums_even_and_odd_elements_apart_and_16_pairs_at_a_time():
    # 1 added to 2^24 is lost. Of the odd ones 2 arrive; of the even one next to 2^24 none would.
    a = np.zeros((1, 34), np.float32)
    a[0, [0, 1, 2, 3]] = 2**24, 1, 1, 1
    ones = np.ones((34, 1), np.float32)
    assert product(a, ones, order=TDPBF16PS)[0, 0] == 2**24 + 2
    # The second tile's 1 + 1 come to 2^24 as 2; in the first they are lost one by one.
    a[0, [0, 1, 2, 3, 4, 32, 33]] = 2**24, 0, 1, 0, 1, 1, 1
    assert product(a, ones, order=TDPBF16PS)[0, 0] == 2**24 + 2


def test_the_odd_element_of_a_pair_is_added_first():
    # To 2^24 the odd 1 is lost, then comes 2; the other way round 2^24 + 3 would become 2^24 + 4.
    a = np.float32([[2**24, 0, 2, 1]])
    assert product(a, np.ones((4, 1), np.float32))[0, 0] == 2**24 + 2


def test_products_beyond_float32_are_neither_infinite_nor_denormal_before_they_are_added():
    big, small = np.float32(2.0**100), np.float32(2.0**-70)
    a, b = np.float32([[big, -big]]), np.float32([[big], [big]])
    # The sum of the odd one is infinite; the even product, 2^200, is not, so that it is no NaN.
    assert product(a, b)[0, 0] == -np.inf
    a, b = np.float32([[small, 0]]), np.float32([[small], [0]])
    for before, after in ((2.0**-126, 2.0**-126 + 2.0**-140), (0.0, 0.0)):
        assert product(a, b, np.float32([[before]]), add=True)[0, 0] == after
    # 2^-126 - 2^-150 is halfway to what is denormal, and counts as denormal: after rounding to 24
    # digits it is.
    out = np.float32([[2.0**-126]])
    assert product(-np.float32([[2.0**-75]]), np.float32([[2.0**-75]]), out, add=True)[0, 0] == 0
    out = np.float32([[2.0**-126]])
    product(-np.float32([[2.0**-75]]), np.float32([[2.0**-76]]), out, add=True)
    assert out[0, 0] == np.float32(2.0**-126)
    out = np.float32([[2.0**127 * 1.5]])  # twice this is too large, but not after a subtraction
    assert product(-np.float32([[2.0**64]]), np.float32([[2.0**64]]), out, add=True) == -(2.0**126)


def test_float32_operands_are_rounded_and_stored_ones_taken_as_they_are():
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 3, 5), (5, 4)))
    wanted = product(rounded(a), rounded(b))
    assert wanted.shape == (2, 3, 4) and wanted.dtype == np.float32
    for left in (a, stored(a)):
        for right in (b, stored(b)):
            assert_same(product(left, right), wanted)
    assert not np.array_equal(wanted, a @ b)


def test_the_error_stays_below_its_bound():
    rng = np.random.default_rng(1)
    for inner in (1, 10, 300):
        a, b = rng.standard_normal((7, inner)), rng.standard_normal((inner, 6))
        a, b = a.astype(np.float32), b.astype(np.float32)
        error = np.abs(product(a, b) - a.astype(np.float64) @ b)
        unit = 2.0**-8
        bound = (2 * unit + unit**2 + inner * 2.0**-24) * (np.abs(a).astype(np.float64) @ np.abs(b))
        assert (error <= bound).all()
        assert error.max() > 1e-4 * bound.max()  # operands are rounded
