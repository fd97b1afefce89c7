"""The signals that ask a process to end: Ctrl-C, SIGTERM, and SIGHUP when its terminal closes."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Windows has no SIGHUP.
KINDS = [getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]


@contextmanager
def end_signals_call(handler: Callable[..., object], *, restore: bool = True) -> Iterator[None]:
    """Within the block, a signal that asks the process to end calls `handler`.

    One that is ignored stays ignored: that is what nohup and `trap '' INT` ask for. Only the main
    thread may install handlers; in another one nothing changes.

    restore : afterwards, signals do what they did before; otherwise they are ignored, for a process
        that is about to end.
    """
    main = threading.current_thread() is threading.main_thread()
    kinds = [
        kind for kind in KINDS if main and signal.getsignal(kind) not in (signal.SIG_IGN, None)
    ]
    before = [signal.signal(kind, handler) for kind in kinds]
    try:
        yield
    finally:
        for kind, old in zip(kinds, before, strict=True):
            signal.signal(kind, old if restore else signal.SIG_IGN)


def ignore_end_signals() -> None:
    """Ignore them from now on (only from within a handler, or in the main thread)."""
    for kind in KINDS:
        signal.signal(kind, signal.SIG_IGN)
