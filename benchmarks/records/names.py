"""makemore's names, one in each sequence: token 0, the letters, then 0 again as the last target.

As in makemore, what follows the end of a name is left out of the loss (target -1), and 1,000 names
drawn at random are the test split.
"""

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


def batch_of(split, size, seed, index):
    """Names number index * size and so on of a run, which goes through them in shuffled epochs."""
    count = len(split[0]) // size
    epoch, place = divmod(index, count)
    order = np.random.Generator(np.random.PCG64([seed, epoch])).permutation(len(split[0]))
    rows = order[place * size : (place + 1) * size]
    # No longer than the longest name of the batch: what follows would be left out of the loss.
    tokens, targets = (array[rows] for array in split)
    length = int((targets >= 0).sum(axis=1).max())
    return tokens[:, :length], targets[:, :length]


def loss_over(model, split, size):
    """The mean loss over every target of a split."""
    total = count = 0
    for start in range(0, len(split[0]), size):
        tokens, targets = (array[start : start + size] for array in split)
        kept = int((targets >= 0).sum())
        total += model.forward(tokens, targets) * kept
        count += kept
    return total / count
