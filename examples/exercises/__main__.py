"""Twelve exercises: forward is given, you write backward, and the grader explains what is wrong.

python -m examples.exercises                     the list, and your progress
python -m examples.exercises 3                   check your solution
python -m examples.exercises 3 --hint            a hint
python -m examples.exercises 3 --derivation      the derivation, step by step
python -m examples.exercises 3 --file=mine.py    check another file instead
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
    """List the exercises, or check one; return 0 if it is right, 1 if not, 2 if it does not run."""
    lines = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(
        prog="python -m examples.exercises", description=lines[0], epilog="See examples/README.md."
    )
    numbers = range(1, len(EXERCISES) + 1)
    parser.add_argument("number", type=int, nargs="?", choices=numbers, metavar="1...12")
    parser.add_argument("--hint", action="store_true", help="print a hint")
    parser.add_argument("--derivation", action="store_true", help="print the derivation")
    parser.add_argument("--file", type=Path, help="check this file instead of the one here")
    options = parser.parse_args(words)
    if options.number is None:
        return overview()
    path = EXERCISES[options.number - 1]
    if options.hint or options.derivation:
        solution = runpy.run_path(str(HERE / "solutions" / path.name))
        print(solution["__doc__" if options.derivation else "HINT"].strip())
        return 0
    return check_exercise(options.number, options.file or path)


def overview() -> int:
    """Print a line for each exercise."""
    for number, path in enumerate(EXERCISES, 1):
        try:
            report = grade(number, path)
            state = "right" if report.ok else "not begun" if not_begun(report) else "not yet right"
        except Exception:
            state = "does not run"
        print(f"{number:2}  {path.stem[3:]:<15} {state}")
    first = relative(EXERCISES[0])
    print(f"\nOpen {first}, write its backward, then: python -m examples.exercises 1")
    return 0


def grade(number: int, path: Path) -> Any:
    """The report of `gn.check_layer` on the backward in a file."""
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


def relative(path: Path) -> Path:
    """The path relative to the current folder, if it is inside."""
    inside = path.is_absolute() and path.is_relative_to(Path.cwd())
    return path.relative_to(Path.cwd()) if inside else path


def not_begun(report: Any) -> bool:
    """Whether backward has written nothing at all."""
    return all("nothing was written" in " ".join(row.diagnosis) for row in report.rows)


def check_exercise(number: int, path: Path) -> int:
    """Check one exercise and print what is wrong; return the exit status."""
    again = f"python -m examples.exercises {number}"
    try:
        report = grade(number, path)
    except FileNotFoundError:
        print(f"there is no file {relative(path)}", file=sys.stderr)
        return 2
    except gn.InputError as error:
        print(f"{relative(path)} cannot be checked: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        last = traceback.format_exception_only(error)
        print(f"{relative(path)} does not run:\n{''.join(last).rstrip()}", file=sys.stderr)
        return 2
    if not_begun(report):
        print(f"Nothing is written yet. Open {relative(path)}, write its backward, then: {again}")
        print("(`dx = ...` only rebinds the name dx; `dx[...] = ...` writes into the array.)")
        if any("returned something" in " ".join(row.diagnosis) for row in report.rows):
            print("Your backward returns something, which is ignored: write it into the arrays.")
        return 1
    print(report)
    if not report.ok:
        print(f"\nA hint: {again} --hint; the derivation: {again} --derivation")
        return 1
    last = number == len(EXERCISES)
    following = "That was the last." if last else f"Next: exercise {number + 1}."
    print(f"\nRight: every gradient is exact. {following}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
