"""Kernels are compiled in a process of their own, and then loaded like everybody else's.

The process that compiles a kernel would run other machine code than those that load it later: the
routines that the kernel calls are then the ones of kernels compiled before it, and not those in the
file; sums differ in the last bit. So this process only ever loads. What compiles is a process
that takes requests, a line of JSON each, until nothing has been compiled for a while.
"""

import atexit
import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from gpt_numpy.base.progress import is_terminal

IDLE = 10.0  # seconds without a request after which the process is ended
MODULE = "gpt_numpy.kernels.engine.compiler"

_announced = 0


ENDED = "the process that compiles has ended"


class _Compiler:
    """The process that compiles for this one; callers take turns (jit.py holds a lock)."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._timer: threading.Timer | None = None
        self._lock = threading.RLock()

    def ask(self, request: dict[str, str]) -> str:
        """Send a request; the reply is empty, or what went wrong."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            try:
                reply = self._exchange(json.dumps(request))
            except BaseException:  # Ctrl-C, say: the reply to this request is still to come
                self.end(kill=True)
                raise
            self._timer = threading.Timer(IDLE, self.end)
            self._timer.daemon = True
            self._timer.start()
            return reply

    def _exchange(self, line: str) -> str:
        if self._process is None:
            # What this process imports from, and optimised as it is: -O changes the bytecode.
            environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            self._process = subprocess.Popen(
                [sys.executable, *["-O"] * sys.flags.optimize, "-m", MODULE],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                encoding="utf-8", env=environment,
            )  # fmt: skip
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(OSError):
            process.stdin.write(line + "\n")
            process.stdin.flush()
            reply = process.stdout.readline()
            if reply:
                return str(json.loads(reply))
        self.end(kill=True)
        return ENDED

    def end(self, kill: bool = False) -> None:
        """Let the process end, if there is one."""
        with self._lock:
            process, self._process = self._process, None
            if process is None:
                return
            if kill:
                process.kill()
            with contextlib.suppress(OSError):
                process.communicate()


_compiler = _Compiler()
atexit.register(_compiler.end, kill=True)


def compile_elsewhere(module: str, name: str, dtype: str, place: Path) -> str:
    """Compile a kernel into the folder `place`; the result is empty, or what went wrong."""
    if module == "__main__" or not sys.executable:
        return "another process cannot import it"
    try:
        return _compiler.ask({"module": module, "name": name, "dtype": dtype, "place": str(place)})
    except OSError as error:
        return str(error)


def announce(name: str, kernels: int) -> None:
    """Report that kernels are being compiled, and how many so far."""
    global _announced
    _announced += 1
    if sys.stderr is None:
        return
    if is_terminal(sys.stderr):
        line = f"compiling kernels, once for this machine: {_announced} of at most {kernels}"
        print(f"\r\033[Kgpt_numpy: {line} ({name})", end="", file=sys.stderr, flush=True)
    elif _announced == 1:
        print(
            "gpt_numpy: compiling kernels, once for this machine; some take seconds each",
            file=sys.stderr,
            flush=True,
        )


def announce_done() -> None:
    """Erase the progress line from a terminal."""
    if is_terminal(sys.stderr):
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def main() -> None:
    """Compile what is asked for on standard input, a request a line."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asks decides
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # nothing but replies may go where the replies go
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        reply = ""
        try:
            module = importlib.import_module(request["module"])
            getattr(module, request["name"]).write_machine_code(
                request["dtype"], Path(request["place"])
            )
        except Exception as error:
            reply = f"{type(error).__name__}: {error}"
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
