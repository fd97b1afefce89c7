"""Exercise 8: cross-entropy, the loss.

Forward. Rung 0 of the ladder derives the gradient of one row, in loops. Here are all rows at once.
The softmax of a row of logits gives the probabilities of 11 tokens; targets holds the
right one. The loss of a row is -log of the probability of its target. With lse for the log of the
sum of exp, that is lse - logits[target]. Rows with target -1 do not count. out is the mean over the
other rows: a single number, so dout is a single number, too:

    lse = np.log(np.exp(logits).sum(axis=-1))
    rows = np.flatnonzero(targets >= 0)
    out = (lse[rows] - logits[rows, targets[rows]]).mean()

(`.real` in forward: to get exact derivatives, the grader also calls it with complex numbers, and
the choice of the largest must not depend on the imaginary part.)

    python -m examples.exercises 8 [--hint] [--derivation]
"""

import numpy as np

rng = np.random.default_rng(0)
inputs = {"logits": rng.standard_normal((7, 11)), "targets": np.array([1, 0, -1, 6, 3, -1, 9])}
outputs = {"out": ()}


def forward(logits, targets, out):
    """Write the mean loss of the rows that count to `out`."""
    rows = np.flatnonzero(targets >= 0)
    z = logits - logits.real.max(axis=-1, keepdims=True)
    lse = np.log(np.exp(z).sum(axis=-1))
    out[...] = (lse[rows] - z[rows, targets[rows]]).mean()


def backward(dout, logits, targets, dlogits):
    """Write dlogits (7, 11)."""
    # yours
