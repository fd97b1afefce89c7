"""Exercise f4: one attention head, forward.

Each position has a query q, a key k and a value v, D = 7 numbers each. Compare the query of every
position with the key of every position by a dot product, divide by sqrt(D) (D products of random
sign add up to about sqrt(D) times one of them), mask the future and take softmax (exercise f3); the
output of a position is the average of the values with its weights:

    scores[b, t, s] = q[b, t] @ k[b, s] / np.sqrt(7)
    out[b, t] = weights[b, t] @ v[b]

(Both for every b, t and s.) q, k, v and out are B x T x D = 3 x 5 x 7; the scores are 3 x 5 x 5. No
loop is needed: `@` multiplies the last two axes and does so for every b, and k.mT swaps the last
two axes of k.

    python -m examples.exercises f4 [--hint] [--derivation]
"""

import numpy as np

ASKED = "forward"
rng = np.random.default_rng(0)
cases = [{name: rng.standard_normal((3, 5, 7)) for name in ("q", "k", "v")}]


def outputs(case):
    """The shapes of what forward writes."""
    return {"out": case["q"].shape}


def forward(q, k, v, out):
    """Write each position's average of the values to `out`."""
    # yours
