"""Exercise 8, cross-entropy, the loss.

Take one row z. The derivative of lse is exp(z[v]) / sum(exp(z)), which is softmax:

    z = logits[0]
    p = np.exp(z) / np.exp(z).sum()
    p == jacobian(lambda z: np.log(np.exp(z).sum()), z)[0]

The other term is -z[target], so 1 is subtracted at the target: probability minus target.

    wanted = np.eye(7)[targets[0]]
    p - wanted == jacobian(lambda z: np.log(np.exp(z).sum()) - z[targets[0]], z)[0]

The mean divides by the number of rows that count, 4 of 5; the row that does not count has gradient
0:

    count = (targets >= 0).sum()
    P = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    dlogits = dout * (P - np.eye(7)[targets]) * (targets >= 0)[:, None] / count
"""

import numpy as np

HINT = """\
The derivative of lse with respect to logits[v] is the probability of v: softmax. That of
-logits[target] is -1 at the target and 0 elsewhere. Then comes the mean: over how many rows? And
what is the gradient of a row that does not count?
"""


def backward(dout, logits, targets, dlogits):
    """Write the gradient of `logits`."""
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    rows = np.flatnonzero(targets >= 0)
    p[rows, targets[rows]] -= 1
    p[targets < 0] = 0
    dlogits[...] = dout * p / len(rows)
