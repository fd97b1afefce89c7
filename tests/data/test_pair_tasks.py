"""Pairs made on the fly: right, the same again for the same seed, and apart from the test."""

import datetime

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.config.transformer import BEGIN, END, PAD
from gpt_numpy.config.translation import TASKS, TranslationConfig
from gpt_numpy.data.pair_dataset import open_pairs
from gpt_numpy.data.pair_tasks import draw_pairs, pair_task
from gpt_numpy.data.sentences import source_tokens, target_tokens, text_of

WHERE = {"seed": 3, "stream": 1, "index": 7}


def drawn(name, count=300, *, size=0, test=False, **where):
    return draw_pairs(pair_task(name, size), count, test=test, **WHERE | where)


def iso(text):
    """The date of a text, by Python's own parser."""
    forms = ("%d %B %Y", "%B %d, %Y", "%A, %B %d, %Y", "%A %d %B %Y", "%d %b %Y", "%b %d, %Y")
    for form in (*forms, "%a %d %b %Y", "%d.%m.%Y", "%Y/%m/%d"):
        try:
            return datetime.datetime.strptime(text, form).date().isoformat()
        except ValueError:
            pass
    raise AssertionError(text)


def test_targets_are_what_the_task_says():
    assert all(source == target and len(source) == 10 for source, target in drawn("copy"))
    assert all(source == target[::-1] for source, target in drawn("reverse"))
    assert {len(source) for source, _ in drawn("reverse")} == set(range(6, 13))
    for source, target in drawn("addition"):
        a, b = source.split("+")
        assert int(a) + int(b) == int(target[::-1]) and len(a) == len(b) == len(target) - 1 == 5
    assert all(iso(source) == target for source, target in drawn("date"))
    assert {len(source) for source, _ in drawn("copy", 20, size=4)} == {4}
    assert max(len(source) for source, _ in drawn("addition", size=2)) == 5


def test_every_form_of_a_date_occurs():
    sources = [source for source, _ in drawn("date")]
    shapes = {"".join("9" if c.isdigit() else c for c in s if not c.isalpha()) for s in sources}
    assert len(shapes) >= 7 and any(s.islower() for s in sources)


def test_draws_are_a_function_of_the_arguments():
    first = drawn("reverse", 20)
    assert first == drawn("reverse", 20) == drawn("reverse", 40)[:20]
    for change in ({"seed": 4}, {"stream": 2}, {"index": 8}):
        assert not set(first) & set(drawn("reverse", 20, **change))


@pytest.mark.parametrize(("name", "size"), [("copy", 4), ("reverse", 4), ("addition", 2)])
def test_no_sequence_of_the_test_is_ever_trained_on(name, size):
    # Of few different sequences, so many that nearly all occur.
    train = {source for k in range(4) for source, _ in drawn(name, 2000, size=size, index=k)}
    test = {source for source, _ in drawn(name, 2000, size=size, test=True)}
    assert not train & test
    assert 0.05 < len(test) / len(test | train) < 0.35
    if name == "addition":  # nor the same sum the other way round
        assert not train & {"+".join(reversed(source.split("+"))) for source in test}


def test_no_day_of_the_test_is_ever_trained_on():
    train = {target for k in range(8) for _, target in drawn("date", 2000, index=k)}
    assert not train & {target for _, target in drawn("date", 2000, test=True)}


@pytest.mark.parametrize("name", TASKS)
def test_batches_of_a_task_are_read_as_they_were_written(name):
    config = TranslationConfig(dataset=name)
    dataset = open_pairs(config, (32, 32))
    for split in (dataset.train, dataset.val):
        batch = split.batch(500, seed=1, stream=2, index=3)
        again = split.batch(500, seed=1, stream=2, index=3)
        assert np.array_equal(batch.source, again.source)
        assert max(batch.source.size, batch.target.size - len(batch.target)) <= 500
        assert batch.source.max() < dataset.vocab_size
        assert batch.source.shape[1] <= split.longest[0]
        assert batch.target.shape[1] - 1 <= split.longest[1]
        assert (batch.target[:, 0] == BEGIN).all()
        for source, target in zip(batch.source, batch.target, strict=True):
            assert source[source != PAD][-1] == target[target != PAD][-1] == END
    source, target = dataset.val.texts(1, seed=1, stream=3)[0]
    assert text_of(dataset.tokenizer, source_tokens(dataset.tokenizer, source)) == source
    assert text_of(dataset.tokenizer, target_tokens(dataset.tokenizer, target)) == target
    other = open_pairs(
        TranslationConfig(dataset=name, task_size=0 if name == "date" else 8), (32, 32)
    )
    assert (other.fingerprint == dataset.fingerprint) == (name == "date")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset": "copy", "task_size": 3}, "task_size=3: too few sequences"),
        ({"dataset": "date", "task_size": 3}, "dates have no size"),
        ({"dataset": "copy", "task_size": 40}, "source_size=32: a source of copy has up to 41"),
        ({"dataset": "copy", "mo": "."}, "mo='.' with dataset='copy'"),
        ({"dataset": "sort"}, "dataset='sort': no pairs have this name; known: copy"),
        ({"dataset": "pairs"}, "without files: give --source=FILE"),
        ({"dataset": "pairs", "source": "a"}, "source='a' without target"),
        ({"dataset": "pairs", "source": "a", "target": "b", "mo": "c"}, "exclude each other"),
        ({"dataset": "pairs", "mo": "c", "tokenizer": "word"}, "tokenizer='word'"),
    ],
)
def test_bad_input(settings, message):
    with pytest.raises(gn.InputError, match=message):
        open_pairs(TranslationConfig(**settings), (32, 32))
