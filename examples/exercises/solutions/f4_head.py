"""Exercise f4, one attention head, forward.

All dot products of queries and keys are one matrix product, with the keys transposed. k.mT swaps
the last two axes, as k.swapaxes(-1, -2) does:

    scores = q @ k.mT / np.sqrt(7)
    scores[1, 2, 3] == q[1, 2] @ k[1, 3] / np.sqrt(7)

Mask and softmax, then the average of the values, a matrix product again:

    masked = np.where(np.tri(5) == 1, scores, -np.inf)
    e = np.exp(masked - masked.max(axis=-1, keepdims=True))
    weights = e / e.sum(axis=-1, keepdims=True)
    out = weights @ v

The first position sees only itself, so that its output is its own value:

    out[:, 0] == v[:, 0]
"""

import numpy as np

HINTS = (
    """\
Three lines: scores, weights (exercise f3), output. Which shapes do they have?
""",
    """\
q is (3, 5, 7) and the scores are (3, 5, 5): the 7 is summed over. So the keys must be transposed,
(3, 7, 5), before the product.
""",
    """\
k.swapaxes(-1, -2) or k.mT swaps the last two axes. Divide by sqrt(7) before softmax. The output is
(3, 5, 5) times (3, 5, 7).
""",
)


def forward(q, k, v, out):
    """Write each position's average of the values to `out`."""
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(7)
    masked = np.where(np.tri(5, dtype=bool), scores, -np.inf)
    e = np.exp(masked - masked.max(axis=-1, keepdims=True))
    out[...] = e / e.sum(axis=-1, keepdims=True) @ v


def changed(compare=None, scale=None, mask=None, total=None, after=None, average=None, end=None):
    """The same, with some parts exchanged, for the grader."""

    def function(q, k, v, out):
        dots = compare(q, k, v) if compare else q @ k.mT
        scores = dots / np.sqrt(7) if scale is None else dots * scale
        masked = mask(scores) if mask else np.where(TRI, scores, -np.inf)
        axis = total if isinstance(total, int) else -1
        e = np.exp(masked - masked.max(axis=axis, keepdims=True))
        weights = e / (total(e) if callable(total) else e.sum(axis=axis, keepdims=True))
        weights = after(weights, scores) if after else weights
        averages = average(weights, q, k, v) if average else weights @ v
        out[...] = end(averages) if end else averages

    return function


TRI = np.tri(5, dtype=bool)
_AFTER = "the division by sqrt(7) comes after softmax: it belongs to the scores"
CHANGES = (
    ("the scores are not divided by sqrt(7)", {"scale": 1}),
    ("the scores are divided by 7, not by sqrt(7)", {"scale": 1 / 7}),
    ("the scores are multiplied by sqrt(7), not divided by it", {"scale": np.sqrt(7)}),
    ("the scores are divided by sqrt(T), not by sqrt(D)", {"scale": 1 / np.sqrt(5)}),
    ("the scores are divided by sqrt(B), not by sqrt(D)", {"scale": 1 / np.sqrt(3)}),
    ("the scores are divided by T, not by sqrt(D)", {"scale": 1 / 5}),
    ("the mask is missing", {"mask": lambda s: s}),
    (
        "the mask is the wrong way round: the future is seen, the past is not",
        {"mask": lambda s: np.where(TRI.T, s, -np.inf)},
    ),
    (
        "the diagonal is masked: a position sees itself, too",
        {"mask": lambda s: np.where(np.tri(5, k=-1) == 1, s, -np.inf)},
    ),
    (
        "the diagonal is masked: a position sees itself, too (the first has no other to look at)",
        {"mask": lambda s: np.where(np.tri(5, k=-1) == 1, s, -1e30)},
    ),
    (
        "the mask is off by one: a position sees the one after it",
        {"mask": lambda s: np.where(np.tri(5, k=1) == 1, s, -np.inf)},
    ),
    ("masked scores are 0, not -inf: exp(0) is 1", {"mask": lambda s: s * TRI}),
    (
        "the mask comes after softmax: the weights of a row do not sum to 1",
        {"mask": lambda s: s, "after": lambda w, s: w * TRI},
    ),
    (
        "all weights of a row are equal: the scores are not used",
        {"mask": lambda s: np.where(TRI, 0, -np.inf)},
    ),
    (
        "queries and keys are exchanged: a row of scores belongs to a query",
        {"compare": lambda q, k, v: k @ q.mT},
    ),
    (
        "queries are compared with the values, not with the keys",
        {"compare": lambda q, k, v: q @ v.mT},
    ),
    (
        "queries are compared with the queries, not with the keys",
        {"compare": lambda q, k, v: q @ q.mT},
    ),
    ("keys are compared with the keys: a row of scores belongs to a query", {
        "compare": lambda q, k, v: k @ k.mT
    }),
    ("softmax runs over the queries (axis -2), not over the keys (axis -1)", {"total": -2}),
    ("softmax runs over the queries (axis -2), not over the keys (axis -1)", {
        "total": lambda e: e.sum(axis=-2, keepdims=True)
    }),
    ("the sum of softmax runs over the whole array, not over each row", {
        "total": lambda e: e.sum()
    }),
    ("the division by the row's sum is missing in softmax", {"total": lambda e: 1}),
    ("softmax is missing: the scores are used as weights", {"after": lambda w, s: s * TRI}),
    (
        "the weights are transposed: out = weights @ v, a row for each query",
        {"after": lambda w, s: w.mT},
    ),
    ("the keys are averaged, not the values", {"average": lambda w, q, k, v: w @ k}),
    ("the queries are averaged, not the values", {"average": lambda w, q, k, v: w @ q}),
    (_AFTER, {"scale": 1, "end": lambda out: out / np.sqrt(7)}),
    (
        "the output is divided by sqrt(7) once more: only the scores are",
        {"end": lambda out: out / np.sqrt(7)},
    ),
)  # fmt: skip
