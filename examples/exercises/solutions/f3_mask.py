"""Exercise f3, the causal mask.

np.tri(T) is 1 on and below the diagonal: in row t at the columns 0 ... t. Elsewhere the score
becomes -inf:

    masked = np.where(np.tri(5) == 1, scores, -np.inf)

and then softmax, row by row:

    e = np.exp(masked - masked.max(axis=-1, keepdims=True))
    weights = e / e.sum(axis=-1, keepdims=True)

The first position sees only itself, and each row sums to 1:

    weights[:, 0, 0] == np.ones(3)
    weights.sum(axis=-1) == np.ones((3, 5))
"""

import numpy as np

HINTS = (
    """\
In which columns of row t may there be weights? Write down the pattern for T = 3.
""",
    """\
np.tri(T) has 1 on and below the diagonal. np.where takes the score there and -inf elsewhere.
""",
    """\
Mask first, then softmax: if softmax comes first, the rows no longer sum to 1 after masking. The
largest of a row must be that of the masked scores.
""",
)


def forward(scores, weights):
    """Write the causal attention weights to `weights`."""
    masked = np.where(np.tri(scores.shape[-1], dtype=bool), scores, -np.inf)
    e = np.exp(masked - masked.max(axis=-1, keepdims=True))
    weights[...] = e / e.sum(axis=-1, keepdims=True)


def changed(whole=None, mask=None, shift=None, total=None, end=None):
    """The same, with some parts exchanged, for the grader."""

    def function(scores, weights):
        if whole:
            weights[...] = whole(scores)
            return
        masked = (mask or _masked)(scores)
        e = np.exp(masked - (shift(masked, scores) if shift else _largest(masked)))
        share = e / (total(e) if total else e.sum(axis=-1, keepdims=True))
        weights[...] = end(share) if end else share

    return function


def _tri(a, k=0):
    return np.tri(a.shape[-1], k=k, dtype=bool)


def _masked(scores, seen=None, value=-np.inf):
    return np.where(_tri(scores) if seen is None else seen, scores, value)


def _largest(a, axis=-1):
    return a.max(axis=axis, keepdims=True)


_QUERIES = "softmax runs over the queries (axis -2), not over the keys (axis -1)"
_NUMBER = "masked scores are a finite number, not -inf: a row far below it sees the future"
CHANGES = (
    ("the mask is missing: positions see the future", {"mask": lambda s: s}),
    (
        "the mask is the wrong way round: the future is seen, the past is not",
        {"mask": lambda s: _masked(s, _tri(s).T)},
    ),
    (
        "the mask is the wrong way round, and without the diagonal: only the future is seen",
        {"mask": lambda s: _masked(s, ~_tri(s))},
    ),
    (
        "the diagonal is masked: a position sees itself, too",
        {"mask": lambda s: _masked(s, _tri(s, -1))},
    ),
    (
        "the diagonal is masked: a position sees itself, too (the first has no other to look at)",
        {"mask": lambda s: _masked(s, _tri(s, -1), value=-1e30)},
    ),
    (
        "the mask is off by one: a position sees the one after it",
        {"mask": lambda s: _masked(s, _tri(s, 1))},
    ),
    (
        "the mask comes after softmax: the rows do not sum to 1",
        {"mask": lambda s: s, "end": lambda w: w * _tri(w)},
    ),
    ("masked scores are 0, not -inf: exp(0) is 1", {"mask": lambda s: s * _tri(s)}),
    *(
        (_NUMBER, {"mask": lambda s, value=value: _masked(s, value=value)})
        for value in (-1, -10, -100, -1000)
    ),
    (
        _QUERIES,
        {"shift": lambda m, s: _largest(m, -2), "total": lambda e: e.sum(-2, keepdims=True)},
    ),
    (_QUERIES, {"total": lambda e: e.sum(axis=-2, keepdims=True)}),
    (
        "the sum runs over the whole array, not over each row",
        {"total": lambda e: e.sum()},
    ),
    (
        "the sum runs over the whole array, not over each row",
        {"shift": lambda m, s: m.max(), "total": lambda e: e.sum()},
    ),
    ("the division by the row's sum is missing", {"total": lambda e: 1}),
    (
        "it is divided by the mean of the row, not by its sum",
        {"total": lambda e: e.mean(axis=-1, keepdims=True)},
    ),
    (
        "exp overflows: subtract the largest score of the row, as in f1",
        {"shift": lambda m, s: 0},
    ),
    (
        "the largest of the masked scores must be subtracted, not of all: mask first, then softmax",
        {"shift": lambda m, s: _largest(s)},
    ),
    (
        "the largest score of the whole array is subtracted: a row far below it becomes 0 / 0",
        {"shift": lambda m, s: m.max()},
    ),
    ("all weights of a row are equal: the scores are not used", {"mask": lambda s: _masked(0 * s)}),
    ("softmax is missing: these are the scores", {"whole": lambda s: s * _tri(s)}),
    ("softmax is missing: these are the masked scores", {"whole": _masked}),
    ("this is the mask, not the weights", {"whole": _tri}),
)
AXES = {"weights": ("sequence", "query", "key")}
