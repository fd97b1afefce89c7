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


def _weights(seen, scores):
    masked = np.where(seen, scores, -np.inf)
    e = np.exp(masked - masked.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def forward(scores, weights):
    """Write the causal attention weights to `weights`."""
    weights[...] = _weights(np.tri(scores.shape[-1], dtype=bool), scores)


def no_mask(scores, weights):
    """A mistake: no mask."""
    weights[...] = _weights(np.ones_like(scores, bool), scores)


def other_side(scores, weights):
    """A mistake: the future is seen, the past is not."""
    weights[...] = _weights(np.tri(scores.shape[-1], dtype=bool).T, scores)


def no_diagonal(scores, weights):
    """A mistake: a position does not see itself."""
    weights[...] = _weights(np.tri(scores.shape[-1], k=-1, dtype=bool), scores)


def one_more(scores, weights):
    """A mistake: the next position is seen."""
    weights[...] = _weights(np.tri(scores.shape[-1], k=1, dtype=bool), scores)


def after_softmax(scores, weights):
    """A mistake: the mask comes after softmax."""
    weights[...] = _weights(np.ones_like(scores, bool), scores) * np.tri(scores.shape[-1])


def zero_scores(scores, weights):
    """A mistake: masked scores are 0, not -inf."""
    masked = scores * np.tri(scores.shape[-1])
    weights[...] = _weights(np.ones_like(scores, bool), masked)


def by_column(scores, weights):
    """A mistake: softmax over the queries."""
    masked = np.where(np.tri(scores.shape[-1], dtype=bool), scores, -np.inf)
    e = np.exp(masked - masked.max(axis=-2, keepdims=True))
    weights[...] = e / e.sum(axis=-2, keepdims=True)


def only_exp(scores, weights):
    """A mistake: no division."""
    masked = np.where(np.tri(scores.shape[-1], dtype=bool), scores, -np.inf)
    weights[...] = np.exp(masked - masked.max(axis=-1, keepdims=True))


def overflows(scores, weights):
    """A mistake: nothing is subtracted."""
    e = np.exp(np.where(np.tri(scores.shape[-1], dtype=bool), scores, -np.inf))
    weights[...] = e / e.sum(axis=-1, keepdims=True)


def scores_only(scores, weights):
    """A mistake: no softmax."""
    weights[...] = scores * np.tri(scores.shape[-1])


MISTAKES = {
    "the mask is missing: positions see the future": no_mask,
    "the mask is the wrong way round: the future is seen, the past is not": other_side,
    "the diagonal is masked: a position sees itself, too": no_diagonal,
    "the mask is off by one: a position sees the one after it": one_more,
    "the mask comes after softmax: the rows do not sum to 1": after_softmax,
    "masked scores are 0, not -inf: exp(0) is 1": zero_scores,
    "softmax runs over the queries (axis -2), not over the keys (axis -1)": by_column,
    "the division by the row's sum is missing": only_exp,
    "exp overflows: subtract the largest score of the row, as in f1": overflows,
    "softmax is missing: these are the scores": scores_only,
}
