"""A download is exactly what was pinned, or it is refused and leaves nothing behind."""

import hashlib
import http.client
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from gpt_numpy.base.errors import InputError
from gpt_numpy.files import downloads
from gpt_numpy.files.downloads import Pin
from tests.support.serving import Handler, serving

CONTENT = b"All the world's a stage,\n" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    with serving(monkeypatch) as running:
        yield running


def files_in(folder):
    return sorted(p for p in Path(folder).rglob("*") if not p.is_dir())


def fetch(server, tmp_path):
    path = tmp_path / "a" / "text.txt"
    downloads.download(Pin(len(CONTENT), SHA256, f"https://{server.at}/text"), path)


def test_a_pinned_file_is_downloaded_and_written_whole(server, tmp_path):
    server.answers["/text"] = 200, {}, CONTENT
    fetch(server, tmp_path)
    assert files_in(tmp_path) == [tmp_path / "a" / "text.txt"]
    assert (tmp_path / "a" / "text.txt").read_bytes() == CONTENT


def test_a_redirect_within_https_is_followed(server, tmp_path):
    server.answers["/text"] = 302, {"Location": "/moved"}, b""
    server.answers["/moved"] = 301, {"Location": f"https://{server.at}/final"}, b""
    server.answers["/final"] = 200, {}, CONTENT
    fetch(server, tmp_path)
    assert (tmp_path / "a" / "text.txt").read_bytes() == CONTENT


REFUSED = {
    "a missing page": (404, {}, b"no such page", "answers 404"),
    "a message with terminal colours": ((404, "no\x1b[31m"), {}, b"", "answers 404 no \\[31m"),
    "a server's failure": (500, {}, CONTENT, "answers 500"),
    "a page instead of the file": (200, {}, b"<html>please log in</html>", "only 26 bytes"),
    "an empty answer": (204, {}, b"", "only 0 bytes"),
    "a truncated file": (200, {"Content-Length": len(CONTENT)}, CONTENT[:-1], "only|more expected"),
    "a broken chunk": (200, {"Transfer-Encoding": "chunked"}, b"ff\r\nabc", "cannot be downloaded"),
    "a file too long": (200, {}, CONTENT + b"!", "more than 25000 bytes"),
    "other content of the same length": (200, {}, CONTENT[:-2] + b"!\n", "its sha256 is"),
    "a redirect to http": (302, {"Location": "http://{at}/final"}, b"", "not https"),
    "a redirect to ftp": (302, {"Location": "ftp://{at}/final"}, b"", "not https"),
    "a redirect to a file": (302, {"Location": "file:///etc/passwd"}, b"", "not https|not allowed"),
    "a redirect to itself": (302, {"Location": "/text"}, b"", "infinite loop"),
    "no HTTP at all": (200, {"Content-Length": "many"}, b"", "only 0 bytes"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_nothing_left_behind(case, server, tmp_path):
    status, headers, body, reason = REFUSED[case]
    headers = {name: str(value).format(at=server.at) for name, value in headers.items()}
    server.answers |= {"/text": (status, headers, body), "/final": (200, {}, CONTENT)}
    with pytest.raises(InputError, match=reason) as info:
        fetch(server, tmp_path)
    assert files_in(tmp_path) == []
    assert "/final" not in server.asked
    assert "\n" not in str(info.value) and f"https://{server.at}/text" in str(info.value)


def test_an_older_file_survives_a_refused_download(server, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "text.txt").write_bytes(b"older")
    server.answers["/text"] = 200, {}, CONTENT + b"!"
    with pytest.raises(InputError):
        fetch(server, tmp_path)
    assert [p.read_bytes() for p in files_in(tmp_path)] == [b"older"]


def test_no_more_than_the_pinned_size_is_read(server, tmp_path, monkeypatch):
    server.answers["/text"] = 200, {}, bytes(50_000_000)
    asked = []
    read = http.client.HTTPResponse.read
    monkeypatch.setattr(
        http.client.HTTPResponse, "read", lambda self, n=None: asked.append(n) or read(self, n)
    )
    with pytest.raises(InputError, match="more than"):
        fetch(server, tmp_path)
    assert asked == [len(CONTENT) + 1]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "ftp://127.0.0.1/x", "file:///etc/passwd"])
def test_only_https_is_requested(url, tmp_path):
    with pytest.raises(InputError, match="only https"):
        downloads.download(Pin(1, "", url), tmp_path / "x")


def test_without_a_network_the_message_says_what_to_do(server, tmp_path):
    server.shutdown()
    server.socket.close()
    with pytest.raises(InputError, match="--dataset=python-docs, which needs none.*--data=FILE"):
        fetch(server, tmp_path)
    assert files_in(tmp_path) == []


def test_a_silent_server_times_out(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", 0.1)
    wait = threading.Event()
    monkeypatch.setattr(Handler, "do_GET", lambda self: wait.wait(10))
    try:
        with pytest.raises(InputError, match="timed out"):
            fetch(server, tmp_path)
    finally:
        wait.set()


def test_a_folder_that_cannot_be_written_is_named_with_the_fix(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file.text.*set GPT_NUMPY_CACHE"):
        downloads.write_cached(tmp_path / "file" / "text", b"abc")


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failure_while_writing_leaves_nothing(error, tmp_path, monkeypatch):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises((InputError, KeyboardInterrupt)):
        downloads.write_cached(tmp_path / "text", b"abc")
    assert files_in(tmp_path) == []


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("GPT_NUMPY_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert downloads.cache_folder() == Path.home() / ".cache" / "gpt_numpy"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert downloads.cache_folder() == Path.home() / "Library" / "Caches" / "gpt_numpy"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert downloads.cache_folder() == Path.home() / "Library" / "Caches" / "gpt_numpy"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert downloads.cache_folder() == tmp_path / "xdg" / "gpt_numpy"
    monkeypatch.setenv("GPT_NUMPY_CACHE", str(tmp_path / "own"))
    assert downloads.cache_folder() == tmp_path / "own"


def pip(monkeypatch, files=(), status=0, stderr=""):
    """Make pip write these files and exit; returns a list of the commands it was called with."""
    calls = []

    def run(command, **options):
        calls.append(command)
        for name, content in dict(files).items():
            (Path(command[command.index("-d") + 1]) / name).write_bytes(content)
        return SimpleNamespace(returncode=status, stderr=stderr)

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def get_wheel():
    return downloads.download_wheel("a==1", "a-1.whl", Pin(len(CONTENT), SHA256))


def test_a_wheel_is_downloaded_and_never_installed(monkeypatch):
    calls = pip(monkeypatch, {"a-1.whl": CONTENT})
    assert get_wheel() == CONTENT
    (command,) = calls
    assert command[0] == sys.executable and command[-1] == "a==1"
    assert command[2:5] == ["-m", "pip", "download"] and "install" not in command
    assert {"--no-deps", "--only-binary=:all:"} <= set(command)
    assert not Path(command[command.index("-d") + 1]).exists()


@pytest.mark.parametrize(
    ("files", "status", "stderr", "reason"),
    [
        ({"a-1.whl": CONTENT + b"!"}, 0, "", "more than"),
        ({"a-1.whl": CONTENT[:-1] + b"!"}, 0, "", "its sha256 is"),
        ({"b-2.whl": CONTENT}, 0, "", "pip downloaded b-2.whl instead of a-1.whl"),
        ({}, 0, "", "pip downloaded nothing"),
        ({}, 1, "WARNING: Retrying\nERROR: No matching distribution\n", ": ERROR: No matching"),
        ({}, 1, "", "it gives no reason"),
        ({}, 1, "/usr/bin/python: No module named pip", "has no pip.*ensurepip"),
    ],
)
def test_a_wheel_that_is_not_the_pinned_one_is_refused(monkeypatch, files, status, stderr, reason):
    calls = pip(monkeypatch, files, status, stderr)
    with pytest.raises(InputError, match=reason) as info:
        get_wheel()
    assert "--dataset=python-docs" in str(info.value) and "\n" not in str(info.value)
    assert not Path(calls[0][calls[0].index("-d") + 1]).exists()


def test_a_python_that_cannot_be_run_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(InputError, match="cannot run"):
        get_wheel()
