"""What passes between layers and is never stored, computed again with the reference.

From what forward and backward do store, without another pass. Arguments are called what the
operation calls them (operations.py), and `d` + name is a gradient. There is no dropout here.

Shapes: x, mean, rstd and out as in the layer; Q, K, V and a head's out (B, H, T, D); s, p and their
gradients (B, H, T, T); z, P (B, T, V).
"""

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.reference import attention
from gpt_numpy.reference.layernorm import normalise
from gpt_numpy.reference.linear import linear_forward


def normalised(x: Array, mean: Array, rstd: Array) -> Array:
    """A layer norm's rows before weight and bias, xhat."""
    xhat = np.empty_like(x)
    normalise(x, np.ones(x.shape[-1], x.dtype), None, mean, rstd, out=xhat)
    return xhat


def normalised_gradient(dout: Array, weight: Array) -> Array:
    """The gradient of xhat."""
    # forward: out = xhat * weight + bias
    return dout * weight


def scores(Q: Array, K: Array) -> Array:
    """How well each query matches each key, the masked ones included."""
    return attention.scores(Q, K)


def scores_gradient(p: Array, dp: Array, out: Array, dout: Array) -> Array:
    """The gradient of the scores; of masked ones it is zero."""
    # forward: p = softmax(s)
    delta = (dout * out).sum(axis=-1, keepdims=True)
    return p * (dp - delta)


def probabilities(Q: Array, K: Array, lse: Array) -> Array:
    """The attention that each position pays to each that it may see."""
    return attention.probabilities(Q, K, lse)


def probabilities_gradient(dout: Array, V: Array) -> Array:
    """The gradient of the attention weights, those of masked positions included."""
    # forward: out = p @ V
    return dout @ V.swapaxes(-1, -2)


def projection(x: Array, weight: Array, bias: Array | None) -> Array:
    """What a sublayer adds to the residual stream."""
    out = np.empty((*x.shape[:-1], weight.shape[1]), x.dtype)
    linear_forward(x, weight, bias, out=out)
    return out


def branch_gradient(dout: Array) -> Array:
    """The gradient of what is added to the residual stream: that of the sum."""
    # forward: out = x + branch
    return dout


def next_token(z: Array, lse: Array) -> Array:
    """The probability of each token to come next."""
    P = np.exp(z - lse[..., None])
    return P / P.sum(axis=-1, keepdims=True)  # lse of large logits was rounded
