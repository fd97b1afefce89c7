"""Batches are windows of all tokens, drawn at random or in epochs, that depend only on an index."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt_numpy.base.errors import InputError
from gpt_numpy.data.batches import (
    DROPOUT,
    EVALUATE_TRAIN,
    EVALUATE_VAL,
    TRAIN,
    _philox,
    _shuffled,
    draw_batch,
    random_key,
    training_batch,
    whole_split,
)
from gpt_numpy.data.token_file import TokenFile


def draw(n=100, batch_size=4, block_size=8, seed=1337, stream=TRAIN, step=0, micro_step=0):
    return draw_batch(
        np.arange(n, dtype=np.uint16),
        batch_size,
        block_size,
        seed=seed,
        stream=stream,
        step=step,
        micro_step=micro_step,
    )


def test_a_batch_is_windows_of_the_split_and_the_tokens_after_them():
    x, y = draw(n=1000, batch_size=50, block_size=7)
    assert x.dtype == y.dtype == np.int64 and x.shape == y.shape == (50, 7)
    assert x.flags.c_contiguous and y.flags.c_contiguous
    assert np.array_equal(y, x + 1) and np.array_equal(x, x[:, :1] + np.arange(7))


def test_a_batch_depends_only_on_its_arguments():
    first = draw(step=3, micro_step=1)
    np.random.default_rng(0).random(100)
    draw(step=4)
    assert np.array_equal(first, draw(step=3, micro_step=1))
    for other in ({"seed": 1}, {"stream": EVALUATE_TRAIN}, {"step": 4}, {"micro_step": 2}):
        assert not np.array_equal(first[0], draw(**({"step": 3, "micro_step": 1} | other))[0])


def test_batches_and_keys_are_the_same_in_every_version():
    assert draw(n=10_000)[0][:, 0].tolist() == [4226, 8413, 7966, 7504]
    assert random_key(1337, DROPOUT, 5, 2) == 2920196268377680492


def test_streams_steps_and_micro_steps_share_no_draws():
    keys = {
        random_key(seed, stream, step, micro_step)
        for seed in (0, 1, 1337)
        for stream in (TRAIN, EVALUATE_TRAIN, EVALUATE_VAL, DROPOUT)
        for step in (0, 1, 2, 1000, 2**32, 2**63)
        for micro_step in (0, 1, 2)
    }
    assert len(keys) == 3 * 4 * 6 * 3
    # Many draws in a micro-step do not overlap those of the next one.
    many = [_philox(0, TRAIN, 0, k).random_raw(10_000) for k in range(3)]
    assert len(set(np.concatenate(many).tolist())) == 30_000


def test_every_place_is_drawn_about_equally_often_including_first_and_last():
    starts = np.concatenate([draw(n=20, batch_size=100, step=s)[0][:, 0] for s in range(100)])
    counts = np.bincount(starts)
    assert len(counts) == 20 - 8  # the last target is the last token
    assert abs(counts - 10_000 / 12).max() < 5 * (10_000 / 12) ** 0.5


def test_the_shortest_split_has_one_window():
    x, y = draw(n=9, block_size=8)
    assert np.array_equal(x[0], np.arange(8)) and np.array_equal(y[0], np.arange(1, 9))
    with pytest.raises(InputError, match="block_size=8: there are 8 tokens.*takes 9"):
        draw(n=8, block_size=8)


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"seed": 2**64}, {"step": -1}])
def test_a_seed_or_step_out_of_range_is_named(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        draw(**wrong)


@given(st.integers(2, 200), st.integers(1, 5), st.integers(1, 40))
@settings(derandomize=True, deadline=None, max_examples=300)
def test_a_whole_split_has_every_target_once_after_its_token(n, batch_size, block_size):
    tokens = np.arange(n, dtype=np.uint16)
    batches = list(whole_split(tokens, batch_size, block_size))
    assert all(a.shape == (batch_size, block_size) for batch in batches for a in batch)
    assert all(a.dtype == np.int64 for batch in batches for a in batch)
    x, y = (
        np.concatenate([part.ravel() for part in parts]) for parts in zip(*batches, strict=True)
    )
    kept = y >= 0
    assert np.array_equal(y[kept], tokens[1:]) and np.array_equal(x[kept], tokens[:-1])
    assert (y[~kept] == -1).all() and (x[~kept] == 0).all()
    assert (y[-batch_size * block_size :] >= 0).any()  # no batch of padding alone


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000, 4097])
def test_a_shuffle_is_a_permutation(size):
    keys = [3, 14, 159, 2653, 58979, 323846]
    values = _shuffled(np.arange(size, dtype=np.uint64), size, keys)
    assert sorted(values.tolist()) == list(range(size))


def test_a_shuffle_leaves_no_order_behind():
    values = _shuffled(np.arange(10_000, dtype=np.uint64), 10_000, [1, 2, 3, 4, 5, 6])
    ranks = values.astype(float)
    for lag in (1, 2, 64, 256):
        assert abs(np.corrcoef(ranks[:-lag], ranks[lag:])[0, 1]) < 0.04
    assert abs(np.corrcoef(ranks, np.arange(10_000))[0, 1]) < 0.04


def test_an_epoch_sees_every_token_once_and_the_next_cuts_elsewhere():
    tokens = np.arange(1003, dtype=np.uint16)
    windows = (1003 - 1) // 10 - 1
    first = [training_batch(tokens, 3, 10, seed=5, index=i)[0] for i in range(windows // 3)]
    seen = np.concatenate(first).ravel()
    assert len(np.unique(seen)) == len(seen) == 10 * windows
    assert np.unique(np.diff(np.sort(seen))).tolist() == [1]
    phases = {
        int(training_batch(tokens, 3, 10, seed=5, index=i)[0][0, 0]) % 10
        for i in range(0, 20 * windows, windows)
    }
    assert len(phases) > 3


def test_a_training_batch_depends_only_on_its_index():
    tokens = np.arange(500, dtype=np.uint16)
    x, y = training_batch(tokens, 4, 8, seed=1, index=77)
    assert np.array_equal(x + 1, y)
    assert x.shape == y.shape == (4, 8)
    training_batch(tokens, 4, 8, seed=1, index=3)
    assert np.array_equal(training_batch(tokens, 4, 8, seed=1, index=77)[0], x)
    assert not np.array_equal(training_batch(tokens, 4, 8, seed=2, index=77)[0], x)


@pytest.mark.parametrize("n_tokens", [9, 10, 16, 17, 24, 25])
def test_texts_barely_longer_than_the_context_can_be_trained_on(n_tokens):
    tokens = np.arange(n_tokens, dtype=np.uint16)
    for index in range(50):
        _, y = training_batch(tokens, 2, 8, seed=0, index=index)
        assert y.max() < n_tokens
    with pytest.raises(InputError, match="there are 8 tokens"):
        training_batch(tokens[:8], 2, 8, seed=0, index=0)


def starts_of(n_tokens, block_size, seed, epochs=1):
    """The place of every sequence of some epochs, an epoch in a row."""
    tokens = np.arange(n_tokens, dtype=np.uint32)
    windows = max(1, (n_tokens - 1) // block_size - 1)
    each = [
        training_batch(tokens, 1, block_size, seed=seed, index=i)[0][0, 0]
        for i in range(epochs * windows)
    ]
    return np.array(each).reshape(epochs, windows)


def test_every_epoch_and_every_seed_has_an_order_of_its_own():
    orders = [starts_of(1003, 10, seed, epochs=4) // 10 for seed in (0, 1, 2)]
    rows = [tuple(row) for order in orders for row in order]
    assert len(set(rows)) == len(rows) == 12
    for one, other in zip(rows, rows[1:], strict=False):
        assert np.mean(np.array(one) == np.array(other)) < 0.2


def test_an_epoch_of_several_chunks_is_shuffled_as_a_whole():
    starts = starts_of(10_001 * 2, 2, seed=3)[0]
    assert len(set(starts.tolist())) == len(starts) > 2 * 4096
    ranks = np.arange(len(starts))
    assert abs(np.corrcoef(ranks, starts)[0, 1]) < 0.04
    for part in (starts[:4096], starts[4096:8192], starts[8192:]):
        assert part.min() < 500 and part.max() > 20_002 - 500
        for lag in (1, 2, 3):
            assert abs(np.corrcoef(part[:-lag], part[lag:])[0, 1]) < 0.1


def test_a_batch_across_the_end_of_an_epoch_takes_from_both():
    tokens = np.arange(105, dtype=np.uint16)
    one = starts_of(105, 10, seed=5, epochs=3).ravel()  # 9 windows in an epoch
    for index in range(6):
        x = training_batch(tokens, 4, 10, seed=5, index=index)[0]
        assert x[:, 0].tolist() == one[4 * index : 4 * index + 4].tolist()
    assert len(one) == 27


@pytest.mark.parametrize("dtype", ["<u2", "<u4"])
def test_tokens_in_a_file_are_read_from_their_own_place(tmp_path, dtype):
    tokens = (np.arange(3000) * 21).astype(dtype)
    tokens.tofile(tmp_path / "t.bin")
    row = TokenFile(tmp_path / "t.bin", dtype)
    assert len(row) == 3000 and np.array_equal(row, tokens)
    for index in range(5):
        for one, other in zip(
            training_batch(row, 5, 16, seed=2, index=index),
            training_batch(tokens, 5, 16, seed=2, index=index),
            strict=True,
        ):
            assert np.array_equal(one, other)


def test_more_sequences_than_there_are_numbers_are_refused():
    with pytest.raises(InputError, match=r"index=4611686018427387904: there are at most 2\^64"):
        training_batch(np.arange(99), 4, 8, seed=0, index=2**62)
    training_batch(np.arange(99), 4, 8, seed=0, index=2**62 - 1)
