"""Bad input to every public function: each call gives the right result, or one clear error.

    python -m tests.bad_input --calls=10000 --seed=0

A generated call (models.py, pairs.py, data.py) passes arguments that are wrong in type, shape,
layout, range or value, or only unusual. Afterwards it must be true that

- what can be used gave the right result, as the reference or the arguments themselves say it,
- what cannot be used raised one `InputError` (or what the call says) that names the argument, and
- nothing wrote outside of its buffer, and no parameter changed: guard regions lie around every
  buffer of the models, the optimizers and the kernels.

The calls run in a process of their own, so that one that kills the process is seen and named.
"""

import argparse
import collections
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

LONGEST_MESSAGE = 1500


def problem(call):
    """What is wrong with the package's answer to a call; an empty string if nothing is."""
    try:
        result = call.run()
    except call.errors as error:
        message = str(error)
        if not call.may_fail:
            return f"refused what is right: {message}"
        if not any(name in message for name in call.at_fault):
            return f"the message names none of {call.at_fault}: {message[:300]}"
        return "" if len(message) <= LONGEST_MESSAGE else f"a message of {len(message)} characters"
    except BaseException as error:
        return f"raised {type(error).__name__}: {str(error)[:300]}"
    if call.must_fail:
        return f"went through in silence, where {call.at_fault} cannot be used"
    return "" if call.right(result) else "gave a wrong result"


def calls_in_this_process(count, seed, announce):
    """Make the calls; how many of each function, and what went wrong."""
    from tests.bad_input import data, models, pairs
    from tests.bad_input.calls import World
    from tests.support.guards import Padded

    warnings.simplefilter("ignore")
    padded = Padded().install()
    families = models.FAMILIES | data.FAMILIES | pairs.FAMILIES
    makers = [maker for maker, weight in families.items() for _ in range(weight)]
    outcomes, problems = collections.Counter(), []
    with tempfile.TemporaryDirectory() as folder, np.errstate(all="ignore"):
        os.chdir(folder)
        world = World(Path(folder))
        for number in range(count):
            rng = np.random.default_rng((seed, number))
            call = makers[rng.integers(len(makers))](world, rng)
            what = f"call {number}: {call.function}({shown(call.arguments)})"
            announce(what)
            wrong = problem(call)
            if not padded.intact():
                raise SystemExit(f"{what} wrote outside of its buffer")
            if not world.unchanged():
                raise SystemExit(f"{what} changed parameters")
            outcomes[call.function, call.must_fail] += 1
            if wrong:
                problems.append(f"{what}\n    {wrong}")
        os.chdir("/")
    return outcomes, problems


def shown(arguments):
    """The arguments of a call for the report, however long they are."""
    try:
        text = repr(arguments)
    except Exception as error:  # such as a number of thousands of digits
        text = f"<{type(error).__name__} in repr>"
    return text if len(text) <= 300 else text[:300] + "..."


def report(outcomes, problems):
    """The lines that sum up a campaign."""
    for function in sorted({function for function, _ in outcomes}):
        bad, other = outcomes[function, True], outcomes[function, False]
        yield f"{function:<22} {bad + other:>6} calls, {bad:>6} that must be refused"
    bad = sum(n for (_, must_fail), n in outcomes.items() if must_fail)
    yield (
        f"{sum(outcomes.values())} calls, {bad} that must be refused: {len(problems)} problems, "
        "no crash, no write outside of a buffer, no parameter changed"
    )


def child(arguments):
    last = open(arguments.last, "r+", encoding="utf-8", errors="backslashreplace")

    def announce(text):
        last.seek(0)
        last.truncate()
        last.write(text)
        last.flush()

    outcomes, problems = calls_in_this_process(arguments.calls, arguments.seed, announce)
    print(*problems[:50], *report(outcomes, problems), sep="\n")
    return 1 if problems else 0


def main():
    parser = argparse.ArgumentParser(
        prog="python -m tests.bad_input", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--calls", type=int, default=10_000, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--last", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.last:
        return child(arguments)
    with tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False) as last:
        pass
    command = [sys.executable, "-m", "tests.bad_input", f"--last={last.name}"]
    command += [f"--calls={arguments.calls}", f"--seed={arguments.seed}"]
    done = subprocess.run(command, cwd=Path(__file__).resolve().parents[2])
    final = Path(last.name).read_text(encoding="utf-8", errors="replace")
    Path(last.name).unlink()
    if done.returncode not in (0, 1):
        print(f"the process died ({done.returncode}) in {final}")
    return done.returncode
