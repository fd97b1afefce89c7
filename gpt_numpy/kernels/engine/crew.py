"""How many threads a short launch takes: all of them, or one while others hold the processors.

Workers that wait for each other many times a launch stand still whenever one of them loses its
processor to another process, and then all together are slower than one alone. Whether that happens
is seen from the processor time that the process gets: less than its threads could have used.
"""

import time
from collections.abc import Callable

from gpt_numpy.kernels.engine import pool

WINDOW = 0.005  # seconds of launches that are judged together
ENOUGH = 0.8  # of the processor time that undisturbed threads would have used
SHORTEST, LONGEST = 0.05, 5.0  # seconds with one thread, before all are tried again


class Crew:
    """Launches that are repeated many times, each with as many threads as helps."""

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        processor_clock: Callable[[], float] = time.process_time,
    ) -> None:
        self._clock, self._processor_clock = clock, processor_clock
        self._alone_until = self._pause = 0.0
        self._started: tuple[float, float] | None = None  # the window's, by both clocks
        self._launched = 0.0  # seconds of it in launches

    def run(self, launch: Callable[[int], None]) -> None:
        """Call `launch` with the number of threads that it is to use."""
        start = self._clock()
        if pool.threads() == 1 or start < self._alone_until:
            with pool.fewer_threads(1):
                launch(1)
            return
        if self._started is None:
            self._started = start, self._processor_clock()
        launch(pool.threads())
        now = self._clock()
        self._launched += now - start
        if self._launched >= WINDOW:
            self._judge(now)

    def _judge(self, now: float) -> None:
        if self._started is None:  # another Python thread has judged
            return
        start, used = self._started[0], self._processor_clock() - self._started[1]
        between, launched = now - start - self._launched, self._launched
        self._started, self._launched = None, 0.0
        if between > launched:
            return  # the time of somebody who waits between launches says nothing
        if used >= ENOUGH * (pool.threads() * launched + between):
            self._pause = 0.0
            return
        self._pause = min(max(SHORTEST, 2 * self._pause), LONGEST)
        self._alone_until = now + self._pause
