"""Byte pairs, and folders of tokens prepared from text files of any size."""

import hashlib
import itertools
import os
import pickle
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
from gpt_numpy.data.tokenizers.tokenizer_files import tokenizer_from_json, write_tokenizer

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


@pytest.mark.parametrize("text", [" ", "a", "a\t"])
def test_byte_pairs_are_learned_from_long_words_in_little_time(small, text):
    start = time.perf_counter()
    learned = BPETokenizer.train([text * 200_000], 300)
    assert time.perf_counter() - start < 3
    assert learned.decode(learned.encode(text * 3)) == text * 3
