"""Exercises: you write a layer, forward or backward, and the grader explains what is wrong.

python -m examples.exercises                     the list, and your progress
python -m examples.exercises 3                   check your solution of exercise 3
python -m examples.exercises 3 --hint            a hint; --hint=2 and --hint=3 say more
python -m examples.exercises 3 --derivation      the derivation, step by step
python -m examples.exercises 3 --file=mine.py    check another file instead
"""

import argparse
import sys
from pathlib import Path

from examples.exercises.grading import HERE, exercise_of, grade, nothing_written
from examples.exercises.running import CannotRun
from examples.exercises.way import EXERCISES, after


def main(words: list[str] | None = None) -> int:
    """List the exercises, or check one; return 0 if it is right, 1 if not, 2 if it does not run."""
    lines = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(
        prog="python -m examples.exercises", description=lines[0], epilog="See examples/README.md."
    )
    numbers = ", ".join(EXERCISES)
    parser.add_argument("number", nargs="?", choices=EXERCISES, metavar="NUMBER", help=numbers)
    parser.add_argument(
        "--hint", type=int, nargs="?", const=1, choices=(1, 2, 3), help="print a hint: 1, 2 or 3"
    )
    parser.add_argument("--derivation", action="store_true", help="print the derivation")
    parser.add_argument("--file", type=Path, help="check this file instead of the one here")
    options = parser.parse_args(words)
    if options.number is None:
        return overview()
    stem = EXERCISES[options.number]
    if options.hint or options.derivation:
        _, solution = exercise_of(stem)
        text = solution["HINTS"][options.hint - 1] if options.hint else solution["__doc__"]
        print(text.strip())
        return 0
    return check_exercise(options.number, (options.file or HERE / f"{stem}.py").absolute())


def overview() -> int:
    """Print a line for each exercise, in the order of the course."""
    following = ""
    for number, stem in EXERCISES.items():
        path = HERE / f"{stem}.py"
        try:
            state = "not begun"
            if not nothing_written(stem, path):
                state = "right" if grade(stem, path).ok else "not yet right"
        except (CannotRun, FileNotFoundError):
            state = "does not run"
        if state != "right":
            following = following or number
        print(f"{number:>3}  {stem.partition('_')[2]:<16} {state}")
    if following:
        path = relative(HERE / f"{EXERCISES[following]}.py")
        print(f"\nNext: open {path}, then: python -m examples.exercises {following}")
    return 0


def relative(path: Path) -> Path:
    """The path relative to the current folder, if it is inside."""
    inside = path.is_absolute() and path.is_relative_to(Path.cwd())
    return path.relative_to(Path.cwd()) if inside else path


def check_exercise(number: str, path: Path) -> int:
    """Check one exercise and print what is wrong; return the exit status."""
    stem, again = EXERCISES[number], f"python -m examples.exercises {number}"
    try:
        report = grade(stem, path)
    except FileNotFoundError:
        print(f"there is no file {relative(path)}", file=sys.stderr)
        return 2
    except CannotRun as error:
        print(f"{relative(path)} does not run:\n{error}", file=sys.stderr)
        return 2
    if nothing_written(stem, path):
        print(f"Nothing is written yet. Open {relative(path)}, write yours, then: {again}")
        print("(`dx = ...` only rebinds the name dx; `dx[...] = ...` writes into the array.)")
        return 1
    print(report)
    if not report.ok:
        print(f"\nHints: {again} --hint, --hint=2, --hint=3; then --derivation")
        return 1
    print(f"\nRight: everything is exact. Next on the way: {after(number)}.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
