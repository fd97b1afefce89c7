"""Files that are whole or not there, and the checksum that says so, also of large ones."""

import hashlib
import io
import os
import stat
from pathlib import Path

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.base.errors import InputError
from gpt_numpy.files import durable
from gpt_numpy.files.durable import BLOCK, COMMENT, DIGITS, UNSEALED, digest_of, seal, verify
from gpt_numpy.training import checkpoint

MIB = 2**20


def expected(data):
    """SHA-256 of the SHA-256 digests of all blocks of 4 MiB, from first to last."""
    blocks = [data[start : start + 4 * MIB] for start in range(0, len(data), 4 * MIB)]
    digests = b"".join(hashlib.sha256(block).digest() for block in blocks)
    return hashlib.sha256(digests).hexdigest().encode()


@pytest.fixture(scope="module")
def content():
    return np.random.default_rng(0).bytes(17 * MIB)


@pytest.mark.parametrize(
    "size", [0, 1, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 8 * MIB, 8 * MIB + 5, 12 * MIB + 7, 17 * MIB]
)
def test_the_checksum_is_of_all_blocks_in_order(content, size):
    assert BLOCK == 4 * MIB and DIGITS == 64
    assert digest_of(io.BytesIO(content), size) == expected(content[:size])


def test_a_sealed_file_is_verified_and_no_changed_block_goes_unseen(content):
    file = io.BytesIO(content + UNSEALED)
    seal(file)
    assert file.getvalue() == content + COMMENT + expected(content + COMMENT)
    verify(Path("f"), file)
    for place in [*range(0, 17 * MIB, 2 * MIB - 1), 17 * MIB, 17 * MIB + len(COMMENT)]:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 1]))
        with pytest.raises(InputError, match="f is"):
            verify(Path("f"), file)
        file.seek(place)
        file.write(bytes([byte]))
    verify(Path("f"), file)
    blocks = bytearray(file.getvalue())
    blocks[: 4 * MIB], blocks[4 * MIB : 8 * MIB] = blocks[4 * MIB : 8 * MIB], blocks[: 4 * MIB]
    with pytest.raises(InputError, match="damaged"):
        verify(Path("f"), io.BytesIO(blocks))


def test_arrays_larger_than_a_block_come_back_whole(tmp_path):
    config = gn.GPTConfig(vocab_size=150_000, block_size=4, n_layer=1, n_head=1, n_embd=16)
    model = gn.GPT(config, seed=5, ops="reference")
    assert model.params["wte.weight"].nbytes > 2 * BLOCK
    optimizer = gn.AdamW(model, learning_rate=0.25, betas=(0.5, 0.75), eps=1e-4, grad_clip=3.0)
    optimizer.m.flat[...] = np.random.default_rng(1).standard_normal(model.n_params)
    optimizer.v.flat[...] = optimizer.m.flat**2
    optimizer.weight_decay, optimizer.steps = 0.125, 7
    checkpoint.save(tmp_path / "a.npz", model, optimizer=optimizer)
    run = checkpoint.load(tmp_path / "a.npz", ops="reference")
    assert np.array_equal(run.model.params.flat, model.params.flat)
    assert np.array_equal(run.optimizer.m.flat, optimizer.m.flat)
    assert np.array_equal(run.optimizer.v.flat, optimizer.v.flat)
    for name in ("learning_rate", "betas", "eps", "grad_clip", "weight_decay", "steps"):
        assert getattr(run.optimizer, name) == getattr(optimizer, name), name


@pytest.mark.skipif(os.name != "posix", reason="folders can be flushed on POSIX")
def test_the_file_is_flushed_by_its_name_and_then_its_folder(tmp_path, monkeypatch):
    flushed, fsync = [], os.fsync

    def noting(handle):
        status = os.fstat(handle)
        flushed.append((stat.S_ISDIR(status.st_mode), status.st_ino, status.st_size))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noting)
    with durable.written_durably(tmp_path / "f") as file:
        file.write(b"content")
    number = (tmp_path / "f").stat().st_ino
    assert flushed[0] == (False, number, 7)
    assert [entry[:2] for entry in flushed[1:]] == [(True, tmp_path.stat().st_ino)]


def test_what_a_file_held_is_kept_under_another_name_also_over_an_older_one(tmp_path):
    for content in (b"one", b"two"):
        with durable.written_durably(tmp_path / "f") as file:
            file.write(content)
        durable.preserve(tmp_path / "f", "kept")
        durable.preserve(tmp_path / "f", "kept")
        assert (tmp_path / "kept").read_bytes() == content
    with durable.written_durably(tmp_path / "f") as file:
        file.write(b"three")
    assert (tmp_path / "kept").read_bytes() == b"two"
    assert sorted(os.listdir(tmp_path)) == ["f", "kept"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_or_a_folder_is_not_replaced_by_a_file(tmp_path):
    """A device neither: root can rename a file over /dev/null."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for name in ("pipe", "folder", "link"):
        before = os.lstat(tmp_path / name).st_mode
        with (
            pytest.raises(FileExistsError, match="not a regular file"),
            durable.written_durably(tmp_path / name) as file,
        ):
            file.write(b"content")
        assert os.lstat(tmp_path / name).st_mode == before
    assert sorted(os.listdir(tmp_path)) == ["folder", "link", "pipe"]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux's /proc")
def test_a_link_of_the_system_to_an_open_file_is_not_replaced(tmp_path):
    """As /dev/stdout is one, when the output goes to a file."""
    with (
        open(tmp_path / "out", "wb") as out,
        pytest.raises(FileExistsError, match="not a regular file"),
        durable.written_durably(Path(f"/proc/self/fd/{out.fileno()}")) as file,
    ):
        file.write(b"content")
