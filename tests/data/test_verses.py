"""Verses: modules of SWORD in packages of Debian, read, aligned, split; or one clear line."""

import hashlib
import os
import re
import subprocess

import pytest

import gpt_numpy as gn
from gpt_numpy.config.translation import TranslationConfig
from gpt_numpy.data import verses
from gpt_numpy.data.pair_dataset import open_pairs
from gpt_numpy.files.debian_packages import DebianPackage, files_in_package, package_content
from gpt_numpy.files.downloads import Pin
from tests.support.sword_modules import HEADINGS, apt, module_package, packages_of, pinned

OLD = [*HEADINGS, "In the <w lemma=\"strong:H7225\">beginning</w> <w>God</w>.  <div type='x-p'/>"]
NEW = [
    "¶ The \\nd <w>LORD</w>\\+nd* said,<note>Heb.\n<reference>1</reference>spake</note> Go. ",
    "And he went.",
    "Café?",
]


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GPT_NUMPY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_module_is_its_entries_as_plain_text():
    package = module_package("usr/m", OLD, NEW)
    assert verses.read_module(package, "usr/m") == [
        *("", "", "", "In the beginning God."), "The LORD said, Go.", "And he went.", "Café?",
    ]  # fmt: skip
    assert files_in_package(package, ["usr/share/doc/copyright"]) == [b"public domain"]


def both(count):
    """Two packages, one of which lacks a verse; the pairs in them."""
    old, new = (
        [f"{word} {k} {'x' * (k % 7)}".strip() for k in range(count)]
        for word in ("word", "palabra")
    )
    new[3] = "<div/>"
    pairs = [*zip(old, new, strict=True)]
    return packages_of(old, new), [*pairs[:3], *pairs[4:], *pairs[:2]]


def test_verses_are_made_once_and_then_read_from_the_cache(monkeypatch, cache):
    packages, pairs = both(9)
    calls = pinned(monkeypatch, *packages, pairs)
    said = []
    assert verses.verse_pairs(said.append) == pairs
    assert [command[:2] for command in calls] == [["apt-get", "download"]] * 2
    assert [command[2] for command in calls] == ["sword-text-kjv=14.3-1", "sword-text-sparv=2.60-1"]
    assert len(said) == 1 and os.listdir(cache) == ["verses.tsv"]
    assert verses.verse_pairs(pytest.fail) == pairs and len(calls) == 2


def test_packages_in_the_cache_folder_need_no_apt(monkeypatch, cache):
    packages, pairs = both(9)
    calls = pinned(monkeypatch, *packages, pairs)
    cache.mkdir()
    for package, data in zip((verses.ENGLISH, verses.SPANISH), packages, strict=True):
        (cache / package.filename).write_bytes(data)
    assert verses.verse_pairs(lambda text: None) == pairs and calls == []
    # A damaged one is not read.
    (cache / verses.SPANISH.filename).write_bytes(packages[1][:-1])
    os.remove(cache / "verses.tsv")
    assert verses.verse_pairs(lambda text: None) == pairs and len(calls) == 1


def test_other_verses_than_the_pinned_ones_are_refused(monkeypatch, cache):
    packages, pairs = both(9)
    pinned(monkeypatch, *packages, [*pairs[:-1], ("a", "b")])
    with pytest.raises(gn.InputError, match="verses: refused.*--source=FILE --target=FILE"):
        verses.verse_pairs(lambda text: None)
    assert not cache.exists()


NOT_FOUND = "W: old lists\nE: Version '1' for 'a' was not found\nE: Unable to find a source"


@pytest.mark.parametrize(
    ("files", "status", "stderr", "reason"),
    [
        ({"a": ("a_1_all.deb", b"other")}, 0, "", "a_1_all.deb: refused: its sha256"),
        ({"a": ("a_1_all.deb", b"abcdef")}, 0, "", "got more than 5 bytes"),
        ({"a": ("a_2_all.deb", b"abcde")}, 0, "", "downloaded a_2_all.deb instead of a_1_all.deb"),
        ({}, 0, "", "apt-get downloaded nothing"),
        ({}, 100, NOT_FOUND, "a=1: apt-get cannot download it: E: Version '1' for 'a' was not"),
        ({}, 100, "", "it gives no reason"),
    ],
)
def test_a_package_that_is_not_the_pinned_one_is_refused(
    monkeypatch, cache, files, status, stderr, reason
):
    apt(monkeypatch, files, status, stderr)
    package = DebianPackage("a", "1", Pin(5, hashlib.sha256(b"abcde").hexdigest()))
    with pytest.raises(gn.InputError, match=reason) as info:
        package_content(package, "do this")
    assert str(info.value).endswith("; do this") and "\n" not in str(info.value)


@pytest.mark.parametrize(
    ("error", "reason"),
    [(FileNotFoundError(2, "apt-get"), "no apt-get"), (subprocess.TimeoutExpired("a", 1), "took")],
)
def test_without_apt_the_message_says_what_to_do(monkeypatch, cache, error, reason):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(gn.InputError, match=reason) as info:
        open_pairs(TranslationConfig(dataset="verses"), (16, 16), say=lambda text: None)
    message = str(info.value)
    assert message.endswith(
        "; put sword-text-kjv_14.3-1_all.deb and sword-text-sparv_2.60-1_all.deb, of Debian 12, "
        f"into the folder {cache}, or train on pairs of your own with --source=FILE --target=FILE"
    )
    assert "\n" not in message


def test_splits_share_no_verse_and_the_longest_are_left_out(monkeypatch, cache):
    packages, pairs = both(60)
    pinned(monkeypatch, *packages, pairs)
    said = []
    config = TranslationConfig(dataset="verses")
    data = open_pairs(config, (16, 15), say=said.append)
    splits = [split.texts(1000, seed=0, stream=0) for split in (data.train, data.val, data.test)]
    sources = [{source for source, _ in split} for split in splits]
    kept = [pair for pair in pairs if len(pair[0]) < 16 and len(pair[1]) < 15]
    assert sorted(pair for split in splits for pair in split) == sorted(kept)
    assert len(set.union(*sources)) == sum(map(len, sources)) < 59  # two verses are there twice
    assert said[-1].startswith(f"{len(pairs) - len(kept)} of {len(pairs)} pairs are longer")
    # The same source is in the same split, whatever is left out.
    more = open_pairs(config, (32, 32), say=said.append)
    assert [len(split) for split in (more.val, more.test)] == [2, 2]  # a twentieth each
    for ours, theirs in ((data.val, more.val), (data.test, more.test)):
        assert set(ours.texts(99, seed=0, stream=0)) <= set(theirs.texts(99, seed=0, stream=0))
    with pytest.raises(gn.InputError, match="no pair of the split train is short enough"):
        open_pairs(config, (3, 3), say=said.append)


def test_byte_pairs_are_learned_from_training_alone(monkeypatch, cache):
    pytest.importorskip("tokenizers")
    packages, pairs = both(60)
    pinned(monkeypatch, *packages, pairs)
    config = TranslationConfig(dataset="verses", tokenizer="bpe", bpe_size=300)
    data = open_pairs(config, (64, 64), say=lambda text: None)
    learned = []
    monkeypatch.setattr(
        "gpt_numpy.data.pair_dataset.BPETokenizer.train",
        lambda texts, size: learned.extend(texts) or data.tokenizer,
    )
    open_pairs(config, (64, 64), say=lambda text: None)
    trained_on = data.train.texts(1000, seed=0, stream=0)
    assert sorted(learned) == sorted(text for pair in trained_on for text in pair)


@pytest.mark.network
def test_verses_are_the_pinned_ones(cache):
    try:
        pairs = verses.verse_pairs(lambda text: None)
    except gn.InputError as error:
        if re.search("no apt-get|apt-get (cannot|took)", str(error)):
            pytest.skip(str(error))
        raise
    assert len(pairs) == 31_084
    assert pairs[0] == (
        "In the beginning God created the heaven and the earth.",
        "EN el principio crió Dios los cielos y la tierra.",
    )
    assert pairs[-1][0].startswith("The grace of our Lord Jesus Christ be with you all.")
    assert pairs[-1][1].startswith("La gracia de nuestro Señor Jesucristo sea con todos vosotros.")
    assert not any(re.search(r"[<>\\¶\t]|  ", text) for pair in pairs for text in pair)
    assert verses.verse_pairs(pytest.fail) == pairs
