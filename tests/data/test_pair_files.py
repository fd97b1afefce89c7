"""Pairs from text files and from gettext's catalogues; their batches and splits."""

import gettext
import io
import struct

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.config.transformer import PAD
from gpt_numpy.config.translation import TranslationConfig
from gpt_numpy.data.message_catalogues import read_catalogue
from gpt_numpy.data.pair_batches import StoredPairs
from gpt_numpy.data.pair_dataset import open_pairs
from gpt_numpy.data.pair_files import pairs_of_catalogues, pairs_of_lines
from gpt_numpy.data.sentences import text_of

HEADER = "Content-Type: text/plain; charset={}\n"


def compiled(pairs, *, charset="utf-8", order="<", header=True):
    """A .mo file as the manual of gettext draws it."""
    if header:
        pairs = [("", HEADER.format(charset)), *pairs]
    pairs = sorted((a.encode(charset), b.encode(charset)) for a, b in pairs)
    texts, place = [], 28 + 16 * len(pairs)
    tables = [[], []]
    for column in (0, 1):
        for pair in pairs:
            tables[column] += [len(pair[column]), place]
            texts.append(pair[column] + b"\0")
            place += len(texts[-1])
    n = len(pairs)
    head = struct.pack(f"{order}7I", 0x950412DE, 0, n, 28, 28 + 8 * n, 0, 0)
    numbers = struct.pack(f"{order}{4 * n}I", *tables[0], *tables[1])
    return head + numbers + b"".join(texts)


PLAIN = [("File", "Datei"), ("Edit it", "Ändern"), ("Quit", "Ende")]
OTHERS = [("one\0many", "eine\0viele"), ("menu\4Open", "Öffnen"), ("Empty", "")]


@pytest.mark.parametrize(("charset", "order"), [("utf-8", "<"), ("iso-8859-1", ">")])
def test_plain_messages_of_a_mo_file(tmp_path, charset, order):
    path = tmp_path / "a.mo"
    path.write_bytes(compiled(PLAIN + OTHERS, charset=charset, order=order))
    assert sorted(read_catalogue(path)) == sorted(PLAIN)
    # The standard library reads the same.
    theirs = gettext.GNUTranslations(io.BytesIO(path.read_bytes()))
    assert all(theirs.gettext(message) == text for message, text in PLAIN)


PO = r"""
# a comment
msgid ""
msgstr "Content-Type: text/plain; charset=UTF-8\n"

#: file.c:3
msgid "File"
msgstr "Datei"
msgid "Edit"
" it"
msgstr ""
"Änd"
"ern"

#, fuzzy
msgid "Wrong"
msgstr "Falsch"

msgctxt "menu"
msgid "Open"
msgstr "Öffnen"

msgid "one"
msgid_plural "many"
msgstr[0] "eine"
msgstr[1] "viele"

#~ msgid "Old"
#~ msgstr "Alt"

msgid "Empty"
msgstr ""

msgid "A \"word\"\tand\\n\n"
msgstr "Ein \"Wort\"\tund\\n\n"
"""


def test_plain_messages_of_a_po_file(tmp_path):
    (tmp_path / "a.po").write_text(PO, encoding="utf-8")
    assert read_catalogue(tmp_path / "a.po") == [
        ("File", "Datei"),
        ("Edit it", "Ändern"),
        ('A "word"\tand\\n\n', 'Ein "Wort"\tund\\n\n'),
    ]


def test_all_catalogues_below_a_folder_each_pair_once(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.mo").write_bytes(compiled([*PLAIN, ("two\nlines ", " zwei\nZeilen")]))
    (tmp_path / "a.po").write_text(PO, encoding="utf-8")
    found = pairs_of_catalogues(str(tmp_path))
    assert sorted(found) == sorted(
        [*PLAIN, ("two lines", "zwei Zeilen"), ('A "word" and\\n', 'Ein "Wort" und\\n')]
    )
    assert pairs_of_catalogues(str(tmp_path / "a.po"))[0] == ("File", "Datei")


def test_lines_of_two_files(tmp_path):
    (tmp_path / "a").write_text("one\r\ntwo \x85 three\r\n", encoding="utf-8-sig")
    (tmp_path / "b").write_text("eins\n zwei drei", encoding="utf-8")
    found = pairs_of_lines(str(tmp_path / "a"), str(tmp_path / "b"))
    assert found == [("one", "eins"), ("two \x85 three", "zwei drei")]


def write(folder, name, text):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("a\nb\n", "c\n", r"source='.*' has 2 lines, target='.*' has 1"),
        ("a\n\nb\n", "c\nd\ne\n", r"source='.*': line 2 is empty"),
        ("a\nb\n", "c\n  \n", r"target='.*': line 2 is empty"),
        (b"\xff\n", "c\n", "not UTF-8 at byte 0"),
        ("\n", "c\n", "is empty: name a file"),
        ("a" * 20 + "\nb\n", "c\nd\n", "line 1 has 21 tokens.*source_size=16.*--source_size=21"),
        ("a\nb\n", "c\n" + "d" * 16, "line 2 has 17 tokens.*--target_size=17"),
        ("a\na\n", "c\nd\n", "1 different sources and needs at least 2"),
    ],
)
def test_bad_text_files(tmp_path, source, target, message):
    files = {"source": write(tmp_path, "a", source), "target": write(tmp_path, "b", target)}
    with pytest.raises(gn.InputError, match=message):
        open_pairs(TranslationConfig(dataset="pairs", **files), (16, 16))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.mo", compiled(OTHERS), "hold no plain pair"),
        ("a.mo", b"\xde\x12\x04\x95", "not a file of gettext's compiled messages"),
        ("a.mo", b"GNU gettext, but not this " * 3, "it begins with b'GNU"),
        ("a.mo", compiled(PLAIN)[:-2], "lies beyond its end"),
        ("a.mo", struct.pack("<7I", 0x950412DE, 0, 2**31, 28, 28, 0, 0), "names 2147483648"),
        ("a.mo", compiled(PLAIN, charset="iso-8859-1", header=False), "is not utf-8"),
        ("a.po", 'msgid "a"\nmsgstr "b"\nnonsense', "neither a comment nor a string"),
        ("a.po", '"a"\n', "a string without a name"),
        ("a.po", b'msgid "a"\nmsgstr "\xff"\n', "a.po is not utf-8"),
        ("a.po", 'msgid ""\nmsgstr "charset=klingon\\n"\n', "unknown encoding: klingon"),
        ("a.txt", "text", "has no .mo or .po file"),
    ],
)
def test_bad_catalogues(tmp_path, name, content, message):
    write(tmp_path, name, content)
    with pytest.raises(gn.InputError, match=message):
        pairs_of_catalogues(str(tmp_path))
    with pytest.raises(gn.InputError, match="there is no such file or folder"):
        pairs_of_catalogues(str(tmp_path / "missing"))


def some_pairs(count=60):
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abc"), rng.integers(1, 15))) for _ in range(count)]
    return list(dict.fromkeys((w, w[: 1 + len(w) // 2]) for w in words))


@pytest.fixture
def files(tmp_path):
    pairs = some_pairs()
    return {
        "source": write(tmp_path, "a", "\n".join(a for a, _ in pairs)),
        "target": write(tmp_path, "b", "\n".join(b for _, b in pairs)),
    }


def test_splits_have_no_source_in_common(files, tmp_path):
    pairs = some_pairs()
    dataset = open_pairs(TranslationConfig(dataset="pairs", **files), (16, 16))
    train, val = (
        set(split.texts(1000, seed=0, stream=0)) for split in (dataset.train, dataset.val)
    )
    assert train | val == set(pairs) and not {a for a, _ in train} & {a for a, _ in val}
    assert len(dataset.val) == len(pairs) // 10
    # The same pairs in another order are split alike; a source with two targets stays together.
    both = [*reversed(pairs), *((a, "c") for a, _ in pairs)]
    files = {
        "source": write(tmp_path, "c", "\n".join(a for a, _ in both)),
        "target": write(tmp_path, "d", "\n".join(b for _, b in both)),
    }
    again = open_pairs(TranslationConfig(dataset="pairs", **files), (16, 16))
    of_test = again.val.texts(1000, seed=0, stream=0)
    assert {a for a, _ in of_test} == {a for a, _ in val} and len(of_test) == 2 * len(val)
    assert again.fingerprint != dataset.fingerprint


def test_an_epoch_of_batches_holds_every_pair_once(files):
    dataset = open_pairs(TranslationConfig(dataset="pairs", **files), (16, 16))
    train, tokenizer = dataset.train, dataset.tokenizer
    n = train.n_batches(60)
    expected = sorted(train.texts(1000, seed=0, stream=0))

    def read(batch):
        assert max(batch.source.size, batch.target[:, 1:].size) <= 60
        pairs = zip(batch.source, batch.target, strict=True)
        return [
            (text_of(tokenizer, source), text_of(tokenizer, target)) for source, target in pairs
        ]

    epochs = [
        [read(train.batch(60, seed=5, stream=1, index=epoch * n + k)) for k in range(n)]
        for epoch in range(2)
    ]
    for epoch in (*epochs, [read(batch) for batch in train.all_batches(60)]):
        assert sorted(pair for batch in epoch for pair in batch) == expected
    assert epochs[0] != epochs[1]
    assert {tuple(sorted(batch)) for batch in epochs[0]} != {tuple(sorted(b)) for b in epochs[1]}
    # A new object, as after resuming, gives the same batch number 7.
    again = open_pairs(TranslationConfig(dataset="pairs", **files), (16, 16)).train
    one, other = (t.batch(60, seed=5, stream=1, index=n + 2) for t in (train, again))
    assert np.array_equal(one.source, other.source) and np.array_equal(one.target, other.target)


def test_epochs_have_orders_of_their_own(files):
    train = open_pairs(TranslationConfig(dataset="pairs", **files), (16, 16)).train
    n = train.n_batches(60)
    shapes = [
        [train.batch(60, seed=5, stream=1, index=epoch * n + k).source.shape for k in range(n)]
        for epoch in range(3)
    ]
    assert n > 4 and len({tuple(order) for order in shapes}) == 3
    assert len({tuple(sorted(order)) for order in shapes}) == 1


def test_sorted_by_length_little_is_padding(files):
    train = open_pairs(TranslationConfig(dataset="pairs", **files), (16, 16)).train
    batches = list(train.all_batches(100))
    real = sum(int((b.source != PAD).sum()) for b in batches)
    assert real / sum(b.source.size for b in batches) > 0.75
    # One pair alone may be longer than a batch should be.
    assert train.n_batches(1) == len(train)


def test_a_longest_sentence_is_the_longest_that_the_model_reads():
    tokens = [(np.array([3, 2]), np.array([1, 4, 5, 2])), (np.array([3, 3, 2]), np.array([1, 2]))]
    assert StoredPairs([("a", "bc"), ("aa", "")], tokens).longest == (3, 3)


def test_messages_too_long_for_the_model_are_left_out_and_byte_pairs_are_shared(tmp_path):
    pytest.importorskip("tokenizers")
    pairs = [*PLAIN, ("x" * 30 + "y", "z")]
    write(tmp_path, "a.mo", compiled(pairs))
    said = []
    config = TranslationConfig(dataset="pairs", mo=str(tmp_path))
    dataset = open_pairs(config, (16, 16), say=said.append)
    assert said == [
        "1 of 4 pairs are longer than source_size=16, target_size=16 tokens and left out"
    ]
    assert len(dataset.train) + len(dataset.val) == 3
    config = TranslationConfig(dataset="pairs", mo=str(tmp_path), tokenizer="bpe", bpe_size=260)
    bpe = open_pairs(config, (64, 64), say=said.append)
    assert bpe.tokenizer.kind == "bpe" and bpe.vocab_size <= 263 and len(said) == 1
    again = open_pairs(config, (64, 64), tokenizer=dataset.tokenizer)
    assert again.tokenizer is dataset.tokenizer
