"""Try to lose or corrupt a run: a table of the outcomes; exit status 1 on any miss.

python -m tests.durability                        all campaigns at full size, about 20 minutes
python -m tests.durability kills interrupts       only these
python -m tests.durability damage --count=1000 --seed=5 --json=results.json
"""

import argparse
import importlib
import json
import sys
import tempfile
import time
from pathlib import Path

FULL_SIZE = {
    "kills": 300, "interrupts": 100, "crashes": 0, "damage": 20_000, "resumes": 50, "ranks": 100,
}  # fmt: skip


def main():
    words = argparse.ArgumentParser(
        prog="python -m tests.durability",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    words.add_argument("campaigns", nargs="*", metavar="CAMPAIGN", help=", ".join(FULL_SIZE))
    words.add_argument("--count", type=int, help="trials, instead of the full size")
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--json", type=Path, help="write the results to this file as well")
    given = words.parse_args()
    unknown = set(given.campaigns) - set(FULL_SIZE)
    if unknown:
        words.error(f"no campaign {min(unknown)}: known are {', '.join(FULL_SIZE)}")
    results = {}
    for name in given.campaigns or FULL_SIZE:
        campaign = importlib.import_module(f"tests.durability.{name}").campaign
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            count = FULL_SIZE[name] if given.count is None else given.count
            result = campaign(Path(folder).resolve(), count, given.seed)
        results[name] = result | {"seconds": round(time.monotonic() - start, 1)}
        show(name, results[name])
    if given.json:
        given.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 1 if any(result["missed"] for result in results.values()) else 0


def show(name, result):
    """One campaign: trials and misses, then what else was counted, then the first faults."""
    print(f"{name:<12} {result['trials']:>7} trials {result['missed']:>5} missed", flush=True)
    for key, value in result.items():
        if key not in ("trials", "missed", "faults"):
            print(f"    {key:<40} {value}")
    for fault in result["faults"][:5]:
        print(f"    FAULT {fault}")


if __name__ == "__main__":
    sys.exit(main())
