"""Stop at a random micro-step, resume with another number of threads: the same to the bit."""

import random
import shutil
import warnings

import gpt_numpy as gn
from tests.durability.subject import Subject, digest, finish, losses

ITERATIONS = 24


def campaign(folder, count, seed):
    """Stop a run of the kernels at `count` random places, one run for each."""
    rng = random.Random(seed)
    _threads(1)
    subject = Subject(folder, ops="kernels", iterations=ITERATIONS)
    result = {"trials": 0, "missed": 0, "faults": [], "stopped in an evaluation": 0}
    result["with other threads"] = 0
    place = folder / "stopped"
    n_forwards = _count_forwards(subject, folder / "counted")
    for _ in range(count):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        threads = [rng.choice([1, 2]), rng.choice([1, 2])]
        stopped = subject.begin(place)
        _threads(threads[0])
        _stop_at(stopped, rng.randrange(n_forwards))
        outcome = finish(stopped)
        _threads(threads[1])
        resumed = subject.resume(place)
        same = digest(resumed) == digest(stopped) and outcome == "interrupted"
        finish(resumed)
        same &= digest(resumed) == subject.digests[max(subject.digests)]
        same &= losses(place / "run") == subject.log
        result["trials"] += 1
        result["missed"] += not same
        result["stopped in an evaluation"] += stopped._evaluation_due()
        result["with other threads"] += threads[0] != threads[1]
        if not same:
            result["faults"].append(f"stopped before iteration {stopped.state.iteration}")
    _threads(1)
    return result


def _threads(count):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without threadpoolctl the BLAS keeps its threads
        gn.set_threads(count)


def _count_forwards(subject, place):
    place.mkdir()
    whole, seen = subject.begin(place), []
    forward = gn.GPT.forward
    vars(whole.model)["forward"] = lambda *a, **k: (seen.append(1), forward(whole.model, *a, **k))[
        1
    ]
    finish(whole)
    return len(seen)


def _stop_at(training, number):
    """Ctrl-C comes during the forward pass of that number."""
    forward, seen = training.model.forward, []

    def counted(*arguments, **keywords):
        seen.append(1)
        if len(seen) == number + 1:
            training._stop()
        return forward(*arguments, **keywords)

    vars(training.model)["forward"] = counted
