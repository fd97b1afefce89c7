"""Exercise 11, attention with several heads.

Moving numbers has slope 1, so gradients are moved back, and each head is independent:

    Q, K, V = split(qkv, n_head, 3)
    (dO,) = split(dout, n_head, 1)
    p = weights(Q, K)

From here on it is exercise 10, with D = 3 numbers a head:

    dp = dO @ V.mT
    ds = p * (dp - (dp * p).sum(axis=-1, keepdims=True))
    dqkv = np.empty((2, 5, 18))
    dQ, dK, dV = split(dqkv, n_head, 3)
    dQ[...] = ds @ K / np.sqrt(3)
    dK[...] = ds.mT @ Q / np.sqrt(3)
    dV[...] = p.mT @ dO

The sum in ds can be computed without p, as in FlashAttention: it is dout times out, summed over a
head:

    (dp * p).sum(axis=-1) == (dO * split(out, n_head, 1)[0]).sum(axis=-1)
"""

import numpy as np

HINT = """\
(dO,) = split(dout, n_head, 1) is the gradient of each head's output, and dQ, dK, dV =
split(dqkv, n_head, 3) are the views to write to. In between, do as in exercise 10; p is not kept,
so compute it again. The scale is 1 / sqrt(D), where D is the number of channels of a head.
"""


def split(x, n_head, parts):
    """Views (B, H, T, D) of the `parts` side by side in the last axis of x (B, T, parts H D)."""
    B, T, width = x.shape
    D = width // (parts * n_head)
    return x.reshape(B, T, parts, n_head, D).transpose(2, 0, 3, 1, 4)


def weights(Q, K):
    """The attention weights: softmax of the masked scores."""
    T, D = Q.shape[-2:]
    s = np.where(np.tri(T, dtype=bool), Q @ K.swapaxes(-1, -2) / np.sqrt(D), -1e30)
    e = np.exp(s - s.real.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def backward(dout, qkv, n_head, dqkv):
    """Write the gradient of `qkv`."""
    Q, K, V = split(qkv, n_head, 3)
    dQ, dK, dV = split(dqkv, n_head, 3)
    (dO,) = split(dout, n_head, 1)
    scale = 1 / np.sqrt(Q.shape[-1])
    p = weights(Q, K)
    dp = dO @ V.swapaxes(-1, -2)
    dV[...] = p.swapaxes(-1, -2) @ dO
    ds = p * (dp - (dp * p).sum(axis=-1, keepdims=True))
    dQ[...] = ds @ K * scale
    dK[...] = ds.swapaxes(-1, -2) @ Q * scale
