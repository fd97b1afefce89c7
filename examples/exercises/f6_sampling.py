"""Exercise f6: sampling, drawing the next token with a temperature.

The model has written logits for the next token, V = 11 numbers in each row. The *temperature* tau
divides them before softmax: below 1 the larger shares grow, above 1 all become more alike. Then a
token is drawn. Random numbers u between 0 and 1 are given, one for each row, so that the result is
fixed: out is the first token whose *cumulative* probability, its own and those of all tokens before
it, is larger than u. At tau = 0 nothing is drawn: take the token with the largest logit (and do not
divide by 0).

(Two other settings of a sampler are not asked for. *Top k* leaves only the k most probable tokens
to draw from, *top p* only the most probable ones that together have the probability p.)

logits is 500 x 11, u and out have 500 numbers. out is an array of floats; write the numbers of
tokens.

    python -m examples.exercises f6 [--hint] [--derivation]
"""

import numpy as np

ASKED = "forward"
rng = np.random.default_rng(0)
logits, u = 3 * rng.standard_normal((500, 11)), rng.random(500)
cases = [{"logits": logits, "u": u, "tau": tau} for tau in (1.0, 0.3, 2.5, 0.0)]
cases.append({"logits": logits + 2000, "u": u, "tau": 0.7})


def outputs(case):
    """The shapes of what forward writes."""
    return {"out": case["u"].shape}


def forward(logits, u, tau, out):
    """Write the token that is drawn for each row to `out`."""
    # yours
