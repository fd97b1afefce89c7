"""Run all seven rungs, one after the other, and print a table of their losses.

python -m examples.ladder [--data=FILE] [--max_iters=N]
"""

import runpy
import sys
import time
from pathlib import Path

RUNGS = sorted(Path(__file__).parent.glob("[1-9]_*.py"))


def main() -> None:
    """Run every rung with the words of the command line, then print the table."""
    rows = []
    for path in RUNGS:
        print(f"\n=== {path.name}\n", flush=True)
        start = time.perf_counter()
        sys.argv[0] = str(path)
        names = runpy.run_path(str(path), run_name="__main__")
        count = sum(value.size for value in names["params"].values())
        seconds = time.perf_counter() - start
        rows.append((path.stem, count, names["loss"], names["PUBLISHED"], seconds))
    print(f"\n{'rung':<16}  parameters  validation loss  the lecture  seconds")
    for name, count, loss, published, seconds in rows:
        print(f"{name:<16}  {count:>10,}  {loss:>15.3f}  {published:>11.2f}  {seconds:>7.0f}")
    print("The last figure of the lecture is that of a model 23 times as large: see 7_gpt.py.")


if __name__ == "__main__":
    main()
