"""Exercise 11: attention with several heads.

Forward. Queries, keys and values lie side by side in qkv: 21 numbers each, the first 7 for head 0,
and so on for 3 heads. `split` returns them as arrays B x H x T x D (sequence, head, position,
number), as exercise f5 does. Each head does what the one in exercise 10 did, and their outputs lie
side by side again.

`split` returns views: writing into split(dqkv, ...) writes into dqkv.

    python -m examples.exercises 11 [--hint] [--derivation]
"""

import numpy as np

inputs = {"qkv": np.random.default_rng(0).standard_normal((5, 6, 63)), "n_head": 3}
outputs = {"out": (5, 6, 21)}


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


def forward(qkv, n_head, out):
    """Write the outputs of all heads, side by side, to `out`."""
    Q, K, V = split(qkv, n_head, 3)
    heads = weights(Q, K) @ V
    out[...] = heads.transpose(0, 2, 1, 3).reshape(out.shape)


def backward(dout, qkv, n_head, dqkv):
    """Write dqkv (5, 6, 63)."""
    # yours
