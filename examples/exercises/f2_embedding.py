"""Exercise f2: the embedding, two lookup tables.

A token is a number from 0 to 10 that stands for a character. Its row in the table wte is its
*embedding*; the table wpe has a row for each position. What goes into a transformer is the sum: at
position t of sequence b, the row of token tokens[b, t] plus the row of position t.

tokens is B x T = 3 x 5, wte is 11 x 6, wpe is 7 x 6 (5 of its positions are used), and out is
3 x 5 x 6.

    python -m examples.exercises f2 [--hint] [--derivation]
"""

import numpy as np

ASKED = "forward"
rng = np.random.default_rng(0)
cases = [
    {
        "tokens": np.array([[1, 4, 2, 1, 6], [4, 0, 1, 3, 1], [8, 1, 9, 4, 7]]),
        "wte": rng.standard_normal((11, 6)),
        "wpe": rng.standard_normal((7, 6)),
    }
]


def outputs(case):
    """The shapes of what forward writes."""
    return {"out": (*case["tokens"].shape, case["wte"].shape[1])}


def forward(tokens, wte, wpe, out):
    """Write the row of each token plus the row of its position to `out`."""
    # yours
