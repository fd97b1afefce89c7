"""Exercise 17: cross-attention, and where the gradients of blocks meet.

Forward. A translator has two halves. The *encoder* reads the sentence to translate, the *source*,
and leaves a row of 11 numbers for each of its 6 positions, called the *memory*. The last two of
them are *padding*: the source has four tokens, and is filled up to the length of others. The
*decoder* writes the translation, the *target*. Three of its blocks attend to the memory
(*cross-attention*), each with keys and values of its own. q holds the queries of all blocks, for 5
positions of a target, 3 x 5 x 7; wk and wv make the keys and values, 3 x 11 x 7:

    k, v = memory @ wk, memory @ wv
    s = np.where(np.arange(6) < 4, q @ k.mT / np.sqrt(7), -1e30)
    p = softmax(s)
    out = p @ v

There is no causal mask: the whole source is known. But no query sees padding. backward gets k, v
and p as forward wrote them. In a real decoder each block reads what the one before it wrote; here
they stand next to each other, and dout has the gradients of all.

    python -m examples.exercises 17 [--hint] [--derivation]
"""

import numpy as np

rng = np.random.default_rng(0)
shapes = {"q": (3, 5, 7), "memory": (6, 11), "wk": (3, 11, 7), "wv": (3, 11, 7)}
inputs = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
outputs = {"out": (3, 5, 7), "k": (3, 6, 7), "v": (3, 6, 7), "p": (3, 5, 6)}


def forward(q, memory, wk, wv, out, k, v, p):
    """Write each query's average of the values to `out`; keys, values, weights to `k`, `v`, `p`."""
    k[...], v[...] = memory @ wk, memory @ wv
    s = np.where(np.arange(6) < 4, q @ k.swapaxes(-1, -2) / np.sqrt(7), -1e30)
    e = np.exp(s - s.real.max(axis=-1, keepdims=True))
    p[...] = e / e.sum(axis=-1, keepdims=True)
    out[...] = p @ v


def backward(dout, q, memory, wk, wv, k, v, p, dq, dmemory, dwk, dwv):
    """Write dq (3, 5, 7), dmemory (6, 11), dwk and dwv (3, 11, 7)."""
    # yours
