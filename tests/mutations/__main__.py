"""`python -m tests.mutations`: the campaign, from the root of the repository."""

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.base.progress import Progress, duration
from tests.mutations import (
    backward_mistakes,
    base_mistakes,
    bfloat16_mistakes,
    command_mistakes,
    data_mistakes,
    durability_mistakes,
    foreign_mistakes,
    generation_mistakes,
    interop_mistakes,
    kernel_mistakes,
    modern_mistakes,
    muon_mistakes,
    page_mistakes,
    parallel_mistakes,
    record,
    tools_mistakes,
    training_mistakes,
    transformer_mistakes,
    translation_mistakes,
)
from tests.mutations.campaign import EQUIVALENT, KILLED, Verdict, campaign
from tests.mutations.checks import CHECKS, column
from tests.mutations.mistake import Mistake

CATALOGUES = (
    backward_mistakes, durability_mistakes, training_mistakes, page_mistakes, kernel_mistakes,
    data_mistakes, generation_mistakes, interop_mistakes, tools_mistakes, foreign_mistakes,
    base_mistakes, command_mistakes, bfloat16_mistakes, muon_mistakes, modern_mistakes,
    parallel_mistakes, transformer_mistakes, translation_mistakes,
)  # fmt: skip
PARTS = {
    catalogue.__name__.rpartition(".")[2].removesuffix("_mistakes"): catalogue.MISTAKES
    for catalogue in CATALOGUES
}
ALL = [mistake for part in PARTS.values() for mistake in part]


def main() -> int:
    """Run what the options ask for; 0: all as expected, 1: not, 2: it could not be done."""
    options = _options()
    try:
        if options.jobs < 1 or options.false_alarms < 0:
            raise InputError("--jobs must be at least 1, and --false-alarms not negative")
        if options.false_alarms:
            return _false_alarms(options)
        mistakes = _chosen(options)
        if options.list:
            for mistake in mistakes:
                print(f"{mistake.name:<5} {mistake.mutation.path:<28} {mistake.mutation.what}")
            return 0
        return _campaign(mistakes, options)
    except InputError as error:
        print(f"tests.mutations: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("tests.mutations: interrupted", file=sys.stderr)
        return 130


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("--only", default="", metavar="M01,N07", help="names from the list")
    parser.add_argument(
        "--catalogue", default="", metavar="kernel,page", help=f"of {', '.join(PARTS)}"
    )
    parser.add_argument(
        "--part", action="store_true", help="one mutation of each file, with one check: 5 minutes"
    )
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1), metavar="N")
    parser.add_argument("--list", action="store_true", help="print the list, run nothing")
    parser.add_argument("--json", action="store_true", help="print the verdicts as JSON")
    parser.add_argument(
        "--false-alarms", type=int, default=0, metavar="SEEDS",
        help="run the checks on the correct code instead, with this many seeds",
    )  # fmt: skip
    parser.add_argument(
        "--record",
        action="store_true",
        help="write the figures of whole catalogues into gpt_numpy/gradients/recorded.json",
    )
    return parser.parse_args()


def _chosen(options: argparse.Namespace) -> list[Mistake]:
    catalogues = [name for name in options.catalogue.split(",") if name]
    for name in catalogues:
        if name not in PARTS:
            raise InputError(f"--catalogue={options.catalogue}: {did_you_mean(name, PARTS)}")
    some = [mistake for name in catalogues or PARTS for mistake in PARTS[name]]
    if options.part:
        first = {mistake.mutation.path: mistake for mistake in reversed(some)}
        return list(reversed(first.values()))
    names = [name for name in options.only.split(",") if name]
    unknown = set(names) - {mistake.name for mistake in ALL}
    if unknown:
        raise InputError(f"--only={options.only}: no mutation {min(unknown)}; see --list")
    return [mistake for mistake in some if not names or mistake.name in names]


def _campaign(mistakes: list[Mistake], options: argparse.Namespace) -> int:
    if options.record and (options.part or options.only):
        raise InputError("--record goes with whole catalogues, not with --part or --only")
    sys.stdout = sys.stderr if options.json else sys.stdout
    start = time.perf_counter()
    verdicts: list[Verdict] = []
    progress = Progress(len(mistakes), unit="mutants")
    with progress, tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        for verdict in campaign(
            mistakes, Path(folder), jobs=options.jobs, narrow=options.part, say=progress.say
        ):
            verdicts.append(verdict)
            progress.advance()
            saw = ", ".join(column(check) for check, yes in verdict.saw.items() if yes) or "nothing"
            line = f"{verdict.name:<5} {verdict.verdict:<10} {verdict.seconds:5.1f} s  {saw}"
            progress.say(f"{line}{'' if verdict.ok else ': ' + verdict.why}")
            if len(verdicts) % 10 == 0:
                progress.say(f"{len(verdicts)} of {len(mistakes)}; {progress.left()} left")
    seconds = time.perf_counter() - start
    order = {mistake.name: k for k, mistake in enumerate(mistakes)}
    verdicts.sort(key=lambda verdict: order[verdict.name])
    for of_part in _by_part(verdicts).values():
        print("\n".join(matrix(of_part)))
    print("\n".join(summary(verdicts, seconds)))
    if options.json:
        sys.stdout = sys.__stdout__
        print(json.dumps([dataclasses.asdict(verdict) for verdict in verdicts], indent=1))
    if options.record:
        found = _by_part(verdicts)
        record.campaign({part: (PARTS[part], found[part]) for part in found})
    return 0 if all(verdict.ok for verdict in verdicts) else 1


def matrix(verdicts: list[Verdict]) -> list[str]:
    """Mutation by check: X noticed, . not noticed, nothing where it was not run."""
    used = {column(check) for verdict in verdicts for check in verdict.saw}
    columns = [name for name in CHECKS if name in used]
    lines = ["", "       " + "  ".join(columns)]
    for verdict in verdicts:
        by_column: dict[str, list[bool]] = {}
        for check, saw in verdict.saw.items():
            by_column.setdefault(column(check), []).append(saw)
        marks = [
            ("X" if any(by_column[name]) else ".") if name in by_column else " " for name in columns
        ]
        cells = "  ".join(f"{mark:^{len(name)}}" for mark, name in zip(marks, columns, strict=True))
        lines.append(
            f"{verdict.name:<5}  {cells}  {'' if verdict.ok else verdict.verdict}".rstrip()
        )
    return lines


def _by_part(verdicts: list[Verdict]) -> dict[str, list[Verdict]]:
    """The verdicts by the part of the catalogue, less parts without any."""
    part_of = {mistake.name: part for part, mistakes in PARTS.items() for mistake in mistakes}
    found: dict[str, list[Verdict]] = {part: [] for part in PARTS}
    for verdict in verdicts:
        found[part_of[verdict.name]].append(verdict)
    return {part: some for part, some in found.items() if some}


def summary(verdicts: list[Verdict], seconds: float) -> list[str]:
    """A line for each part and one for all; the seconds of a part are those of its mutants."""
    lines = ["", f"{'part':<10}  mutations  killed  equivalent  others  seconds"]
    for part, some in {**_by_part(verdicts), "all": verdicts}.items():
        killed, equivalent = (sum(v.verdict == what for v in some) for what in (KILLED, EQUIVALENT))
        others, spent = len(some) - killed - equivalent, sum(v.seconds for v in some)
        lines.append(
            f"{part:<10}  {len(some):>9}  {killed:>6}  {equivalent:>10}  {others:>6}  {spent:>7.0f}"
        )
    return [*lines, f"{len(verdicts)} mutations; {duration(seconds)}"]


def _false_alarms(options: argparse.Namespace) -> int:
    from tests.mutations.false_alarms import false_alarms

    start = time.perf_counter()
    with Progress(options.false_alarms, unit="seeds") as progress:
        counted = false_alarms(options.false_alarms, progress)
    seconds = time.perf_counter() - start
    alarms = sum(line.alarms for line in counted)
    for line in counted:
        print(
            f"{line.what:<42} {line.checked:>6} checked, {line.alarms} alarms, "
            f"largest error {line.largest:.1e} (seed {line.seed}), bound {line.bound:.0e}"
        )
    print(f"{options.false_alarms} seeds, {alarms} false alarms; {duration(seconds)}")
    if options.record:
        record.false_alarms(options.false_alarms, counted, seconds)
    return 1 if alarms else 0


if __name__ == "__main__":
    sys.exit(main())
