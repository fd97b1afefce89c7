"""Packages of Debian as sources of data: downloaded with apt-get, read here, never installed.

A package is an `ar` archive; its member data.tar.xz is a tar of the files that would be installed.
"""

import io
import os
import subprocess
import tarfile
from collections.abc import Iterable
from typing import NamedTuple

from gpt_numpy.base.errors import InputError
from gpt_numpy.files.downloads import Pin, cached_path, check_pinned, printable_line, read_cached
from gpt_numpy.files.temporary import temporary_folder

APT_TIMEOUT = 600.0  # seconds for the whole of apt-get's work


class DebianPackage(NamedTuple):
    """A package of one version for all architectures, and what its file must be."""

    name: str
    version: str
    pin: Pin

    @property
    def filename(self) -> str:
        """The name of its file in an archive of Debian."""
        return f"{self.name}_{self.version}_all.deb"


def package_content(package: DebianPackage, instead: str) -> bytes:
    """The file of a package: one that lies in the cache folder, or else from apt-get.

    instead : what to do where it cannot be had; ends every message.

    Raises `InputError` when apt-get is missing or fails, or the file is not the pinned one.
    """
    data = read_cached(cached_path(package.filename), package.pin)
    if data is not None:
        return data
    with temporary_folder() as folder:
        _apt_download(package, str(folder), instead)
        path = folder / package.filename
        if not path.is_file():
            files = ", ".join(sorted(os.listdir(folder))) or "nothing"
            raise InputError(
                f"{package.name}: apt-get downloaded {files} instead of {path.name}; {instead}"
            )
        with path.open("rb") as file:
            data = file.read(package.pin.size + 1)
    check_pinned(data, package.pin, package.filename, instead)
    return data


def files_in_package(content: bytes, paths: Iterable[str]) -> list[bytes]:
    """The files of a package, one for each path, such as usr/share/doc/a/copyright.

    Only for content that is pinned: of anything malformed the error is that of `tarfile`.
    """
    with tarfile.open(fileobj=io.BytesIO(_member(content, b"data.tar.xz")), mode="r:xz") as archive:
        found = []
        for path in paths:
            file = archive.extractfile(f"./{path}")
            if file is None:
                raise InputError(f"the package's {path} is not a regular file")
            found.append(file.read())
    return found


def _member(content: bytes, name: bytes) -> bytes:
    """A member of an ar archive: after 8 bytes headers of 60 and contents, all at even places."""
    place = len(b"!<arch>\n")
    while place < len(content):
        header = content[place : place + 60]
        place, size = place + 60, int(header[48:58])
        if header[:16].rstrip(b" /") == name:
            return content[place : place + size]
        place += size + size % 2
    raise InputError(f"the package has no {name.decode()}")


def _apt_download(package: DebianPackage, folder: str, instead: str) -> None:
    wanted = f"{package.name}={package.version}"
    try:
        done = subprocess.run(
            ["apt-get", "download", wanted], cwd=folder, stdin=subprocess.DEVNULL,
            capture_output=True, encoding="utf-8", errors="replace", timeout=APT_TIMEOUT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise InputError(f"{wanted}: apt-get took over {APT_TIMEOUT:.0f} s; {instead}") from None
    except OSError:
        raise InputError(
            f"{wanted}: this system has no apt-get to download it; {instead}"
        ) from None
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("E:")]
        reason = printable_line((errors or ["it gives no reason"])[0])
        raise InputError(f"{wanted}: apt-get cannot download it: {reason}; {instead}")
