"""How far a long task is: a bar on a terminal, and the time left."""

import sys
import time


def is_terminal(stream: object) -> bool:
    """Whether an output is a terminal; other programs set outputs that cannot say so."""
    return bool(getattr(stream, "isatty", bool)())


class Progress:
    """A bar of `total` units on stderr where that is a terminal, and the lines printed above it."""

    def __init__(self, total: int, done: int = 0, unit: str = "it") -> None:
        self.total, self.done = total, done
        self._first: int | None = None  # units done when the clock was started
        self._start = 0.0
        self.terminal = is_terminal(sys.stderr)
        self._bar = _bar(total, done, unit, shown=self.terminal)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def advance(self) -> None:
        """Count one more unit as done."""
        self.done += 1
        if self._first is None:  # the first one may have compiled kernels: not part of the pace
            self._first, self._start = self.done, time.perf_counter()
        self._bar.update()

    def left(self) -> str:
        """The time left at the pace so far, such as "2 min 05 s"."""
        done = 0 if self._first is None else self.done - self._first
        if done == 0:
            return "unknown time"
        return duration((time.perf_counter() - self._start) / done * (self.total - self.done))

    def say(self, line: str) -> None:
        """Print a line to stdout, above the bar."""
        with self._bar.external_write_mode():
            print(line, flush=True)


def _bar(total: int, done: int, unit: str, *, shown: bool):  # type: ignore[no-untyped-def]
    from tqdm import tqdm  # late: most commands and all help texts do without it

    return tqdm(
        total=total, initial=done, unit=unit, disable=not shown, dynamic_ncols=True, leave=False
    )


def duration(seconds: float) -> str:
    """A time for people to read: "12 s", "2 min 05 s", "3 h 20 min", "5 days"."""
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60:02d} s"
    if rounded < 3 * 86400:
        return f"{rounded // 3600} h {rounded % 3600 // 60:02d} min"
    return f"{rounded // 86400} days"
