"""Every string is restored exactly from its tokens; everything else is refused with a reason."""

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt_numpy.base.errors import InputError
from gpt_numpy.data.tokenizers.characters import CharTokenizer
from gpt_numpy.data.tokenizers.tokenizer_files import read_tokenizer, tokenizer_from_json

ANY_TEXT = st.text(st.characters(), min_size=1)  # characters() has lone surrogates too


@given(ANY_TEXT)
@settings(derandomize=True, deadline=None, max_examples=200)
def test_any_text_is_restored_from_its_tokens(text):
    tokenizer = CharTokenizer.from_text(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(ANY_TEXT)
@settings(derandomize=True, deadline=None, max_examples=200)
def test_any_tokenizer_is_restored_from_json(text):
    tokenizer = CharTokenizer.from_text(text)
    again = tokenizer_from_json(json.loads(json.dumps(tokenizer.to_json())))
    assert again.characters == tokenizer.characters
    assert again.decode(again.encode(text)) == text


def test_every_unicode_character_is_restored():
    text = "".join(map(chr, range(0x110000)))
    tokenizer = CharTokenizer.from_text(text)
    assert tokenizer.vocab_size == 0x110000
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_adjacent_surrogates_stay_two_characters():
    text = "\ud83d\ude00"
    tokenizer = tokenizer_from_json(json.loads(json.dumps(CharTokenizer.from_text(text).to_json())))
    assert tokenizer.encode(text).tolist() == [0, 1]
    assert tokenizer.decode([0, 1]) == text
    with pytest.raises(InputError, match="does not know"):
        tokenizer.encode("\U0001f600")


def test_the_vocabulary_is_the_sorted_set_of_the_characters():
    tokenizer = CharTokenizer.from_text("hello\n world\U0001f600")
    assert tokenizer.characters == "".join(sorted(set("hello\n world\U0001f600")))
    assert tokenizer.encode("\n\U0001f600").tolist() == [0, tokenizer.vocab_size - 1]


def test_a_given_order_of_characters_is_kept():
    tokenizer = CharTokenizer("zab")
    assert tokenizer.encode("abz").tolist() == [1, 2, 0]
    assert tokenizer_from_json(tokenizer.to_json()).encode("abz").tolist() == [1, 2, 0]


def test_tokens_are_int64_one_for_each_character():
    tokens = CharTokenizer("ab").encode("abba")
    assert tokens.dtype == np.int64 and tokens.shape == (4,)
    assert CharTokenizer("ab").encode("").shape == (0,)
    assert CharTokenizer("ab").decode([]) == ""


def test_a_long_text_is_encoded_in_order():
    text = "abc" * 400_000 + "d"
    tokenizer = CharTokenizer.from_text(text)
    tokens = tokenizer.encode(text)
    assert tokens[-1] == 3
    assert np.array_equal(tokens[:-1], np.arange(1_200_000) % 3)


def test_an_unknown_character_at_the_end_of_a_long_text_is_found():
    with pytest.raises(InputError, match="'b'"):
        CharTokenizer("a").encode("a" * 1_500_000 + "b")


def test_ten_million_characters_take_a_few_seconds_at_most():
    text = "To be, or not to be\n" * 500_000
    start = time.process_time()
    tokenizer = CharTokenizer.from_text(text)
    tokenizer.encode(text)
    assert time.process_time() - start < 3


def test_every_character_outside_the_vocabulary_is_unknown():
    tokenizer = CharTokenizer("ab")
    for code in {*range(1000), 0xD800, 0x10FFFF} - {ord("a"), ord("b")}:
        with pytest.raises(InputError, match="1 character that the tokenizer does not know"):
            tokenizer.encode("ab" + chr(code))


def test_unknown_characters_are_shown_with_the_vocabulary():
    with pytest.raises(InputError) as info:
        CharTokenizer.from_text("abc\n").encode("a\u00e9b\td\u00e9\ud800\x07")
    message = str(info.value)
    assert "5 characters" in message
    assert r"'é', '\t', 'd', '\ud800', '\x07'" in message  # in the order of the text
    assert r"vocabulary of 4: '\nabc'" in message


def test_at_most_ten_unknown_characters_are_shown():
    with pytest.raises(InputError) as info:
        CharTokenizer("a").encode("bcdefghijklmnop")
    assert "15 characters" in str(info.value) and "'k', ...;" in str(info.value)
    assert "'l'" not in str(info.value)


@pytest.mark.parametrize("ids", [[3], [-1], [0, 1, 2, 3], np.array([2**63], np.uint64)])
def test_ids_outside_the_vocabulary_are_refused(ids):
    with pytest.raises(InputError, match="is not a token"):
        CharTokenizer("abc").decode(ids)


@pytest.mark.parametrize(
    ("ids", "named"), [([0.5], "float64"), ([True], "bool"), ([[0]], "shape"), (0, "shape")]
)
def test_ids_that_are_no_sequence_of_integers_are_refused(ids, named):
    with pytest.raises(InputError, match=named):
        CharTokenizer("abc").decode(ids)


def test_ids_of_any_integer_dtype_are_decoded():
    for dtype in (np.uint8, np.uint16, np.int32, np.int64, np.uint64):
        assert CharTokenizer("abc").decode(np.array([2, 0], dtype)) == "ca"


@pytest.mark.parametrize("text", [b"abc", None, 3])
def test_text_that_is_no_string_is_refused(text):
    with pytest.raises(InputError, match="must be a str"):
        CharTokenizer("abc").encode(text)
    with pytest.raises(InputError, match="must be a str"):
        CharTokenizer.from_text(text)


def test_an_empty_text_has_no_tokenizer():
    with pytest.raises(InputError, match="at least one"):
        CharTokenizer.from_text("")


@pytest.mark.parametrize(
    ("saved", "named"),
    [
        (None, "NoneType"),
        ([], "list"),
        ({}, "kind=None"),
        ({"kind": "word", "characters": ["a"]}, "kind='word'"),
        ({"kind": "bpe", "characters": ["a"]}, "exactly .kind. and .tokenizer."),
        ({"kind": "char"}, "keys"),
        ({"kind": "char", "characters": ["a"], "more": 1}, "keys"),
        ({"kind": "char", "characters": "abc"}, "characters='abc'"),
        ({"kind": "char", "characters": {"a": 1}}, "must be a list"),
        ({"kind": "char", "characters": []}, "at least one"),
        ({"kind": "char", "characters": ["a", "bc"]}, r"characters\[1\]='bc'"),
        ({"kind": "char", "characters": ["a", ""]}, r"characters\[1\]=''"),
        ({"kind": "char", "characters": ["a", 7]}, r"characters\[1\]=7"),
        ({"kind": "char", "characters": ["a", "b", "a"]}, "'a' more than once"),
    ],
)
def test_json_that_is_not_exactly_a_tokenizer_is_refused(saved, named):
    with pytest.raises(InputError, match=named):
        tokenizer_from_json(saved)


@pytest.mark.parametrize("content", ["{", "[]", "\xff", '{"a":' + "9" * 5000 + "}", "[" * 10**5])
@pytest.mark.parametrize("name", ["gpt_numpy_tokenizer.json", "vocab.json"])
def test_a_damaged_file_of_a_tokenizer_is_refused_by_name(name, content, tmp_path):
    if name == "vocab.json":
        pytest.importorskip("tokenizers", reason="the extra `bpe` is not installed")
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    (tmp_path / "merges.txt").write_text("a b\n")
    with pytest.raises(InputError, match=f"{name} is not"):
        read_tokenizer(tmp_path)


def test_a_large_vocabulary_is_not_shown_whole():
    tokenizer = CharTokenizer(map(chr, range(0x4E00, 0x4E00 + 3000)))
    with pytest.raises(InputError, match="vocabulary of 3000") as caught:
        tokenizer.encode("a")
    assert len(str(caught.value)) < 500 and len(repr(tokenizer)) < 300


def test_a_text_may_be_of_a_subclass_of_str():
    class Text(str):
        pass

    assert CharTokenizer("ab").encode(Text("ba")).tolist() == [1, 0]
    assert CharTokenizer.from_text(Text("ba")).characters == "ab"
