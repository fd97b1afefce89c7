"""What no layer stores, computed again with the reference from what is stored.

The parameters are letters of the operation (operations.py); `d` + letter is a gradient. There is no
dropout here.

Shapes: x, mean, rstd and out as in the layer; Q and a head's out (B, H, T, D); K, V (B, G, T, D);
s, p and their gradients (B, H, T, T); z, P (B, T, V).
"""

from collections.abc import Callable

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.reference.attention import for_queries, probabilities, scores
from gpt_numpy.reference.cross_entropy import capped


def normalised(x: Array, mean: Array | None, rstd: Array) -> Array:
    """A norm's rows before weight and bias, xhat; mean is None if the norm does not subtract it."""
    return (x if mean is None else x - mean[..., None]) * rstd[..., None]


def normalised_gradient(dout: Array, weight: Array) -> Array:
    """The gradient of xhat."""
    # forward: out = xhat * weight + bias
    return dout * weight


def scores_gradient(p: Array, dp: Array, out: Array, dout: Array) -> Array:
    """The gradient of the scores; zero for masked ones."""
    # forward: p = softmax(s)
    delta = (dout * out).sum(axis=-1, keepdims=True)
    return p * (dp - delta)


def probabilities_gradient(dout: Array, V: Array) -> Array:
    """The gradient of the attention weights, including those of masked positions."""
    # forward: out = p @ V
    return dout @ for_queries(V, dout.shape[1]).swapaxes(-1, -2)


def projection(x: Array, weight: Array, bias: Array | None) -> Array:
    """What a sublayer adds to the residual stream."""
    return x @ weight if bias is None else x @ weight + bias


def branch_gradient(dout: Array) -> Array:
    """The gradient of what is added to the residual stream: that of the sum."""
    # forward: out = x + branch
    return dout


def next_token(z: Array, lse: Array, softcap: float = 0.0) -> Array:
    """The probability of each token to come next, after the soft cap of the logits, if any."""
    P = np.exp(capped(z, softcap) - lse[..., None])
    return P / P.sum(axis=-1, keepdims=True)  # lse of large logits was rounded


# By the layer's name of the array: the functions that compute its value and its gradient.
RECOMPUTED: dict[str, tuple[Callable[..., Array], Callable[..., Array] | None]] = {
    "xhat": (normalised, normalised_gradient),
    "s": (scores, scores_gradient),
    "p": (probabilities, probabilities_gradient),
    "branch": (projection, branch_gradient),
    "P": (next_token, None),
}
