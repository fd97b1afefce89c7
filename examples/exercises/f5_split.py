"""Exercise f5: splitting channels among heads.

The queries of H = 3 heads lie next to each other in the channels of x, B x T x (H D) = 5 x 6 x 21:
channels 0 to 6 belong to head 0, 7 to 13 to head 1, 14 to 20 to head 2. Attention of all heads at
once wants the head before the positions:

    out[b, h, t] = x[b, t, 7 * h : 7 * h + 7]

for every b, h and t: B x H x T x D = 5 x 3 x 6 x 7. No number is computed here, only moved: use
reshape and transpose (one of them alone does not do it).

    python -m examples.exercises f5 [--hint] [--derivation]
"""

import numpy as np

ASKED = "forward"
cases = [{"x": np.random.default_rng(0).standard_normal((5, 6, 21)), "n_head": 3}]


def outputs(case):
    """The shapes of what forward writes."""
    B, T, C = case["x"].shape
    return {"out": (B, case["n_head"], T, C // case["n_head"])}


def forward(x, n_head, out):
    """Write the channels of each head, heads before positions, to `out`."""
    # yours
