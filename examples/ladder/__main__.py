"""Run the rungs, one after the other, and print a table of their losses.

python -m examples.ladder [--data=FILE] [--max_iters=N]

The words go to every rung but 0, which has a text of its own. No rung waits for your predictions.
"""

import runpy
import sys
import time
from pathlib import Path

import numpy as np

RUNGS = sorted(Path(__file__).parent.glob("[0-9]*_*.py"), key=lambda p: int(p.stem.split("_")[0]))


def main() -> None:
    """Run every rung with the words of the command line, then print the table."""
    rows, words = [], sys.argv[1:]
    for path in RUNGS:
        print(f"\n=== {path.name}\n", flush=True)
        start = time.perf_counter()
        sys.argv = [str(path), "--go", *(words if path != RUNGS[0] else [])]
        names = runpy.run_path(str(path), run_name="__main__")
        count = sum(value.size for value in names["params"].values())
        seconds = time.perf_counter() - start
        rows.append((path.stem, count, names["loss"], names["PUBLISHED"], seconds))
    print(f"\n{'rung':<16}  parameters  validation loss  the lecture  seconds")
    for name, count, loss, published, seconds in rows:
        known = "" if np.isnan(published) else f"{published:.2f}"
        print(f"{name:<16}  {count:>10,}  {loss:>15.3f}  {known:>11}  {seconds:>7.0f}")
    print("Rung 0 has another text. The lecture's last model is 23 times as large: see 9_gpt.py.")


if __name__ == "__main__":
    main()
