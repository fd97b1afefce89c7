"""Exercise f2, the embedding.

Indexing with an array of integers looks all of them up at once, wte[tokens][b, t] = wte[tokens[b,
t]], and wpe has the shape T x C after slicing, which NumPy adds to each of the B sequences:

    out = wte[tokens] + wpe[:5]

It is a linear layer whose input is 1 at the token and 0 elsewhere:

    wte[tokens] == np.eye(11)[tokens] @ wte
"""

import numpy as np

HINTS = (
    """\
wte[tokens] with an array of integers looks up a row for each of them. Which shape does it have?
""",
    """\
Position t is the column t of tokens, in every sequence. The rows 0 ... T - 1 of wpe are needed.
""",
    """\
(3, 5, 6) + (5, 6) adds the second array to each of the 3 sequences: wpe[: tokens.shape[1]].
""",
)


def forward(tokens, wte, wpe, out):
    """Write the row of each token plus the row of its position to `out`."""
    out[...] = wte[tokens] + wpe[: tokens.shape[1]]


def no_positions(tokens, wte, wpe, out):
    """A mistake: positions are left out."""
    out[...] = wte[tokens]


def by_token(tokens, wte, wpe, out):
    """A mistake: wpe is looked up by token."""
    out[...] = wte[tokens] + wpe[tokens % len(wpe)]


def last_rows(tokens, wte, wpe, out):
    """A mistake: the last rows of wpe."""
    out[...] = wte[tokens] + wpe[-tokens.shape[1] :]


def from_one(tokens, wte, wpe, out):
    """A mistake: positions count from 1."""
    out[...] = wte[tokens] + wpe[1 : tokens.shape[1] + 1]


def by_sequence(tokens, wte, wpe, out):
    """A mistake: the row of the sequence, not of the position."""
    out[...] = wte[tokens] + wpe[: len(tokens), None]


def product(tokens, wte, wpe, out):
    """A mistake: a product."""
    out[...] = wte[tokens] * wpe[: tokens.shape[1]]


def difference(tokens, wte, wpe, out):
    """A mistake: a difference."""
    out[...] = wte[tokens] - wpe[: tokens.shape[1]]


def one_position(tokens, wte, wpe, out):
    """A mistake: the same row everywhere."""
    out[...] = wte[tokens] + wpe[0]


def only_positions(tokens, wte, wpe, out):
    """A mistake: tokens are left out."""
    out[...] = np.broadcast_to(wpe[: tokens.shape[1]], out.shape)


MISTAKES = {
    "the rows of the positions are missing": no_positions,
    "wpe is looked up by token, not by position": by_token,
    "the last rows of wpe are used: positions start at row 0": last_rows,
    "positions count from 0: row 0 of wpe belongs to the first": from_one,
    "wpe is looked up by sequence, not by position": by_sequence,
    "the two rows are multiplied, not added": product,
    "the position is subtracted, not added": difference,
    "every position gets row 0 of wpe": one_position,
    "the rows of the tokens are missing": only_positions,
}
