"""Explain a wrong gradient by least squares on the terms of its derivation.

A derivation ends in a sum, such as layer norm's

    dx = rstd * dxhat - rstd * mean(dxhat) - rstd * xhat * mean(dxhat * xhat)

whose coefficients are +1, -1 and -1. The gradient under test is fitted with these three arrays. If
the fit is exact, its coefficients say what is wrong: +1 where -1 belongs, 0 where a term is
missing, 7 where a sum stands for a mean. If it is not, one term after the other is replaced by
something that is easily written in its place, or multiplied or divided by one of its factors, and
fitted again. A fit counts only if it explains every element to eight digits, and, where a term was
replaced, if its coefficients are numbers that a mistake gives: 0, -1, 2, 1/2, or a size of the
layer.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gpt_numpy.base.arrays import Array

MATCH = 1e-8  # largest deviation of a fit, relative to the largest element
SAME = 1e-6  # largest relative deviation of a coefficient from one that has a name
LARGEST_CONDITION = 1e6  # of the terms as columns: beyond it their coefficients mean nothing
ROUNDED = 1e-5  # errors below it are roundings, such as those of float32
MOST_PAIRS = 3000


class Term(NamedTuple):
    """A term of a gradient.

    coefficient : the right one; 0 for an array that is easily added and does not belong there.
    text : how the term is written in the derivation.
    factors : its factors, by name: one may be missing, or be there twice.
    instead : what is easily written in its place, by a sentence that says what was done.
    """

    coefficient: float
    text: str
    array: Array
    factors: Mapping[str, Array] = {}
    instead: Mapping[str, Array] = {}


class Fit(NamedTuple):
    """Coefficients that reproduce a gradient, and what was replaced to get there."""

    coefficients: Array
    replaced: Mapping[int, str]


def explain(hand: Array, terms: Sequence[Term], numbers: Mapping[str, float]) -> list[str]:
    """Sentences that say how `hand` differs from the sum of the terms; [] if no fit is exact.

    numbers : sizes of the layer by name, of which a coefficient may be a power.
    """
    if not np.isfinite(hand).all() or not np.abs(hand).max(initial=0):
        return []
    right = np.array([term.coefficient for term in terms], float)
    own = _fit(hand, [term.array for term in terms])
    if own is not None and not _plausible(own, right, numbers, hand.size):
        own = None
    if own is not None and all(_plain(c, r) for c, r in zip(own, right, strict=True)):
        return _sentences(Fit(own, {}), terms, numbers)
    # Otherwise the fewest deviations win: a replaced term with the right coefficients, then odd
    # coefficients of the right terms, then both, then two replaced terms.
    found: list[tuple[int, list[str]]] = []
    if own is not None:
        found.append((3, _sentences(Fit(own, {}), terms, numbers)))
    for replaced in _replacements(terms):
        arrays = [replaced[k][1] if k in replaced else t.array for k, t in enumerate(terms)]
        fit = _fit(hand, arrays)
        if fit is None or not all(_named(c, r, numbers) for c, r in zip(fit, right, strict=True)):
            continue
        if any(abs(fit[k]) < SAME for k in replaced):
            continue  # without the term that was replaced: that is another mistake
        names = {k: sentence for k, (sentence, _) in replaced.items()}
        deviations = 2 * len(set(names.values())) + int((np.abs(fit - right) > SAME).sum())
        found.append((deviations, _sentences(Fit(fit, names), terms, numbers)))
        if deviations <= 2:
            break
    return min(found, key=lambda pair: pair[0])[1] if found else []


def unnamed(hand: Array, terms: Sequence[Term], numbers: Mapping[str, float]) -> bool:
    """Whether the terms fit, but with a coefficient that no mistake of one step gives."""
    fit = _fit(hand, [term.array for term in terms])
    pairs = zip(() if fit is None else fit, terms, strict=fit is not None)
    return not all(_named(c, term.coefficient or 1.0, numbers) for c, term in pairs)


def _plain(c: float, right: float) -> bool:
    """Whether a coefficient is right, or wrong in a way that needs no second guess."""
    if abs(c - right) < SAME or abs(c) < SAME or not right:
        return True
    return any(abs(abs(c / right) - size) < SAME for size in (1, 2, 0.5))


def _fit(hand: Array, arrays: Sequence[Array]) -> Array | None:
    """The coefficients with which the arrays add up to `hand`, if there are some."""
    # Equal scales, so that the condition number speaks of directions alone.
    sizes = np.array([np.abs(array).max() or 1.0 for array in arrays])
    alike = [np.broadcast_to(array, hand.shape).ravel() for array in arrays]
    columns = np.stack([a / size for a, size in zip(alike, sizes, strict=True)], axis=1)
    if not np.isfinite(columns).all():
        return None
    singular = np.linalg.svd(columns, compute_uv=False)
    if singular[-1] * LARGEST_CONDITION < singular[0] or columns.shape[0] < len(arrays):
        return None
    coefficients = np.linalg.lstsq(columns, hand.ravel(), rcond=None)[0]
    deviation = np.abs(columns @ coefficients - hand.ravel()).max()
    if deviation > MATCH * np.abs(hand).max():
        return None
    return np.asarray(coefficients / sizes)


def _plausible(fit: Array, right: Array, numbers: Mapping[str, float], elements: int) -> bool:
    """Whether coefficients of the right terms are worth reporting.

    Any are, unless there are few elements, where a fit is exact for any gradient.
    """
    if np.allclose(fit, right, rtol=0, atol=1e-9):
        return False
    if elements >= 3 * len(fit):
        return True
    return all(_named(c, r, numbers) for c, r in zip(fit, right, strict=True))


def _replacements(terms: Sequence[Term]) -> Iterator[dict[int, tuple[str, Array]]]:
    """Terms to replace, the fewest first: by index, what was done and the array in its place."""
    # The same sentence in several terms is one mistake, in something on which they all depend.
    often = Counter(sentence for term in terms for sentence in term.instead)
    for sentence, count in often.items():
        if count > 1:
            having = [k for k, term in enumerate(terms) if sentence in term.instead]
            yield {k: (sentence, terms[k].instead[sentence]) for k in having}
    for name in sorted({name for term in terms for name in term.factors}):
        having = [k for k, term in enumerate(terms) if name in term.factors]
        for power, words in _MISTAKEN_POWERS.items() if len(having) > 1 else ():
            with np.errstate(all="ignore"):
                yield {
                    k: (words.format(name), terms[k].array * terms[k].factors[name] ** power)
                    for k in having
                }
    single = [[(k, *variant) for variant in _variants(term, often)] for k, term in enumerate(terms)]
    for k, sentence, array in itertools.chain.from_iterable(single):
        yield {k: (sentence, array)}
    yield from _pairs(single)


def _pairs(single: list[list[tuple[int, str, Array]]]) -> Iterator[dict[int, tuple[str, Array]]]:
    """Two terms to replace, each by one of its variants."""
    both = (itertools.product(a, b) for a, b in itertools.combinations(single, 2))
    for first, second in itertools.islice(itertools.chain.from_iterable(both), MOST_PAIRS):
        yield {first[0]: first[1:], second[0]: second[1:]}


_MISTAKEN_POWERS = {
    -2: "it is divided by {} where it should be multiplied with it,",
    -1: "the factor {} is missing",
    1: "{} is one factor too many",
    2: "{} is two factors too many",
}


def _variants(term: Term, often: Mapping[str, int]) -> Iterator[tuple[str, Array]]:
    """What may stand in the place of a term; `often`: in how many terms each sentence occurs."""
    likely = [_powers(term, power) for power in (-1, 1)]
    yield from itertools.chain.from_iterable(likely)
    for sentence, array in term.instead.items():
        yield (f"{sentence} (in {term.text})" if often[sentence] > 1 else sentence), array
    rare = [_powers(term, power) for power in (-2, 2)]
    yield from itertools.chain.from_iterable(rare)


def _powers(term: Term, power: int) -> Iterator[tuple[str, Array]]:
    """The term, multiplied with a power of each of its factors."""
    words = _MISTAKEN_POWERS[power]
    for name, factor in term.factors.items():
        with np.errstate(all="ignore"):
            yield f"{words.format(name)} in {term.text}", term.array * factor**power


def rounding(error: float, likely: str) -> str:
    """What an error below `ROUNDED` is, and where it is `likely` from."""
    digits = int(-np.log10(error)) if error else 16
    return f"right to {digits} digits, which is no mistake in the formula but a rounding: {likely}?"


def divided_by_all_rows(hand: Array, right: Array, kept: Array) -> Iterator[str]:
    """Say that a mean over the `kept` rows was taken over all of them; their gradient decides."""
    if np.allclose(hand[kept] * len(kept), right[kept] * kept.sum(), rtol=0, atol=1e-9):
        yield f"it is divided by all {len(kept)} rows, not by the {kept.sum()} that count"
        if np.abs(hand[~kept]).max(initial=0):
            yield "rows that do not count (target -1) are not 0"


def _named(c: float, right: float, numbers: Mapping[str, float]) -> bool:
    """Whether a mistake gives this coefficient: it is right, missing, or off by a known factor."""
    if abs(c - right) < SAME or abs(c) < SAME:
        return True
    return bool(right) and bool(ratio_in_words(c / right, numbers))


def ratio_in_words(ratio: float, numbers: Mapping[str, float]) -> str:
    """What a wrong factor is, in words; "" if it is not known."""
    if abs(ratio + 1) < SAME:
        return "the sign"
    size = abs(ratio)
    for known, words in ((2.0, "twice"), (0.5, "half")):
        if abs(size / known - 1) < SAME:
            return words
    for name, n in numbers.items():
        for power, words in _POWERS.items():
            if n > 0 and abs(n - 1) > SAME and abs(size / n**power - 1) < SAME:
                return words.format(name=name, n=f"{n:g}")
    return ""


_POWERS = {
    1.0: "a factor {n}, the {name}, too many",
    -1.0: "divided once too often by the {name}, {n}",
    0.5: "a factor sqrt({name}) = sqrt({n}) too many",
    -0.5: "divided once too often by sqrt({name}) = sqrt({n})",
}


def _sentences(fit: Fit, terms: Sequence[Term], numbers: Mapping[str, float]) -> list[str]:
    right = np.array([term.coefficient for term in terms], float)
    sentences = list(dict.fromkeys(fit.replaced.values()))
    belong = right != 0
    ratios = fit.coefficients[belong] / right[belong]
    alike = np.ptp(ratios) < SAME * np.abs(ratios).max(initial=1.0)
    if belong.sum() > 1 and alike and abs(ratios[0] - 1) > SAME:
        words = ratio_in_words(ratios[0], numbers)
        about = f" ({words})" if words not in ("", "the sign") else ""
        sentences.append(f"the whole is {ratios[0]:.6g} times what it should be{about}")
        terms = [term for term in terms if not term.coefficient]
        fit = Fit(fit.coefficients[~belong], {})
    whole, named = _whole_parts(fit.coefficients, terms, numbers)
    for c, term in zip(fit.coefficients, terms, strict=True):
        if abs(c - term.coefficient) > SAME and _part(term) not in named:
            sentences.append(_coefficient(c, term, numbers))
    return sentences + whole


def _part(term: Term) -> str:
    """The part of a gradient that a term belongs to: "dQ" of "(p * dp) @ K in dQ"; "" if none."""
    return term.text.rpartition(" in ")[2] if " in d" in term.text else ""


def _whole_parts(
    coefficients: Array, terms: Sequence[Term], numbers: Mapping[str, float]
) -> tuple[list[str], set[str]]:
    """Sentences about parts of several terms with one wrong factor in all of them, and these."""
    ratios: dict[str, list[float]] = {}
    for c, term in zip(coefficients, terms, strict=True):
        if term.coefficient and _part(term):
            ratios.setdefault(_part(term), []).append(c / term.coefficient)
    parts: dict[str, list[str]] = {}
    for part, some in ratios.items():
        one = len(some) > 1 and np.ptp(some) < SAME
        if one and min(abs(some[0]), abs(some[0] - 1)) > SAME:
            parts.setdefault(f"{some[0]:.4g}", []).append(part)
    sentences = []
    for ratio, having in parts.items():
        about = _about(ratio_in_words(ratios[having[0]][0], numbers))
        verb, it = ("are", "they") if len(having) > 1 else ("is", "it")
        sentences.append(f"{' and '.join(having)} {verb} {ratio} times what {it} should be{about}")
    return sentences, {part for having in parts.values() for part in having}


def _coefficient(c: float, term: Term, numbers: Mapping[str, float]) -> str:
    """One wrong coefficient in words."""
    if abs(c) < SAME:
        return f"{'' if term.text.startswith('the ') else 'the term '}{term.text} is missing"
    if not term.coefficient:
        return f"{_number(c)} times {term.text} is there and should not be"
    about = _about(ratio_in_words(c / term.coefficient, numbers))
    return f"{_number(c)} where {_number(term.coefficient)} belongs, before {term.text}{about}"


def _about(words: str) -> str:
    return {"the sign": ": the sign is wrong", "": ""}.get(words, f" ({words})")


def _number(c: float) -> str:
    return f"{c:+.4g}"
