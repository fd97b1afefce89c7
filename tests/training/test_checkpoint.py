"""Checkpoints: whole or not at all, the same run in the same bytes, harmless whoever made them."""

import io
import json
import os
import zipfile

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.base.environment import differences
from gpt_numpy.base.errors import InputError
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.data.tokenizers.characters import CharTokenizer
from gpt_numpy.files import durable
from gpt_numpy.files.durable import COMMENT, DIGITS, TEMPORARY
from gpt_numpy.training import checkpoint
from gpt_numpy.training import run_folder as runs

SHAPE = {"vocab_size": 5, "block_size": 8, "n_layer": 1, "n_head": 2, "n_embd": 8, "bias": False}
SETTINGS = TrainConfig(out_dir="ü", seed=7, ops="reference")
PROGRESS = {
    "iteration": 3,
    "best_val_loss": 1.5,
    "best_iteration": 2,
    "evaluated": 2,
    "evaluations_without_gain": 0,
}


def make(dtype="float32", **changed):
    model = gn.GPT(gn.GPTConfig(**SHAPE | changed), seed=3, dtype=dtype, ops="reference")
    optimizer = gn.AdamW(model, betas=(0.8, 0.9))
    for _ in range(2):
        model.grads.flat[...] = np.random.default_rng(1).standard_normal(model.n_params)
        optimizer.step()
    return model, optimizer


def write(path, **changed):
    model, optimizer = make(**changed)
    checkpoint.save(
        path,
        model,
        tokenizer=CharTokenizer("abc\ud800\n"),
        optimizer=optimizer,
        settings=SETTINGS,
        progress=PROGRESS,
        dataset="f" * 64,
    )
    return model, optimizer


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "ckpt.npz"
    write(path)
    return path


def refused(path, said=""):
    with pytest.raises(InputError) as caught:
        checkpoint.load(path)
    message = str(caught.value)
    assert str(path) in message and said in message and "\n" not in message, message


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("changed", [{}, {"tied": False, "bias": True, "positions": "sinusoidal"}])
def test_everything_comes_back(tmp_path, dtype, changed):
    path = tmp_path / "a.npz"
    model, optimizer = write(path, dtype=dtype, **changed)
    run = checkpoint.load(path)
    assert run.config == model.config
    assert run.model.dtype == dtype
    for name, param in model.params.items():
        assert (run.model.params[name] == param).all()
        assert (run.optimizer.m[name] == optimizer.m[name]).all()
        assert (run.optimizer.v[name] == optimizer.v[name]).all()
    assert (run.optimizer.steps, run.optimizer.betas) == (2, (0.8, 0.9))
    assert run.tokenizer.characters == "abc\ud800\n"
    assert run.settings == SETTINGS
    assert (run.progress, run.dataset) == (PROGRESS, "f" * 64)


def test_save_load_save_gives_the_same_bytes(path, tmp_path):
    run = checkpoint.load(path)
    checkpoint.save(
        tmp_path / "b.npz",
        run.model,
        tokenizer=run.tokenizer,
        optimizer=run.optimizer,
        settings=run.settings,
        progress=run.progress,
        dataset=run.dataset,
    )
    assert (tmp_path / "b.npz").read_bytes() == path.read_bytes()


def test_a_model_alone_is_a_checkpoint_too(tmp_path):
    model, _ = make()
    gn.save(tmp_path / "deep" / "m.npz", model)
    run = gn.load(tmp_path / "deep" / "m.npz", ops="reference")
    assert (run.model.params.flat == model.params.flat).all()
    assert (run.optimizer, run.tokenizer, run.settings, run.progress) == (None, None, None, {})
    (tmp_path / "deep" / "m.npz").rename(tmp_path / "deep" / runs.LAST)
    with pytest.raises(InputError, match="no training state"):
        runs.resume(str(tmp_path / "deep"), {"ops": "reference"})


def test_numpy_reads_it_without_pickle(path):
    model, optimizer = make()
    with np.load(path, allow_pickle=False) as arrays:
        names = [name for name in arrays.files if name != "header.json"]
        assert len(names) == 3 * len(model.params)
        for name in names:
            kind, _, parameter = name.rpartition("adamw.")[2].partition(".")
            source = {"m": optimizer.m, "v": optimizer.v}.get(kind, model.params)
            assert (arrays[name] == source[parameter if kind in "mv" else name]).all()


def test_no_flipped_bit_goes_unseen(path):
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    tail = range(len(data) - 200, len(data))
    places = {*rng.integers(0, len(data), 150).tolist(), *range(0, 60, 3), *tail}
    for place in places:
        bit = 1 << int(rng.integers(8))
        data[place] ^= bit
        path.write_bytes(data)
        refused(path)
        data[place] ^= bit
    path.write_bytes(data)
    checkpoint.load(path)


def test_no_missing_end_goes_unseen(path):
    data = path.read_bytes()
    for size in [*range(0, 200, 7), *range(200, len(data), 499), *range(len(data) - 99, len(data))]:
        path.write_bytes(data[:size])
        refused(path)
    path.write_bytes(data + b"\0")
    refused(path)


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_crash_while_saving_leaves_the_old_file_and_nothing_else(path, monkeypatch, failing):
    before = path.read_bytes()

    def crash(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, crash)
    with pytest.raises(InputError, match="No space left on device"):
        write(path, n_embd=16)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_an_interrupt_while_saving_leaves_the_old_file_and_nothing_else(path, monkeypatch):
    before = path.read_bytes()

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(durable, "digest_of", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_the_file_is_on_disk_before_it_gets_its_name(path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("rename"), replace(a, b))[1])
    write(path)
    assert events == ["fsync", "rename", "fsync"]  # the file, its name, the folder


def test_what_a_killed_run_left_is_cleared_away(tmp_path):
    (tmp_path / f"{TEMPORARY}0123.npz").write_bytes(b"half")
    (tmp_path / "mine.npz").write_bytes(b"")
    durable.remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["mine.npz"]


def test_places_that_cannot_be_written_or_read_are_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    for place in (tmp_path / "file" / "ckpt.npz", "/proc/none/ckpt.npz", tmp_path):
        with pytest.raises(InputError, match="cannot save"):
            checkpoint.save(place, make()[0])
    assert os.listdir(tmp_path) == ["file"]
    refused(tmp_path / "none.npz", "No such file")
    refused(tmp_path, "is a folder")


@pytest.mark.parametrize("content", [b"", b"x", b"PK\x03\x04", b"\x80\x04." * 100, b"\0" * 10_000])
def test_files_of_another_kind_are_refused(tmp_path, content):
    (tmp_path / "f.npz").write_bytes(content)
    refused(tmp_path / "f.npz", "not a gpt_numpy checkpoint")


def test_an_npz_of_somebody_else_is_refused(tmp_path):
    np.savez(tmp_path / "f.npz", a=np.zeros(3))
    refused(tmp_path / "f.npz", "not a gpt_numpy checkpoint")


# From here on files that are made to harm: everything in them may lie, but the checksum is right.


def forge(path, header=None, members=None, compress=False, drop=()):
    """Write the checkpoint again with some of its header and members changed."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    text = json.loads(content["header.json"])
    for keys, value in (header or {}).items():
        *outer, last = keys.split(".")
        place = text
        for key in outer:
            place = place[key]
        place[last] = value
    content["header.json"] = json.dumps(text).encode()
    content |= members or {}
    kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for name, data in content.items():
            if name not in drop:
                archive.writestr(name, data)
        archive.comment = COMMENT + b"0" * DIGITS
    sign(path, buffer.getvalue())


def sign(path, data):
    body = data[:-DIGITS]
    path.write_bytes(body + durable.digest_of(io.BytesIO(body), len(body)))


def test_forging_nothing_changes_nothing(path):
    forge(path)
    checkpoint.load(path)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("format", "pickle", "format"),
        ("version", 2, "version 2"),
        ("version", None, "version"),
        ("dtype", "object", "dtype='object'"),
        ("dtype", "float16", "dtype"),
        ("dtype", ["float32"], "dtype"),
        ("dtype", "float64", "smaller"),
        ("config", [], ""),
        ("config.n_layer", 10**9, "n_layer=1000000000"),
        ("config.n_layer", 2, "member"),
        ("config.n_layer", True, "n_layer"),
        ("config.n_head", 10**30, "less than 2^64"),
        ("config.vocab_size", 10**12, "smaller"),
        ("config.n_embd", 10**12, "smaller"),
        ("config.block_size", 10**12, "smaller"),
        ("config.block_size", 4, "(8, 8)"),
        ("config.dropout", 1e999, "dropout"),
        ("config.activation", "exec", "activation"),
        ("config.unknown", 1, "unknown"),
        ("tokenizer", "abc", "tokenizer"),
        ("tokenizer.characters", list("abcdefgh"), "8 tokens"),
        ("settings.n_iters", 1, "n_iters"),
        ("settings.seed", "x", "seed"),
        ("optimizer", 5, ""),
        ("optimizer.betas", [0.9], ""),
        ("optimizer.betas", [0.9, 1.5], "betas"),
        ("optimizer.steps", -1, "steps"),
        ("optimizer.steps", "1", "steps"),
        ("optimizer.eps", 0, "eps"),
        ("optimizer.kind", "sgd", "kind='sgd'"),
        ("optimizer.kind", "muon", "member"),
        ("optimizer.kind", ["muon"], ""),
        ("progress", [1], "progress"),
        ("dataset", 5, "dataset"),
    ],
)
def test_a_header_that_lies_is_refused(path, key, value, said):
    forge(path, header={key: value})
    refused(path, said)


def npy(array, **changed):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=True, **changed)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        npy(np.zeros((4, 8), np.float32)),
        npy(np.zeros((8, 5), np.float32)),
        npy(np.asfortranarray(np.zeros((5, 8), np.float32))),
        npy(np.zeros((5, 8), np.float64)),
        npy(np.zeros((5, 8), ">f4")),
        npy(np.full((5, 8), None, dtype=object)),
        npy(np.zeros((5, 8), np.float32), version=(2, 0)),
        npy(np.zeros((5, 8), np.float32))[:-1],
        npy(np.zeros((5, 8), np.float32)) + b"\0",
        npy(np.zeros((5, 8), np.float32))[:-100] + b"",
        b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535,
        b"\x93NUMPY\x01\x00\x20\x00{'descr': __import__('os')      }" + b"\0" * 200,
        b"",
        b"\0" * 288,
    ],
)
def test_an_array_that_lies_is_refused(path, data):
    forge(path, members={"wte.weight.npy": data})
    refused(path)


def test_members_too_many_too_few_twice_or_compressed_are_refused(path):
    original = path.read_bytes()
    for forgery in (
        {"members": {"extra.npy": npy(np.zeros(3))}},
        {"members": {"../../evil.npy": npy(np.zeros(3))}},
        {"members": {"adamw.m.none.npy": b""}},
        {"drop": ("wpe.weight.npy",)},
        {"drop": ("adamw.v.wte.weight.npy",)},
        {"drop": ("header.json",)},
        {"compress": True},
        {"members": {"header.json": b"{"}},
        {"members": {"header.json": b"[" * 100_000}},
        {"members": {"header.json": b"\xff"}},
        {"members": {"header.json": b"[]"}},
        {"members": {"header.json": b'{"format": ' + b"9" * 5000 + b"}"}},
    ):
        path.write_bytes(original)
        forge(path, **forgery)
        refused(path)
    path.write_bytes(original)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("wte.weight.npy", b"")
        archive.comment = COMMENT + b"0" * DIGITS
    sign(path, path.read_bytes())
    refused(path, "members")


def test_sinusoids_as_large_as_a_header_pleases_are_not_made(tmp_path):
    path = tmp_path / "a.npz"
    write(path, positions="sinusoidal")
    forge(path, header={"config.block_size": 10**13})
    refused(path, "memory")


def test_random_damage_under_a_right_checksum_ends_in_one_kind_of_error(path):
    original = path.read_bytes()
    rng = np.random.default_rng(5)
    with zipfile.ZipFile(path) as archive:
        directory = archive.start_dir
    for _ in range(150):
        data = bytearray(original)
        for _ in range(int(rng.integers(1, 4))):
            low = directory if rng.random() < 0.5 else 0
            data[int(rng.integers(low, len(data) - DIGITS))] = int(rng.integers(256))
        sign(path, bytes(data))
        try:
            checkpoint.load(path)  # what it says may be another model, but it is one
        except InputError as error:
            assert "\n" not in str(error)


def test_the_folder_of_a_run_is_refused_with_the_name_of_a_checkpoint_in_it(tmp_path):
    with pytest.raises(InputError, match="is a folder, and holds no checkpoint"):
        gn.load(tmp_path)
    model = gn.GPT(gn.GPTConfig(vocab_size=3, block_size=2, n_layer=1, n_head=1, n_embd=2), seed=0)
    for name in ("ckpt.npz", "ckpt-00000250.npz", "ckpt-best.npz"):
        gn.save(tmp_path / name, model)
        with pytest.raises(InputError, match="is a folder: name a checkpoint in it, ") as caught:
            gn.load(tmp_path)
    remedy = str(caught.value).rpartition(", ")[2]
    assert remedy == str(tmp_path / "ckpt-best.npz")
    assert gn.load(remedy).config == model.config


def test_a_resume_names_another_way_to_multiply_in_bfloat16(tmp_path, monkeypatch):
    config = gn.GPTConfig(**SHAPE)
    model = gn.GPT(config, seed=3, dtype="bfloat16", ops="kernels")
    monkeypatch.setattr("gpt_numpy.kernels.bfloat16_tile", lambda: "amx")
    checkpoint.save(tmp_path / "ckpt.npz", model)
    before = gn.load(tmp_path / "ckpt.npz").environment
    assert differences(before, checkpoint.environment_of(model)) == []
    monkeypatch.setattr("gpt_numpy.kernels.bfloat16_tile", lambda: "emulated")
    now = checkpoint.environment_of(model)
    assert differences(before, now) == ["bfloat16 products amx then, emulated now"]
    for other in ({"ops": "reference", "dtype": "bfloat16"}, {"ops": "kernels"}):
        assert "bfloat16 products" not in checkpoint.environment_of(gn.GPT(config, **other))
