"""Exercise s1: AdamW, the step of the optimiser.

Gradient descent takes w -= rate * g. examples/notebooks/optimisers.ipynb shows what goes wrong with
it, and derives this. With g the gradient in step t = 1, 2, ...:

    m becomes beta1 m + (1 - beta1) g         a running mean of the gradient, 0 at first
    v becomes beta2 v + (1 - beta2) g^2       a running mean of its square, 0 at first

Both started at 0 and are too small at first: for a constant g, m is (1 - beta1^t) g after t steps.
Correct both for that, without changing m and v themselves. Then the step:

    w -= rate * (decay * w + corrected m / (sqrt(corrected v) + eps))

The term with decay pulls every weight towards 0. It is not part of g ("decoupled", the W of AdamW),
so that it does not pass through m and v.

Write `step`. It changes w, m and v in place: `w[...] = ` or `w -= `. It is called for several steps
in turn, with t = 1, 2, 3.

    python -m examples.exercises s1 [--hint] [--derivation]
"""

import numpy as np

ASKED, WRITTEN = "run", "step"  # `run` is checked, `step` is yours
rate, beta1, beta2, eps, decay = 0.3, 0.8, 0.9, 1e-3, 0.2
rng = np.random.default_rng(0)
cases = [
    {"start": rng.standard_normal((5, 7)), "gradients": rng.standard_normal((count, 5, 7))}
    for count in (1, 3)
]


def outputs(case):
    """The shapes of what `run` writes."""
    return {"w": case["start"].shape}


def run(start, gradients, w):
    """Take a step with each gradient; write the weights afterwards to `w`."""
    w[...], m, v = start, np.zeros_like(start), np.zeros_like(start)
    for t, g in enumerate(gradients, 1):
        step(w, g, m, v, t)


def step(w, g, m, v, t):
    """Change w, m and v in place; t counts from 1."""
    # yours
