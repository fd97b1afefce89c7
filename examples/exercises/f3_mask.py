"""Exercise f3: the causal mask.

scores[b, t, s] says how much position t wants to know of position s, in sequence b: a row for each
t, a column for each s. Position t has to predict token t + 1, so it may see the positions 0 ... t,
itself included, and none after. Write the *attention weights*: softmax of each row, in which masked
positions have the weight 0 and the others sum to 1.

exp(-inf) is 0. Your softmax of exercise f1 will do, if the mask comes before it.

    python -m examples.exercises f3 [--hint] [--derivation]
"""

import numpy as np

ASKED = "forward"
rng = np.random.default_rng(0)
cases = [
    {"scores": rng.standard_normal((3, 5, 5))},
    {"scores": 500 * rng.standard_normal((3, 7, 7))},
    {"scores": -2000 + rng.standard_normal((3, 5, 5))},
]


def outputs(case):
    """The shapes of what forward writes."""
    return {"weights": case["scores"].shape}


def forward(scores, weights):
    """Write the causal attention weights to `weights`."""
    # yours
