"""Files are read to the byte: limits, reads that come in parts, members of archives."""

import io
import zipfile

import pytest

from gpt_numpy.base.errors import InputError
from gpt_numpy.files import durable
from gpt_numpy.files.reading import read_bounded, read_into, read_json
from gpt_numpy.files.zip_archives import MAX_DIRECTORY, open_archive, start_of


class Parts(io.RawIOBase):
    """A file that gives three bytes at a time, as a pipe or a network drive may."""

    def __init__(self, data):
        self.data = data

    def readinto(self, view):
        part = self.data[: min(3, len(view))]
        view[: len(part)] = part
        self.data = self.data[len(part) :]
        return len(part)


def test_a_read_that_comes_in_parts_goes_on():
    for size, missing in ((0, 0), (3, 0), (10, 0), (11, 1), (20, 10)):
        out = bytearray(size)
        assert read_into(Parts(b"0123456789"), memoryview(out)) == missing
        assert out[: size - missing] == b"0123456789"[:size]


def test_a_limit_is_the_most_that_is_read(tmp_path, monkeypatch):
    (tmp_path / "f").write_bytes(b"abcd")
    assert read_bounded(tmp_path / "f", 4) == b"abcd"
    with pytest.raises(InputError, match="has more than 3 bytes"):
        read_bounded(tmp_path / "f", 3)
    sizes = []

    class Watched(io.BytesIO):
        def read(self, size=-1):
            sizes.append(size)
            return super().read(size)

    monkeypatch.setattr(type(tmp_path), "open", lambda path, mode: Watched(bytes(100)))
    with pytest.raises(InputError, match="has more than 3 bytes"):
        read_bounded(tmp_path / "f", 3)
    assert sizes == [4]


@pytest.mark.parametrize("content", ["[1]", "3", '"a"', "null"])
def test_json_that_is_no_object_is_refused(content, tmp_path):
    (tmp_path / "f.json").write_text(content)
    with pytest.raises(InputError, match="is not a JSON object"):
        read_json(tmp_path / "f.json", 100)


def test_a_file_of_another_kind_is_not_called_damaged(tmp_path):
    path = tmp_path / "c.npz"
    with path.open("w+b") as file:
        file.write(b"content" + durable.UNSEALED)
        durable.seal(file)
        durable.verify(path, file)
        whole = file.seek(0, 2)
        file.truncate(whole - 1)
        with pytest.raises(InputError, match="is not a gpt_numpy checkpoint, or its end"):
            durable.verify(path, file)


def archive(path, change):
    kinds = {"compressed": zipfile.ZIP_DEFLATED}
    with zipfile.ZipFile(path, "w", kinds.get(change, zipfile.ZIP_STORED)) as out:
        out.writestr("a", b"1" * 50)
        if change == "twice":
            with pytest.warns(UserWarning, match="Duplicate"):
                out.writestr("a", b"2")
        else:
            out.writestr("long name", b"2" * 7)
    return path


@pytest.mark.parametrize("change", ["compressed", "twice"])
def test_members_of_archives_are_plain_disjoint_and_of_different_names(change, tmp_path):
    with archive(tmp_path / "z", change).open("rb") as file:
        with pytest.raises(InputError, match="compressed|occurs twice"):
            with open_archive(file):
                pytest.fail("it was opened")


def test_a_members_content_begins_after_its_header(tmp_path):
    with archive(tmp_path / "z", "").open("rb") as file, open_archive(file) as opened:
        for name, content in (("a", b"1" * 50), ("long name", b"2" * 7)):
            file.seek(start_of(file, opened.getinfo(name)))
            assert file.read(len(content)) == content


def test_members_do_not_overlap(tmp_path):
    path = archive(tmp_path / "z", "")
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02")  # of the second member, in the list at the end
    at = int.from_bytes(data[entry + 42 : entry + 46], "little")
    data[entry + 42 : entry + 46] = (at - 5).to_bytes(4, "little")
    path.write_bytes(data)
    with path.open("rb") as file, pytest.raises(InputError, match="'long name' overlaps"):
        with open_archive(file):
            pytest.fail("it was opened")


def test_a_list_of_members_is_bounded(tmp_path):
    with zipfile.ZipFile(tmp_path / "z", "w") as out:
        for k in range(MAX_DIRECTORY // 60000 + 1):
            out.writestr(f"{k:060000}", b"")
    with (tmp_path / "z").open("rb") as file, pytest.raises(InputError, match="list of members"):
        with open_archive(file):
            pytest.fail("it was opened")
