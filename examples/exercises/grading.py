"""Grade an exercise: run the learner's function, compare, and explain what is wrong.

Exercises of the backward kind define `forward`, `inputs` and `outputs`, and ask for `backward`;
those of the forward kind define `cases` and `outputs`, and ask for the function named in `ASKED`
(if it calls another one that the learner writes, that is `WRITTEN`).
What is asked is taken from the learner's file, everything else from the exercise here, so that a
changed example hides nothing.
"""

import ast
import dataclasses
import runpy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import gpt_numpy as gn
from examples.exercises.forward_grading import copies, equal, grade_forward
from examples.exercises.known_mistakes import known_mistakes
from examples.exercises.running import CannotRun, guarded, load
from examples.exercises.terms import ROUNDED, explain, rounding, unnamed
from gpt_numpy.base.arrays import Array
from gpt_numpy.gradients.diagnosis.clues import layer_clues
from gpt_numpy.gradients.diagnosis.regions import where as where_wrong
from gpt_numpy.gradients.diagnosis.wrong_gradient import Clues, WrongGradient
from gpt_numpy.gradients.layer_protocol import Layer, unwritten
from gpt_numpy.gradients.report import Report, TensorCheck

HERE = Path(__file__).parent
TOLERANCE = 1e-10
_LIKELY = "is something computed in float32, with a constant of few digits, or without EPS"


def exercise_of(stem: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the exercise and its solution define."""
    return (
        runpy.run_path(str(HERE / f"{stem}.py")),
        runpy.run_path(str(HERE / "solutions" / f"{stem}.py")),
    )


def grade(stem: str, path: Path) -> Report:
    """The report on a learner's file; `CannotRun` if it stops, `FileNotFoundError` without one."""
    given, solution = exercise_of(stem)
    names = load(path)
    asked = given.get("ASKED", "backward")
    if not callable(names.get(asked)):
        raise CannotRun(f"there is no function {asked!r}: start from {stem}.py")
    if asked != "backward":
        return grade_forward(given, solution, names[asked], path)
    _check_unchanged(given, names, path)
    return _grade_backward(given, solution, names["backward"], path)


def nothing_written(stem: str, path: Path) -> bool:
    """Whether the function that is asked for has no statement yet, apart from its docstring."""
    given, _ = exercise_of(stem)
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError:
        return False
    asked = given.get("WRITTEN", given.get("ASKED", "backward"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == asked:
            return all(isinstance(line, ast.Expr | ast.Pass) for line in node.body)
    return False


def _check_unchanged(given: Mapping[str, Any], names: Mapping[str, Any], path: Path) -> None:
    """Refuse a file whose forward computes something else: its gradient would be another one."""
    if not callable(names.get("forward")):
        raise CannotRun("there is no function 'forward': start from the exercise's own file")

    def outputs(forward: Any) -> dict[str, Array]:
        written = {name: np.full(shape, np.nan) for name, shape in given["outputs"].items()}
        forward(**copies(given["inputs"]), **written)
        return written

    right, theirs = outputs(given["forward"]), guarded(path, lambda: outputs(names["forward"]))
    for name, array in right.items():
        if not np.allclose(theirs[name], array, rtol=1e-12, atol=1e-12):
            raise CannotRun(
                f"its forward was changed: it writes another {name!r} than the exercise's. Put the "
                "lines of forward back; only backward is yours to write"
            )


def _grade_backward(
    given: Mapping[str, Any], solution: Mapping[str, Any], backward: Any, path: Path
) -> Report:
    arrays: dict[str, Any] = {}

    def mistakes(found: Mapping[str, Any]) -> Iterator[tuple[str, str, Array]]:
        arrays.update(found)
        yield from known_mistakes(found)

    constants = given.get("CONSTANTS", ())
    example = given["inputs"], given["outputs"]
    layer = Layer(given["forward"], backward, *example, constants=constants)

    def check() -> tuple[Report, dict[str, Array], dict[str, Array]]:
        report = gn.check_layer(
            given["forward"], backward, *example, constants=constants, mistakes=mistakes
        )
        kept = {name: arrays[name] for name in given["outputs"]}
        with np.errstate(all="ignore"):
            written = layer.run_backward(kept, arrays["dout"])[0]
        right = layer.run_backward(kept, arrays["dout"], function=solution["backward"])[0]
        return report, written, right

    with np.errstate(all="ignore"):
        report, written, right = guarded(path, check)
        rows = {row.name: row for row in report.rows}
        wrong = {name: written[name] for name, row in rows.items() if not row.ok}
        order = solution.get("STEPS", rows)
        explained = (_explained(rows[name], wrong, right[name], arrays, solution) for name in order)
        return dataclasses.replace(report, rows=tuple(explained))


def _explained(
    row: TensorCheck,
    wrong: Mapping[str, Array],
    right: Array,
    arrays: Mapping[str, Any],
    solution: Mapping[str, Any],
) -> TensorCheck:
    """The row, with what the terms of the derivation say in the place of a vaguer diagnosis.

    wrong : the wrong gradients, as the learner wrote them.
    right : what this gradient should be.
    """
    if row.ok:
        return row
    hand = wrong[row.name]
    left = unwritten(hand)
    row = _with_named_axes(row, hand, right, solution)
    remarks = [text for text in row.diagnosis if _is_about_writing(text)]
    where = [text for text in row.diagnosis if text.startswith("wrong in")]
    if left.all() or any("adds to what was" in text for text in remarks):
        return row
    if row.error < ROUNDED and not left.any():
        return dataclasses.replace(row, diagnosis=(rounding(row.error, _LIKELY),))
    if not left.any():
        given_theirs = _after_wrong_step(row.name, wrong, arrays, solution)
        if given_theirs:
            place = () if given_theirs.startswith("follows") else where
            return dataclasses.replace(row, diagnosis=(*place, given_theirs))
    terms = solution["terms"](**arrays)[row.name]
    found = _written_part(hand, left, terms) if left.any() else []
    if not left.any():
        found = _in_words(row.name, hand, right, terms, arrays, solution)
    if not found:
        # Without terms that fit, a guess at a missing mean would be no more than that.
        facts = (text.partition(": a sum or a mean over the")[0] for text in row.diagnosis)
        return dataclasses.replace(row, diagnosis=tuple(facts))
    return dataclasses.replace(row, diagnosis=(*remarks, *where, "; ".join(found)))


def _with_named_axes(
    row: TensorCheck, hand: Array, right: Array, solution: Mapping[str, Any]
) -> TensorCheck:
    """The row, in which the solution's names of the axes say where it is wrong."""
    axes = solution.get("AXES", {}).get(row.name)
    if not axes or not any(text.startswith("wrong in") for text in row.diagnosis):
        return row
    scale = float(np.abs(right).max(initial=0)) or 1.0
    place = where_wrong(WrongGradient(hand, right, scale, TOLERANCE, Clues(axes=axes)))
    texts = (place if text.startswith("wrong in") else text for text in row.diagnosis)
    return dataclasses.replace(row, diagnosis=tuple(texts))


def _after_wrong_step(
    name: str, wrong: Mapping[str, Array], arrays: Mapping[str, Any], solution: Mapping[str, Any]
) -> str:
    """What is wrong with a step of several, given the learner's own wrong result of the one before.

    `STEPS` of a solution has, in the order of backward, the gradient that each one is made from.
    """
    before = solution.get("STEPS", {}).get(name, "")
    if before not in wrong or not np.isfinite(wrong[before]).all():
        return ""
    hand, theirs = wrong[name], {before: wrong[before]}
    terms = solution["terms"](**arrays, **theirs)[name]
    if equal(hand, sum(term.coefficient * term.array for term in terms)):
        return f"follows from your {before}, and is right for that: fix {before} first"
    found = explain(hand, terms, layer_clues(arrays).numbers)
    return f"{'; '.join(found)} (in addition to the mistake in your {before})" if found else ""


def _in_words(
    name: str,
    hand: Array,
    right: Array,
    terms: Any,
    arrays: Mapping[str, Any],
    solution: Mapping[str, Any],
) -> list[str]:
    """What is wrong with a gradient that was written as a whole; [] if that is not known."""
    numbers, dout = layer_clues(arrays).numbers, arrays["dout"]

    def recognised(gradient: Array) -> list[str]:
        return list(solution.get("recognise", _nothing)(name, gradient, **arrays))

    def explained(gradient: Array) -> list[str]:
        found = explain(gradient, terms, numbers)
        return found or _in_rows_that_count(gradient, right, terms, arrays)

    found = recognised(hand) or _array_itself(hand, arrays)
    if found:
        return found

    def odd(gradient: Array) -> bool:
        return unnamed(_rows_that_count(gradient, right, arrays), terms, numbers)

    found = explained(hand)
    if dout.ndim or found and not odd(hand):
        return found
    # A single number as dout is easily left out, together with something else.
    whole = hand * dout
    others = recognised(whole) or (explained(whole) if not odd(whole) else [])
    return ["dout is left out", *others] if others else found


def _in_rows_that_count(
    hand: Array, right: Array, terms: Any, arrays: Mapping[str, Any]
) -> list[str]:
    """What is wrong with the rows that count, where those with target -1 are wrong as well."""
    among = _rows_that_count(hand, right, arrays)
    if equal(among, hand):
        return []
    found = explain(among, terms, layer_clues(arrays).numbers)
    not_0 = ["rows that do not count (target -1) are not 0"]
    return [*not_0, *found] if found or equal(among, right) else []


def _rows_that_count(hand: Array, right: Array, arrays: Mapping[str, Any]) -> Array:
    """The gradient, with what it should be in the rows with target -1."""
    kept = np.asarray(arrays.get("targets", 0)) >= 0
    return hand if kept.shape != hand.shape[:-1] else np.where(kept[..., None], hand, right)


def _written_part(hand: Array, left: Array, terms: Any) -> list[str]:
    """The one thing that gives what was written, where some elements were not."""
    for term in terms:
        for sentence, array in {"": term.array, **term.instead}.items():
            same = np.allclose(hand[~left], array[~left], rtol=1e-9, atol=1e-12)
            if same and not np.abs(array[left]).max(initial=0) > 0:
                return [sentence] if sentence else []
    return []


def _array_itself(hand: Array, arrays: Mapping[str, Any]) -> list[str]:
    """Whether the gradient is one of the arrays around it, unchanged."""
    if not np.abs(hand).max(initial=0):
        return []
    for name, array in arrays.items():
        if np.shape(array) == hand.shape and array.dtype == hand.dtype and equal(hand, array):
            return [f"it is {name} itself"]
    return []


def _is_about_writing(text: str) -> bool:
    return "written" in text or "rebinds" in text or "layers assign" in text


def _nothing(name: str, hand: Array, **_: Any) -> Iterator[str]:
    return iter(())
