"""Exercise 12: the tied embedding.

Forward. GPT-2 uses one table twice: to look up the row of each token, and at the end, transposed,
to compute the logits. In between is the model, here just a tanh:

    x = np.tanh(table[tokens])
    out = x @ table.T

A logit says how well x matches the row of a token. What is used twice has two gradients.

    python -m examples.exercises 12 [--hint] [--derivation]
"""

import numpy as np

inputs = {
    "tokens": np.array([[1, 4, 2, 1, 6], [4, 0, 1, 3, 1], [8, 1, 9, 4, 7]]),
    "table": np.random.default_rng(0).standard_normal((11, 6)),
}
outputs = {"out": (3, 5, 11)}


def forward(tokens, table, out):
    """Write the logits of each position to `out`."""
    out[...] = np.tanh(table[tokens]) @ table.T


def backward(dout, tokens, table, dtable):
    """Write dtable (11, 6)."""
    # yours
