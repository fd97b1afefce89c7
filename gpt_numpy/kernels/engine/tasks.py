"""Which task a worker does next: one of its own, then one of another worker's.

A worker owns the same contiguous share of the tasks in every kernel, so the rows that it writes in
one kernel are those that it reads in the next, while they are still in its core's cache. Results do
not depend on which worker computes what.
"""

from gpt_numpy.kernels.engine.atomics import take
from gpt_numpy.kernels.engine.jit import LINE, exact, routine


@exact
def reset(counter):
    """Start: no task has been drawn."""
    for i in range(counter.size):
        counter[i] = 0


@routine
def next_task(counter, worker, workers, size, unit=1):
    """Where the next task begins, of those that divide `size` into units; or `size`."""
    count = -(-size // unit)
    for k in range(workers):
        owner = (worker + k) % workers
        first, last = owner * count // workers, (owner + 1) * count // workers
        task = first + take(counter, owner * LINE)
        if task < last:
            return task * unit
    return size
