"""Folders that nanoGPT prepared are read, or refused if they are damaged."""

import io
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from gpt_numpy.base.errors import InputError
from gpt_numpy.data.batches import draw_batch
from gpt_numpy.data.dataset import check_length, open_dataset
from gpt_numpy.data.nanogpt_bins import write_vocabulary
from gpt_numpy.data.token_file import ChangedFileError, TokenFile

TEXT = "To be, or not to be: that is the question.\n" * 50


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "mine").mkdir(parents=True)
    return tmp_path / "data" / "mine"


def prepare(folder, text=TEXT, protocol=pickle.DEFAULT_PROTOCOL, **changes):
    """What nanoGPT's data/shakespeare_char/prepare.py does."""
    chars = sorted(set(text))
    stoi = {ch: i for i, ch in enumerate(chars)}
    itos = {i: ch for i, ch in enumerate(chars)}
    cut = int(len(text) * 0.9)
    for name, part in (("train.bin", text[:cut]), ("val.bin", text[cut:])):
        np.array([stoi[c] for c in part], dtype=np.uint16).tofile(folder / name)
    meta = {"vocab_size": len(chars), "itos": itos, "stoi": stoi} | changes
    (folder / "meta.pkl").write_bytes(pickle.dumps(meta, protocol))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_nanogpt_prepared_is_read_with_its_vocabulary(folder, protocol):
    prepare(folder, protocol=protocol)
    dataset = open_dataset("mine", say=pytest.fail)
    assert dataset.name == "mine" and dataset.vocab_size == len(set(TEXT))
    text = dataset.tokenizer.decode(dataset.train[:]) + dataset.tokenizer.decode(dataset.val[:])
    assert text == TEXT
    assert dataset.train.dtype == dataset.val.dtype == np.uint16


def test_the_same_text_has_the_same_fingerprint_as_a_file_and_as_a_folder(folder):
    prepare(folder)
    (folder / "text").write_text(TEXT)
    as_file = open_dataset("", str(folder / "text"))
    assert open_dataset("mine").fingerprint == as_file.fingerprint


def test_tokens_are_little_endian_16_bit(folder):
    (folder / "train.bin").write_bytes(bytes([1, 0, 0, 1, 255, 255]))
    (folder / "val.bin").write_bytes(bytes([2, 0, 3, 0]))
    dataset = open_dataset("mine")
    assert dataset.train[:].tolist() == [1, 256, 65535] and dataset.val[:].tolist() == [2, 3]
    assert dataset.vocab_size == 65536
    x, y = draw_batch(dataset.train, 1, 2, seed=0, stream=1, step=0)
    assert x.tolist() == [[1, 256]] and y.tolist() == [[256, 65535]]


def test_without_meta_the_vocabulary_ends_at_the_largest_token_and_a_note_says_so(folder):
    prepare(folder)
    (folder / "meta.pkl").unlink()
    for splits in ([[0, 1, 2], [0, 7]], [[0, 7, 2], [0, 1]]):
        for name, tokens in zip(("train.bin", "val.bin"), splits, strict=True):
            np.array(tokens, np.uint16).tofile(folder / name)
        reported = []
        dataset = open_dataset("mine", say=reported.append)
        assert dataset.vocab_size == 8 and dataset.tokenizer is None
        (line,) = reported
        assert "no data/mine/meta.pkl: vocab_size = 8" in line and "50304" in line


@pytest.mark.parametrize("name", ["shakespeare", "tinyshakespeare", "shakespeare_char"])
def test_a_prepared_folder_wins_over_a_text_of_the_same_name(folder, name):
    prepare(folder)
    folder.rename(folder.parent / name)
    assert open_dataset(name, say=pytest.fail).vocab_size == len(set(TEXT))


@pytest.mark.parametrize("split", ["train.bin", "val.bin"])
def test_a_token_outside_the_vocabulary_is_refused(folder, split):
    prepare(folder)
    with (folder / split).open("ab") as file:
        file.write(bytes([99, 0]))
    match = rf"{split} has the token 99, but .*meta.pkl says vocab_size={len(set(TEXT))}"
    with pytest.raises(InputError, match=match):
        open_dataset("mine")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f: (f / "val.bin").unlink(), "val.bin cannot be read: No such file"),
        (lambda f: (f / "train.bin").write_bytes(b""), "train.bin is empty"),
        (lambda f: (f / "val.bin").write_bytes(b""), "val.bin is empty"),
        (
            lambda f: (f / "train.bin").write_bytes(bytes(2001)),
            "2001 bytes, not a multiple",
        ),
        (lambda f: (f / "val.bin").write_bytes(bytes(2)), "validation split has 1"),
        (lambda f: (f / "train.bin").write_bytes(bytes(2)), "training split has 1"),
        (lambda f: (f / "meta.pkl").write_bytes(b""), "meta.pkl: pickle: "),
        (lambda f: (f / "meta.pkl").write_bytes(bytes(1 << 23)), "meta.pkl: pickle of"),
        (lambda f: ((f / "meta.pkl").unlink(), (f / "meta.pkl").mkdir()), "Is a directory"),
        (lambda f: prepare(f, vocab_size=0), "no vocab_size of 1 or more"),
        (lambda f: prepare(f, vocab_size=-5), "no vocab_size of 1 or more"),
        (lambda f: prepare(f, vocab_size=True), "no vocab_size of 1 or more"),
        (lambda f: prepare(f, vocab_size="65"), "no vocab_size of 1 or more"),
        (lambda f: prepare(f, vocab_size=5), "vocab_size=5"),
        (lambda f: prepare(f, vocab_size=np.int64(65)), "meta.pkl: pickle: STACK_GLOBAL"),
        (lambda f: (f / "meta.pkl").write_bytes(pickle.dumps([1])), "no vocab_size"),
    ],
)
def test_a_damaged_folder_is_refused(folder, change, reason):
    prepare(folder)
    change(folder)
    with pytest.raises(InputError, match=reason) as info:
        open_dataset("mine")
    assert "\n" not in str(info.value)


def test_a_meta_that_calls_something_is_refused_and_nothing_runs(folder):
    prepare(folder)
    mark = folder / "mark"
    (folder / "meta.pkl").write_bytes(b"cos\nmkdir\n(V" + str(mark).encode() + b"\ntR.")
    with pytest.raises(InputError, match="GLOBAL at byte 0"):
        open_dataset("mine")
    assert not mark.exists()


MANY = []
for _ in range(60):
    MANY = [MANY, MANY]  # 2^60 lists to print, 60 in the pickle


@pytest.mark.parametrize(
    "itos",
    [
        None,
        {},
        {0: "a"},
        dict(enumerate(sorted(set(TEXT)) + ["z"])),
        "words",
        dict.fromkeys(range(len(set(TEXT))), "a"),
        {i: f"word{i}" for i in range(len(set(TEXT)))},
        {i: i for i in range(len(set(TEXT)))},
        {i + 1: chr(i + 65) for i in range(len(set(TEXT)))},
        dict.fromkeys(range(len(set(TEXT))), MANY),
    ],
)
def test_without_a_character_for_each_token_there_is_no_tokenizer_and_a_note(folder, itos):
    prepare(folder, itos=itos)
    reported = []
    dataset = open_dataset("mine", say=reported.append)
    assert dataset.tokenizer is None and dataset.vocab_size == len(set(TEXT))
    assert len(reported) == 1 and "itos in data/mine/meta.pkl" in reported[0]


def test_the_vocabulary_may_be_a_list_of_characters(folder):
    prepare(folder, itos=sorted(set(TEXT)))
    assert open_dataset("mine", say=pytest.fail).tokenizer.decode([0]) == "\n"


def test_a_prepared_folder_too_short_for_the_context_is_refused(folder):
    prepare(folder)
    dataset = open_dataset("mine")
    check_length(dataset, len(dataset.val) - 1)
    with pytest.raises(InputError, match=f"--block_size={len(dataset.val) - 1} or less"):
        check_length(dataset, len(dataset.val))


def test_the_first_token_outside_the_vocabulary_is_refused(folder):
    prepare(folder)
    with (folder / "val.bin").open("ab") as file:
        file.write(bytes([len(set(TEXT)), 0]))
    with pytest.raises(InputError, match=f"val.bin has the token {len(set(TEXT))},"):
        open_dataset("mine")


def test_a_token_outside_the_vocabulary_is_found_in_a_large_file(folder):
    prepare(folder)
    tokens = np.zeros((1 << 20) + 3, np.uint16)
    tokens[-1] = 500
    tokens.tofile(folder / "val.bin")
    with pytest.raises(InputError, match="val.bin has the token 500"):
        open_dataset("mine")


def test_what_is_written_for_nanogpt_maps_both_ways(tmp_path):
    write_vocabulary(tmp_path / "meta.pkl", "bca")
    meta = pickle.loads((tmp_path / "meta.pkl").read_bytes())
    assert meta == {
        "vocab_size": 3,
        "itos": {0: "b", 1: "c", 2: "a"},
        "stoi": {"b": 0, "c": 1, "a": 2},
    }


def test_a_file_that_was_written_anew_is_not_read_on(tmp_path):
    path = tmp_path / "t.bin"
    np.arange(100, dtype="<u2").tofile(path)
    os.utime(path, (1, 1))
    tokens = TokenFile(path, "<u2")
    assert tokens[3:5].tolist() == [3, 4]
    np.arange(1, 101, dtype="<u2").tofile(path)  # as many
    with pytest.raises(ChangedFileError, match="has changed"):
        tokens[3:5]


def test_tokens_of_a_file_are_read_in_order_alone(tmp_path):
    np.arange(100, dtype="<u2").tofile(tmp_path / "t.bin")
    tokens = TokenFile(tmp_path / "t.bin", "<u2")
    for step in (2, -1):
        with pytest.raises(InputError, match=f"a step of {step}: "):
            tokens[::step]


def tokens_of(vocab_size, count=4000):
    """Tokens as frequent as words are: few of them make up most of a text."""
    rng = np.random.default_rng(7)
    return np.minimum(rng.zipf(1.3, count), vocab_size).astype(np.int64) - 1


def llm_c(tokens, magic, dtype):
    header = np.zeros(256, "<i4")
    header[:3] = magic, 1, len(tokens)
    return header.tobytes() + tokens.astype(dtype).tobytes()


def npy(tokens):
    file = io.BytesIO()
    np.save(file, tokens.astype("<u2"))
    return file.getvalue()


FOREIGN = {
    "integers of 64 bits": lambda t: t.astype("<i8").tobytes(),
    "integers of 32 bits": lambda t: t.astype("<i4").tobytes(),
    "big-endian integers of 32 bits": lambda t: t.astype(">u4").tobytes(),
    "big-endian integers of 16 bits": lambda t: t.astype(">u2").tobytes(),
    "NumPy's .npy": npy,
    "a file of llm.c": lambda t: llm_c(t, 20240520, "<u2"),
    "a file of llm.c, with": lambda t: llm_c(t, 20240801, "<u4"),
}


@pytest.mark.parametrize("vocab_size", [65, 300, 5000, 50257])
@pytest.mark.parametrize("looks", FOREIGN)
def test_other_files_of_tokens_are_recognised_and_written_again_as_is_said(
    folder, looks, vocab_size
):
    tokens = np.concatenate([tokens_of(vocab_size), np.arange(vocab_size)[-300:]])
    for name in ("train.bin", "val.bin"):
        (folder / name).write_bytes(FOREIGN[looks](tokens))
    if vocab_size == 65:  # then it would even fit its vocabulary
        meta = {"vocab_size": 65, "itos": {}, "stoi": {}}
        (folder / "meta.pkl").write_bytes(pickle.dumps(meta))
    for _ in range(2):
        with pytest.raises(InputError, match=f"looks like {looks}") as caught:
            open_dataset("mine")
        code = str(caught.value).split('python -c "')[1].removesuffix('"')
        if vocab_size == 300:  # as it is said
            subprocess.run([sys.executable, "-c", code], check=True)
        else:  # the same without another process
            exec(code, {})
    dataset = open_dataset("mine")
    assert dataset.train[:].tolist() == dataset.val[:].tolist() == tokens.tolist()


def test_32_bit_tokens_of_a_large_vocabulary_may_all_be_small(folder):
    meta = {"vocab_size": 70_000, "itos": {}, "stoi": {}}
    (folder / "meta.pkl").write_bytes(pickle.dumps(meta))
    for name in ("train.bin", "val.bin"):
        tokens_of(300).astype("<u4").tofile(folder / name)
    dataset = open_dataset("mine")
    assert dataset.train.dtype == np.uint32
    assert dataset.train[:].tolist() == tokens_of(300).tolist()


def test_a_text_is_not_a_file_of_tokens(folder):
    (folder / "train.bin").write_text(TEXT)
    np.arange(9, dtype="<u2").tofile(folder / "val.bin")
    with pytest.raises(InputError, match="looks like text"):
        open_dataset("mine")


@pytest.mark.parametrize("count", [2, 40, 4000])
@pytest.mark.parametrize("vocab_size", [1, 2, 65, 256, 257, 5000, 50257, 65536])
def test_nanogpts_own_files_are_not_taken_for_others(folder, vocab_size, count):
    rng = np.random.default_rng(count)
    for tokens in (tokens_of(vocab_size, count), rng.integers(0, vocab_size, count)):
        for name in ("train.bin", "val.bin"):
            tokens.astype("<u2").tofile(folder / name)
        assert open_dataset("mine").train[:].tolist() == tokens.tolist()
