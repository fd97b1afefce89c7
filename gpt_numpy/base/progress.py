"""How far something is: a bar with the time left on a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType


class Progress:
    """A bar of `total` units on a terminal, through tqdm where it is installed.

    `say` prints a line above the bar, or as it is where there is no terminal.
    """

    def __init__(self, total: int, done: int = 0, unit: str = "it") -> None:
        self.total, self.done = total, done
        self._first: int | None = None  # where the clock started, and when
        self._start = 0.0
        self._drawn = 0.0
        self.terminal = sys.stdout.isatty()
        self._bar = _tqdm_bar(total, done, unit) if self.terminal else None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self.terminal:
            print("\r\033[K", end="", flush=True)

    def advance(self, units: int = 1) -> None:
        """Note that `units` more are done."""
        self.done += units
        if self._first is None:  # the first one compiled, or read the cache: no measure of the pace
            self._first, self._start = self.done, time.perf_counter()
        if self._bar is not None:
            self._bar.update(units)
        elif self.terminal and time.perf_counter() - self._drawn > 0.2:
            self._drawn = time.perf_counter()
            share = self.done / max(self.total, 1)
            text = f"{share:4.0%} {self.done}/{self.total}, {self.left()} left"
            print(f"\r\033[K{text}", end="", flush=True)

    def left(self) -> str:
        """The time left at the pace so far, such as "2 min 05 s"."""
        done = 0 if self._first is None else self.done - self._first
        if done == 0:
            return "unknown time"
        return duration((time.perf_counter() - self._start) / done * (self.total - self.done))

    def say(self, line: str) -> None:
        """Print a line without tearing the bar."""
        if self._bar is not None:
            self._bar.write(line, file=sys.stdout)
        else:
            print(("\r\033[K" if self.terminal else "") + line, flush=True)
            self._drawn = 0.0  # draw the bar again


def duration(seconds: float) -> str:
    """A time for people to read: "12 s", "2 min 05 s", "3 h 20 min", "5 days"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 3 * 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} days"


def _tqdm_bar(total: int, done: int, unit: str):  # type: ignore[no-untyped-def]
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    options = {"unit": unit, "file": sys.stdout, "dynamic_ncols": True, "leave": False}
    return tqdm(total=total, initial=done, **options)
