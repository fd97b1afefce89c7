"""Grade an exercise of the forward kind: what the learner's function writes, case by case.

Its solution has, in addition to the right function, `changed(**parts)`, which builds that function
with some of its parts exchanged, and `CHANGES`: pairs of a sentence and the parts that this mistake
exchanges. Two mistakes in different parts are recognised as well.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from examples.exercises.running import CannotRun, guarded, line_of
from examples.exercises.terms import ROUNDED, ratio_in_words, rounding
from gpt_numpy.base.arrays import Array
from gpt_numpy.gradients.diagnosis.regions import where
from gpt_numpy.gradients.diagnosis.wrong_gradient import Clues, WrongGradient
from gpt_numpy.gradients.layer_protocol import UNWRITTEN, unwritten
from gpt_numpy.gradients.report import Report, TensorCheck

TOLERANCE = 1e-10
_LIKELY = "is something computed in float32, or is a small number added, such as 1e-8"
Written = list[dict[str, Array]]  # what a function writes in each case, by name


class ForwardReport(Report):
    """The comparison of a forward: it has outputs, not gradients."""

    def _below(self) -> list[str]:
        wrong = [row.name for row in self.rows if not row.ok]
        summary = f"{' and '.join(wrong)} {'are' if len(wrong) > 1 else 'is'} WRONG"
        error = f"largest error {self.worst.error:.1e}, tolerance {self.tolerance:.0e}"
        return [self.method, f"{summary if wrong else 'all exact'}; {error}"]


def grade_forward(
    given: Mapping[str, Any], solution: Mapping[str, Any], function: Any, path: Path
) -> Report:
    """Compare what the learner's function writes with the solution's."""
    asked = given["ASKED"]

    def run(function: Any, fill: float = UNWRITTEN) -> Written:
        return [_written(function, case, given["outputs"], fill) for case in given["cases"]]

    right = run(solution[asked])
    theirs, again, onto_ones = guarded(
        path, lambda: _refusing(path, lambda: [run(function), run(function), run(function, 1.0)])
    )
    rows = []
    for name in right[0]:
        hand, exact = [case[name] for case in theirs], [case[name] for case in right]
        row = _row(name, hand, exact, given, solution)
        if not row.ok:
            others = [case[name] for case in again], [case[name] for case in onto_ones]
            said = _about_running(name, hand, *others) or _known(name, hand, run, solution)
            row = _with(row, said) if said else row
        rows.append(row)
    count = len(given["cases"])
    method = f"compared in {count} case{'s' if count > 1 else ''}, float64"
    return ForwardReport(tuple(rows), method, TOLERANCE, 0.0)


def copies(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs, with every array copied: what a learner does to them stays there."""
    return {n: v.copy() if isinstance(v, np.ndarray) else v for n, v in inputs.items()}


def equal(a: Array, b: Array) -> bool:
    """Whether two arrays are the same up to rounding, NaN included."""
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-9, atol=1e-12, equal_nan=True)


def _written(function: Any, case: Mapping[str, Any], outputs: Any, fill: float) -> dict[str, Array]:
    """What a function writes, from inputs that it cannot change."""
    inputs = copies(case)
    for value in inputs.values():
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
    written = {name: np.full(shape, fill) for name, shape in outputs(case).items()}
    with np.errstate(all="ignore"):
        function(**inputs, **written)
    return written


def _refusing(path: Path, function: Callable[[], Any]) -> Any:
    """What `function` returns; `CannotRun` in plain words if it changes an input."""
    try:
        return function()
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        where = line_of(path, error)
        name = re.search(r"\n?.*: (\w+)(\[| *[-+*/@]?=|\.)", where)
        subject = "what" if not name or name[1] in ("np", "for") else f"{name[1]}, which"
        raise CannotRun(
            f"{where}it changes {subject} is an input: that may only be read"
        ) from error


def _about_running(name: str, hand: list[Array], again: list[Array], ones: list[Array]) -> str:
    """What is wrong with the way of writing, whatever the numbers are."""
    if all(np.isnan(array).all() for array in hand):
        if all(np.all(array == 1) for array in ones):
            return f"nothing was written to {name}: {name}[...] = ... writes into the array"
        if all(np.isfinite(array).all() for array in ones):
            return (
                f"{name} += ... adds to what was in the array before, which may be anything: "
                f"write {name}[...] = ... first"
            )
    left = sum(int(unwritten(array).sum()) for array in hand)
    if left and not all(np.isnan(array).all() for array in hand):
        return f"{left:,} of {sum(a.size for a in hand):,} elements of {name} were not written"
    if not any(array.any() for array in hand):
        return f"{name} is 0 everywhere"
    if not all(equal(a, b) for a, b in zip(hand, again, strict=True)):
        return f"{name} is different each time: no random numbers may be drawn here"
    return ""


def mistakes(solution: Mapping[str, Any]) -> Iterator[tuple[str, Callable[..., None]]]:
    """Every known mistake, then every two of them in different parts."""
    changed, changes = solution["changed"], solution["CHANGES"]
    for sentence, parts in changes:
        yield sentence, changed(**parts)
    for (one, a), (other, b) in itertools.combinations(changes, 2):
        if not a.keys() & b.keys() and "whole" not in a.keys() | b.keys():
            yield f"{one}; and {other}", changed(**a, **b)


def _known(name: str, hand: list[Array], run: Any, solution: Mapping[str, Any]) -> str:
    """The sentence of the first mistake that writes the same in every case."""
    for sentence, function in mistakes(solution):
        made = (case[name] for case in run(function))
        if all(equal(a, b) for a, b in zip(hand, made, strict=True)):
            return sentence
    return ""


def _with(row: TensorCheck, sentence: str) -> TensorCheck:
    which = row.diagnosis[0].partition(": ")[0] + ": " if row.diagnosis[0].startswith("in ") else ""
    return TensorCheck(row.name, row.shape, row.norm, row.error, False, (which + sentence,))


def _row(
    name: str,
    hand: list[Array],
    exact: list[Array],
    given: Mapping[str, Any],
    solution: Mapping[str, Any],
) -> TensorCheck:
    """The row of the first case that is not right, roundings last, with the plain facts."""
    scales = [float(np.abs(b).max(initial=0)) or 1.0 for b in exact]
    pairs = zip(hand, exact, scales, strict=True)
    errors = [float(np.abs(a - b).max(initial=0)) / scale for a, b, scale in pairs]
    wrong = [k for k, error in enumerate(errors) if not error <= TOLERANCE]
    worse = [k for k in wrong if not errors[k] < ROUNDED]
    k = (worse or wrong or [0])[0]
    a, b, norm = hand[k], exact[k], float(np.linalg.norm(hand[k]))
    if not wrong:
        return TensorCheck(name, b.shape, norm, max(errors), True)
    which = f"in case {k + 1} of {len(hand)}: " if len(hand) > 1 else ""
    clues = Clues(axes=solution.get("AXES", {}).get(name, ()))
    if not worse:
        return TensorCheck(
            name, b.shape, norm, max(errors), False, (rounding(max(errors), _LIKELY),)
        )
    facts = list(_facts(WrongGradient(a, b, scales[k], TOLERANCE, clues), name, given["cases"][k]))
    return TensorCheck(name, b.shape, norm, errors[k], False, (which + facts[0], *facts[1:]))


def _facts(pair: WrongGradient, name: str, case: Mapping[str, Any]) -> Iterator[str]:
    """What can be seen of a wrong output without knowing the mistake."""
    a, b = pair.hand, pair.exact
    bad = ~np.isfinite(a)
    if bad.any():
        yield f"{int(bad.sum()):,} of {bad.size:,} elements are not finite numbers"
        return
    yield where(pair)
    c = float((a * b).sum() / (b * b).sum())
    if np.abs(a - c * b).max() <= pair.match:
        words = ratio_in_words(c, _sizes(case))
        yield f"{name} is {c:.6g} times what it should be{f' ({words})' if words else ''}"
        return
    rows = a.sum(axis=-1)
    if b.ndim > 1 and np.allclose(b.sum(axis=-1), 1) and not np.allclose(rows, 1):
        yield f"its rows do not sum to 1: the first one to {rows.flat[0]:.4g}"
    yield "no known mistake gives these numbers"


def _sizes(case: Mapping[str, Any]) -> dict[str, float]:
    """Sizes of the arrays of a case, by name: what a wrong factor may be."""
    return {
        f"length of axis {k} of {name}": float(size)
        for name, value in case.items()
        if isinstance(value, np.ndarray)
        for k, size in enumerate(value.shape)
    }
