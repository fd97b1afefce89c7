"""An audit hook that sees what Python is about to do, and objects to what is not reading."""

import contextlib
import os
import sys

FORBIDDEN = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.")
FORBIDDEN += ("exec", "pickle.find_class", "ctypes.dlopen", "shutil.", "os.remove", "os.rename")
_folder = None
_installed = False


class Executed(BaseException):
    """Something happened that reading a file does not do; nobody's `except Exception` hides it."""


def _hook(event, arguments):
    if _folder is None:
        return
    if event.startswith(FORBIDDEN):
        if event == "exec" and "importlib" in str(sys._getframe(1).f_code.co_filename):
            return  # a module of the standard library, or of ours, loaded late
        raise Executed(f"{event} {arguments!r:.200}")
    if event == "open":
        path, mode = arguments[0], arguments[1]
        writes = isinstance(mode, str) and set(mode) & set("wax+")
        if writes:
            raise Executed(f"open {path!r} {mode!r}")


@contextlib.contextmanager
def watched(folder):
    """Whatever is done meanwhile must be reading."""
    global _folder, _installed
    if not _installed:
        sys.addaudithook(_hook)  # for the rest of the process: Python has no way to take it back
        _installed = True
    _folder = os.fspath(folder)
    try:
        yield
    finally:
        _folder = None
