"""`gpt-numpy selfcheck`: checks that gradients are correct here and wrong ones are noticed."""

import time

from gpt_numpy.base.errors import InputError
from gpt_numpy.cli.exit_status import CHECK_FAILED, OK
from gpt_numpy.cli.settings import Types
from gpt_numpy.gradients.mutation import LIVE
from gpt_numpy.gradients.selfcheck import measure, recorded, try_mutations


def run(words: list[str], types: Types) -> int:
    """`gpt-numpy selfcheck`."""
    if words:
        raise InputError(f"{words[0]}: selfcheck takes no settings but --threads")
    start = time.perf_counter()
    missed = 0
    print("about 15 s; up to a minute where kernels have to be compiled first")
    for title, figures in (
        ("measured now, in float64 unless noted, with the bounds of the tests", measure()),
        (f"{len(LIVE)} mistakes, each in a copy of the package: is it found?", try_mutations()),
    ):
        print(title, flush=True)
        for figure in figures:
            print(f"  {figure}", flush=True)
            missed += not figure.ok
    print("recorded, not measured here")
    lines, well = recorded()
    for line in lines:
        print(f"  {line}")
    missed += not well
    seconds = time.perf_counter() - start
    print(f"{f'{missed} MISSED' if missed else 'all as expected'}; {seconds:.0f} s")
    return CHECK_FAILED if missed else OK
