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


def changed(whole=None, tokens=None, positions=None, join=np.add):
    """The same, with some parts exchanged, for the grader."""
    of_token, of_position = tokens or (lambda t, wte: wte[t]), positions or (lambda t, wpe: wpe[:5])

    def function(tokens, wte, wpe, out):
        out[...] = join(of_token(tokens, wte), of_position(tokens, wpe))

    return function


CHANGES = (
    ("the rows of the positions are missing", {"positions": lambda t, wpe: 0}),
    (
        "wpe is looked up by token, not by position",
        {"positions": lambda t, wpe: wpe[t % len(wpe)]},
    ),
    (
        "the last rows of wpe are used: positions start at row 0",
        {"positions": lambda t, wpe: wpe[-5:]},
    ),
    (
        "positions count from 0: row 0 of wpe belongs to the first",
        {"positions": lambda t, wpe: wpe[1:6]},
    ),
    (
        "the positions are in reverse order: row 0 of wpe belongs to the first",
        {"positions": lambda t, wpe: wpe[4::-1]},
    ),
    (
        "wpe is looked up by sequence, not by position",
        {"positions": lambda t, wpe: wpe[:3, None]},
    ),
    ("every position gets row 0 of wpe", {"positions": lambda t, wpe: wpe[0]}),
    (
        "every position gets the mean of the rows of wpe",
        {"positions": lambda t, wpe: wpe[:5].mean(axis=0)},
    ),
    (
        "every position gets the sum of the rows of wpe",
        {"positions": lambda t, wpe: wpe[:5].sum(axis=0)},
    ),
    ("the row of the position is added twice", {"positions": lambda t, wpe: 2 * wpe[:5]}),
    (
        "each row has the rows of all earlier positions, too: position t gets row t alone",
        {"positions": lambda t, wpe: wpe[:5].cumsum(axis=0)},
    ),
    ("the two rows are multiplied, not added", {"join": np.multiply}),
    ("the position is subtracted, not added", {"join": np.subtract}),
    ("the token is subtracted from the position", {"join": lambda a, b: b - a}),
    ("it is the mean of the two rows, half of the sum", {"join": lambda a, b: (a + b) / 2}),
    ("the rows of the tokens are missing", {"tokens": lambda t, wte: np.zeros((*t.shape, 6))}),
    (
        "wte is looked up at the row before that of the token: tokens count from 0",
        {"tokens": lambda t, wte: wte[t - 1]},
    ),
    (
        "wte is looked up at the row after that of the token: tokens count from 0",
        {"tokens": lambda t, wte: wte[(t + 1) % len(wte)]},
    ),
    (
        "wte is looked up by position, not by token",
        {"tokens": lambda t, wte: np.broadcast_to(wte[:5], (*t.shape, 6))},
    ),
    (
        "all sequences get the tokens of the first sequence",
        {"tokens": lambda t, wte: wte[t[[0, 0, 0]]]},
    ),
    (
        "the tokens of a sequence are in reverse order",
        {"tokens": lambda t, wte: wte[t[:, ::-1]]},
    ),
)
