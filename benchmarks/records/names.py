"""makemore's names: token 0, the letters, then 0 again as the last target.

As in makemore, what follows the end of a name is left out of the loss (target -1), and 1,000 names
drawn at random are the test split, one in each sequence. Training sees several in a sequence.
"""

import bisect
import itertools

import numpy as np

from gpt_numpy.data.texts import file_text, named_text

TEST = 1000  # names
SHUFFLE = 42  # seed of the draw of the test split, which is the same in every run


def sequences(text, length):
    """Tokens and targets (n, length) of the training names and of the test names, and V."""
    names = text.split()
    letters = {letter: k for k, letter in enumerate(sorted(set("".join(names))), 1)}
    longest = max(map(len, names)) + 1
    if longest > length:
        raise SystemExit(f"block_size={length}: the longest name takes {longest} positions")
    tokens = np.zeros((len(names), length), np.int64)
    targets = np.full((len(names), length), -1)
    for row, name in enumerate(names):
        codes = [letters[letter] for letter in name]
        tokens[row, 1 : len(name) + 1] = codes
        targets[row, : len(name) + 1] = [*codes, 0]
    order = np.random.Generator(np.random.PCG64(SHUFFLE)).permutation(len(names))
    train, test = order[TEST:], order[:TEST]
    return (tokens[train], targets[train]), (tokens[test], targets[test]), len(letters) + 1


def text_of(data):
    """The names: of a file, or of the pinned data set."""
    return file_text(data) if data else named_text("names", print)


def batches(split, length, size, seed):
    """Tokens and targets (size, length) of one update after the other, in shuffled epochs.

    A row holds as many whole names as fit, each after the 0 that ends the one before: with one name
    in a row most positions would be padding.
    """
    for epoch in itertools.count():
        tokens, targets = rows_of(split, length, seed, epoch)
        for start in range(0, len(tokens) - size + 1, size):
            yield tokens[start : start + size], targets[start : start + size]


def rows_of(split, length, seed, epoch):
    """Tokens and targets (n, length) of all names in the order of an epoch."""
    order = np.random.Generator(np.random.PCG64([seed, epoch])).permutation(len(split[0]))
    names = split[1][order]
    stream, ends = names[names >= 0], np.cumsum((names >= 0).sum(axis=1)).tolist()
    starts = [0]
    while starts[-1] < ends[-1]:
        starts.append(ends[bisect.bisect_right(ends, starts[-1] + length) - 1])
    places = np.array(starts[:-1])[:, None] + np.arange(length)
    inside = places < np.array(starts[1:])[:, None]
    targets = np.where(inside, stream[np.minimum(places, len(stream) - 1)], -1)
    tokens = np.zeros_like(targets)
    tokens[:, 1:] = np.maximum(targets[:, :-1], 0)
    return tokens, targets


def loss_over(model, split, size):
    """The mean loss over every target of a split."""
    total = count = 0
    for start in range(0, len(split[0]), size):
        tokens, targets = (array[start : start + size] for array in split)
        kept = int((targets >= 0).sum())
        total += model.forward(tokens, targets) * kept
        count += kept
    return total / count
