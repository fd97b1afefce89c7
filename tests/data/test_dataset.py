"""A text becomes tokens in two splits, and a name finds its data set."""

import itertools

import numpy as np
import pytest

from gpt_numpy.base.errors import InputError
from gpt_numpy.data import texts
from gpt_numpy.data.dataset import _fingerprint, check_length, open_dataset


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def from_text(folder, text, say=pytest.fail):
    (folder / "text").write_text(text, encoding="utf-8", newline="")
    return open_dataset("shakespeare", "text", say=say)


def test_a_text_file_becomes_tokens_split_at_nine_tenths_of_its_characters(folder):
    text = "äöü, or not to be?\r\n" * 77 + "x"
    dataset = from_text(folder, text)
    assert dataset.name == "text" and dataset.vocab_size == len(set(text))
    cut = int(len(text) * 0.9)
    assert dataset.tokenizer.decode(dataset.train) == text[:cut]
    assert dataset.tokenizer.decode(dataset.val) == text[cut:]


def test_a_text_longer_than_a_chunk_is_tokenized_in_order(folder):
    text = "".join(itertools.islice(itertools.cycle("abcdefg"), 1_200_000))
    dataset = from_text(folder, text)
    assert dataset.tokenizer.decode(np.concatenate([dataset.train, dataset.val])) == text


@pytest.mark.parametrize(
    ("characters", "dtype"), [(100, np.uint16), (65536, np.uint16), (65537, np.uint32)]
)
def test_tokens_are_as_wide_as_the_vocabulary_needs(folder, characters, dtype):
    text = "".join(map(chr, range(0x10000, 0x10000 + characters)))
    dataset = from_text(folder, text)
    assert dataset.train.dtype == dataset.val.dtype == dtype
    assert dataset.val[-1] == characters - 1
    assert not dataset.train.flags.writeable and not dataset.val.flags.writeable


@pytest.mark.parametrize(
    ("text", "split"), [("a", "training"), ("ab" * 5, "validation"), ("abc", "training|validation")]
)
def test_a_text_too_short_to_split_is_refused(folder, text, split):
    with pytest.raises(InputError, match=f"text is too short: its ({split}) split"):
        from_text(folder, text)


def test_the_shortest_text_has_two_tokens_in_each_split(folder):
    dataset = from_text(folder, "abcdefghijk")
    assert len(dataset.train) == 9 and len(dataset.val) == 2
    check_length(dataset, 1)


def test_a_context_longer_than_a_split_is_refused_with_the_longest_possible(folder):
    dataset = from_text(folder, "ab" * 50)
    check_length(dataset, 9)
    match = "block_size=10: the validation split of text has 10 tokens.*--block_size=9 or less"
    with pytest.raises(InputError, match=match):
        check_length(dataset, 10)
    with pytest.raises(InputError, match="the training split of text has 90 .*--block_size=9 "):
        check_length(dataset, 90)


def test_the_fingerprint_is_of_the_tokens_and_their_split_and_not_of_the_dtype():
    a, b = np.arange(5, dtype=np.uint16), np.arange(5, 9, dtype=np.uint16)
    first = _fingerprint(a, b)
    assert len(first) == 64 and first == _fingerprint(a.astype(np.uint32), b.astype(">i8"))
    joined = np.concatenate([a, b])
    others = [(b, a), (joined[:4], joined[4:]), (a, b[:-1]), (a, b[::-1]), (a, b + 1)]
    assert first not in [_fingerprint(*splits) for splits in others]


def test_the_fingerprint_is_the_same_in_every_version(folder):
    dataset = from_text(folder, "hello world\n" * 10)
    assert dataset.fingerprint == "9431d18ea4e36c12a9af20fdd691e456084a934e277eadb17a42b63e414816af"


def test_an_unknown_name_is_answered_with_the_ones_it_resembles(folder):
    with pytest.raises(InputError, match="dataset='shakespear'.*did you mean shakespeare"):
        open_dataset("shakespear")
    (folder / "data" / "owt_small").mkdir(parents=True)
    (folder / "data" / "owt_small" / "train.bin").touch()
    with pytest.raises(InputError, match="data/owt_smal/train.bin'; did you mean owt_small?"):
        open_dataset("owt_smal")


@pytest.mark.parametrize("name", ["", ".", "..", "/", "x" * 300, "nul\0", "\x1b[31m", "a/b"])
def test_a_name_that_is_no_name_is_refused_in_one_printable_line(folder, name):
    with pytest.raises(InputError, match="no data set has this name") as info:
        open_dataset(name)
    assert str(info.value).isprintable()


def test_shakespeare_char_is_tinyshakespeare_and_says_so(folder, monkeypatch):
    asked, said = [], []
    monkeypatch.setattr(texts, "named_text", lambda name, say: asked.append(name) or "ab" * 50)
    assert open_dataset("shakespeare_char", say=said.append).name == "tinyshakespeare"
    assert asked == ["tinyshakespeare"] and "tinyshakespeare" in said[0]


def test_python_docs_can_be_opened_without_any_network(folder):
    dataset = open_dataset("python-docs", say=pytest.fail)
    assert dataset.vocab_size < 300 and len(dataset.train) > 400_000
    check_length(dataset, 1024)


def test_the_fingerprint_is_of_all_chunks():
    tokens = np.zeros(2 * (1 << 20) + 5, np.uint16)
    first = _fingerprint(tokens, tokens[:2])
    for place in (0, 1 << 20, (2 << 20) + 4):
        changed = tokens.copy()
        changed[place] = 1
        assert _fingerprint(changed, tokens[:2]) != first
