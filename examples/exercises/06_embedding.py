"""Exercise 6: the embedding.

Forward. A token is a number from 0 to 10 that stands for a character. Its row is looked up in the
table wte, and the row of its position in the table wpe is added:

    out = wte[tokens] + wpe[:5]

tokens has 3 sequences of T = 5 positions; wpe has rows for 7 positions, of which 5 are used. Some
tokens occur several times: think about what happens to their rows.

    python -m examples.exercises 6 [--hint] [--derivation]
"""

import numpy as np

rng = np.random.default_rng(0)
inputs = {
    "tokens": np.array([[1, 4, 2, 1, 6], [4, 0, 1, 3, 1], [8, 1, 9, 4, 7]]),
    "wte": rng.standard_normal((11, 6)),
    "wpe": rng.standard_normal((7, 6)),
}
outputs = {"out": (3, 5, 6)}


def forward(tokens, wte, wpe, out):
    """Write the row of each token plus the row of its position to `out`."""
    out[...] = wte[tokens] + wpe[: tokens.shape[1]]


def backward(dout, tokens, dwte, dwpe):
    """Write dwte (11, 6) and dwpe (7, 6)."""
    # yours
