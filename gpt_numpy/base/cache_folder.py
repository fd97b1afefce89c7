"""The folder that keeps downloads and compiled kernels between runs."""

import os
import sys
from pathlib import Path

from gpt_numpy.base.errors import InputError


def cache_folder() -> Path:
    """The package's cache folder; it need not exist yet.

    GPT_NUMPY_CACHE if it is set, otherwise `gpt_numpy` in the user's cache folder: XDG_CACHE_HOME,
    LOCALAPPDATA on Windows, ~/Library/Caches on macOS, ~/.cache.

    Raises
    ------
    InputError : the folder depends on the user's home folder, and there is none.
    """
    chosen = os.environ.get("GPT_NUMPY_CACHE")
    xdg = os.path.expanduser(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        if chosen:
            return Path(chosen).expanduser()
        if os.path.isabs(xdg):  # the XDG specification: ignore a relative path
            caches = Path(xdg)
        elif sys.platform == "win32":
            caches = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        elif sys.platform == "darwin":
            caches = Path.home() / "Library" / "Caches"
        else:
            caches = Path.home() / ".cache"
    except RuntimeError:  # from pathlib, which found no home folder
        raise InputError(
            "there is no home folder to keep a cache in: set GPT_NUMPY_CACHE to a folder"
        ) from None
    return caches / "gpt_numpy"
