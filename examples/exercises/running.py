"""Run a learner's file safely: with a time limit, and with errors that name the line of that file.

A file of exercises is the learner's own program. It may loop for ever, call sys.exit or raise
anything: each ends in one `CannotRun`, whose message has the line to look at.
"""

import _thread
import contextlib
import linecache
import os
import runpy
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SECONDS = 10.0  # a right solution takes a hundredth of a second
GRACE = 5.0  # seconds more for a program that catches the interruption


class CannotRun(Exception):
    """A learner's file stopped with an error, did not end, or is not complete."""


class _TimeUp(Exception):
    """The limit has passed."""


def guarded(path: Path, function: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """What `function` returns; `CannotRun` if the learner's file at `path` stops it."""
    try:
        with _limit(seconds):
            return function()
    except CannotRun:
        raise
    except _TimeUp as error:
        where = line_of(path, error.__context__) or line_of(path, error)
        raise CannotRun(f"{where}it had not ended after {seconds:g} s: an endless loop?") from error
    except SystemExit as error:
        raise CannotRun(
            f"{line_of(path, error)}it calls exit: leave that out, the grader goes on after it"
        ) from error
    except SyntaxError as error:
        raise CannotRun(f"{path.name}, line {error.lineno}: SyntaxError: {error.msg}") from error
    except Exception as error:
        raise CannotRun(describe(path, error)) from error


def describe(path: Path, error: BaseException) -> str:
    """The line of the learner's file and the error, with its own message last."""
    cause = error.__cause__ or error
    where = line_of(path, cause) or line_of(path, error)
    message = str(error)
    if error is cause or type(error).__name__ != "InputError":
        message = "".join(traceback.format_exception_only(error)).rstrip()
    return f"{where}{message}"


def line_of(path: Path, error: BaseException | None) -> str:
    """The innermost line of the file in a traceback, `mine.py, line 7: dx[...] = ...`, or ""."""
    found = ""
    if error is None:
        return found
    for frame, line in traceback.walk_tb(error.__traceback__):
        if Path(frame.f_code.co_filename) == path:
            found = f"{path.name}, line {line}: {linecache.getline(str(path), line).strip()}\n"
    return found


def load(path: Path) -> dict[str, Any]:
    """The names that the file defines."""
    if not path.is_file():
        raise FileNotFoundError(path)
    linecache.checkcache(str(path))
    return dict(guarded(path, lambda: runpy.run_path(str(path))))


@contextlib.contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Interrupt the block, as Ctrl-C does, when it has run for too long."""
    ended, late = threading.Event(), threading.Event()

    def watch() -> None:
        if ended.wait(seconds):
            return
        late.set()
        for _ in range(int(GRACE / 0.25)):  # again, for a program that catches everything
            _thread.interrupt_main()
            if ended.wait(0.25):
                return
        print(f"it had not ended after {seconds + GRACE:g} s", file=sys.stderr, flush=True)
        os._exit(2)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    except KeyboardInterrupt:
        if not late.is_set():
            raise
        raise _TimeUp from None
    finally:
        ended.set()
        with contextlib.suppress(KeyboardInterrupt):
            watcher.join()
