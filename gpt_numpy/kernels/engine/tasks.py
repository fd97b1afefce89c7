"""Which task a worker does next: one of its own, and when they are done, one of another's.

Its own are always the same share of all, one beside the other. So the rows that a worker writes in
one kernel are those that it reads in the next, when they still lie in its core's cache. What is
computed does not depend on who computes it.
"""

from gpt_numpy.kernels.engine.atomics import take
from gpt_numpy.kernels.engine.jit import LINE, exact, routine


@exact
def reset(counter):
    """Begin: nobody has drawn a task."""
    for i in range(counter.size):
        counter[i] = 0


@routine
def next_task(counter, worker, workers, size, unit=1):
    """Where the next task begins, of those that cut `size` into units; `size` if none is left."""
    count = -(-size // unit)
    for k in range(workers):
        owner = (worker + k) % workers
        first, last = owner * count // workers, (owner + 1) * count // workers
        task = first + take(counter, owner * LINE)
        if task < last:
            return task * unit
    return size
