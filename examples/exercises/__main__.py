"""Twelve exercises: the forward is given, you write the backward, and are told what is wrong.

python -m examples.exercises                     which there are, and how far you have come
python -m examples.exercises 3                   check yours
python -m examples.exercises 3 --hint            a push in the right direction
python -m examples.exercises 3 --derivation      the way to the answer, step by step
python -m examples.exercises 3 --file=mine.py    check another file than the one in this folder
"""

import argparse
import runpy
import sys
import traceback
from pathlib import Path
from typing import Any

import gpt_numpy as gn
from examples.exercises.known_mistakes import known_mistakes

HERE = Path(__file__).parent
EXERCISES = sorted(HERE.glob("[0-9]*.py"))


def main(words: list[str] | None = None) -> int:
    """List the exercises or check one: 0 if it is right, 1 if not, 2 if it does not run."""
    lines = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(
        prog="python -m examples.exercises", description=lines[0], epilog="See examples/README.md."
    )
    numbers = range(1, len(EXERCISES) + 1)
    parser.add_argument("number", type=int, nargs="?", choices=numbers, metavar="1...12")
    parser.add_argument("--hint", action="store_true", help="a push in the right direction")
    parser.add_argument("--derivation", action="store_true", help="the way to the answer")
    parser.add_argument("--file", type=Path, help="check this file instead of the one here")
    options = parser.parse_args(words)
    if options.number is None:
        return overview()
    path = EXERCISES[options.number - 1]
    if options.hint or options.derivation:
        solution = runpy.run_path(str(HERE / "solutions" / path.name))
        print(solution["__doc__" if options.derivation else "HINT"].strip())
        return 0
    return check(options.number, options.file or path)


def overview() -> int:
    """Print a line for each exercise."""
    for number, path in enumerate(EXERCISES, 1):
        try:
            report = grade(number, path)
            state = "right" if report.ok else "not begun" if not_begun(report) else "not yet right"
        except Exception:
            state = "does not run"
        print(f"{number:2}  {path.stem[3:]:<15} {state}")
    print(f"\nOpen {shown(EXERCISES[0])}, write its backward, then: python -m examples.exercises 1")
    return 0


def grade(number: int, path: Path) -> Any:
    """The report on the backward in a file, as `gn.check_layer` gives it."""
    names = runpy.run_path(str(path))
    for name in ("forward", "backward", "inputs", "outputs"):
        if name not in names:
            raise gn.InputError(f"it has no {name!r}: start from {EXERCISES[number - 1]}")
    solution = runpy.run_path(str(HERE / "solutions" / EXERCISES[number - 1].name))
    return gn.check_layer(
        names["forward"],
        names["backward"],
        names["inputs"],
        names["outputs"],
        mistakes=solution.get("MISTAKES", known_mistakes),
    )


def shown(path: Path) -> Path:
    """The path from where one is, if it is below."""
    inside = path.is_absolute() and path.is_relative_to(Path.cwd())
    return path.relative_to(Path.cwd()) if inside else path


def not_begun(report: Any) -> bool:
    """Whether nothing at all was written."""
    return all("nothing was written" in " ".join(row.diagnosis) for row in report.rows)


def check(number: int, path: Path) -> int:
    """Check one exercise and say what is wrong."""
    again = f"python -m examples.exercises {number}"
    try:
        report = grade(number, path)
    except FileNotFoundError:
        print(f"there is no file {shown(path)}", file=sys.stderr)
        return 2
    except gn.InputError as error:
        print(f"{shown(path)} cannot be checked: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        last = traceback.format_exception_only(error)
        print(f"{shown(path)} does not run:\n{''.join(last).rstrip()}", file=sys.stderr)
        return 2
    if not_begun(report):
        print(f"Nothing is written yet. Open {shown(path)}, write its backward, then: {again}")
        print(
            "(`dx = ...` only gives the name dx to another array; `dx[...] = ...` writes into it.)"
        )
        if any("returned something" in " ".join(row.diagnosis) for row in report.rows):
            print("Your backward returns something, which nobody takes: write it into the arrays.")
        return 1
    print(report)
    if not report.ok:
        print(f"\nA hint: {again} --hint; the derivation: {again} --derivation")
        return 1
    following = (
        f" Next: exercise {number + 1}." if number < len(EXERCISES) else " That was the last."
    )
    print(f"\nRight: every gradient is exact.{following}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
