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


def _head(q, k, v, scale, seen, axis=-1):
    s = np.where(seen, q @ k.swapaxes(-1, -2) * scale, -np.inf)
    e = np.exp(s - s.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True) @ v


TRI = np.tri(5, dtype=bool)
SCALE = 1 / np.sqrt(7)


def forward(q, k, v, out):
    """Write each position's average of the values to `out`."""
    out[...] = _head(q, k, v, SCALE, TRI)


def no_scale(q, k, v, out):
    """A mistake: the scores are not divided."""
    out[...] = _head(q, k, v, 1, TRI)


def by_size(q, k, v, out):
    """A mistake: divided by D."""
    out[...] = _head(q, k, v, 1 / 7, TRI)


def times(q, k, v, out):
    """A mistake: multiplied by sqrt(D)."""
    out[...] = _head(q, k, v, np.sqrt(7), TRI)


def by_length(q, k, v, out):
    """A mistake: divided by sqrt(T)."""
    out[...] = _head(q, k, v, 1 / np.sqrt(5), TRI)


def no_mask(q, k, v, out):
    """A mistake: no mask."""
    out[...] = _head(q, k, v, SCALE, np.ones((5, 5), bool))


def other_side(q, k, v, out):
    """A mistake: the future is seen, not the past."""
    out[...] = _head(q, k, v, SCALE, TRI.T)


def exchanged(q, k, v, out):
    """A mistake: queries and keys are exchanged."""
    out[...] = _head(k, q, v, SCALE, TRI)


def keys_averaged(q, k, v, out):
    """A mistake: the keys are averaged."""
    out[...] = _head(q, k, k, SCALE, TRI)


def queries_averaged(q, k, v, out):
    """A mistake: the queries are averaged."""
    out[...] = _head(q, k, q, SCALE, TRI)


def values_compared(q, k, v, out):
    """A mistake: queries are compared with values."""
    out[...] = _head(q, v, v, SCALE, TRI)


def by_column(q, k, v, out):
    """A mistake: softmax over the queries."""
    out[...] = _head(q, k, v, SCALE, TRI, axis=-2)


def no_softmax(q, k, v, out):
    """A mistake: the scores are the weights."""
    out[...] = np.where(TRI, q @ k.swapaxes(-1, -2) * SCALE, 0) @ v


def scaled_after(q, k, v, out):
    """A mistake: divided after softmax."""
    out[...] = _head(q, k, v, 1, TRI) * SCALE


def equal_weights(q, k, v, out):
    """A mistake: all weights are equal."""
    out[...] = _head(q, k, v, 0, TRI)


def transposed(q, k, v, out):
    """A mistake: the weights are transposed."""
    s = np.where(TRI, q @ k.swapaxes(-1, -2) * SCALE, -np.inf)
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    out[...] = (e / e.sum(axis=-1, keepdims=True)).swapaxes(-1, -2) @ v


MISTAKES = {
    "the scores are not divided by sqrt(7)": no_scale,
    "the scores are divided by 7, not by sqrt(7)": by_size,
    "the scores are multiplied by sqrt(7), not divided by it": times,
    "the scores are divided by sqrt(T), not by sqrt(D)": by_length,
    "the mask is missing": no_mask,
    "the mask is the wrong way round: the future is seen, the past is not": other_side,
    "queries and keys are exchanged: a row of scores belongs to a query": exchanged,
    "the keys are averaged, not the values": keys_averaged,
    "the queries are averaged, not the values": queries_averaged,
    "queries are compared with the values, not with the keys": values_compared,
    "softmax runs over the queries (axis -2), not over the keys (axis -1)": by_column,
    "softmax is missing: the scores are used as weights": no_softmax,
    "the division by sqrt(7) comes after softmax: it belongs to the scores": scaled_after,
    "all weights of a row are equal: the scores are not used": equal_weights,
    "the weights are transposed: out = weights @ v, a row for each query": transposed,
}
