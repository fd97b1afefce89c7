"""Exercise 8, cross-entropy, the loss.

Take one row z. The derivative of lse is exp(z[v]) / sum(exp(z)), which is softmax:

    z = logits[0]
    p = np.exp(z) / np.exp(z).sum()
    p == jacobian(lambda z: np.log(np.exp(z).sum()), z)[0]

The other term is -z[target], so 1 is subtracted at the target: probability minus target.

    wanted = np.eye(11)[targets[0]]
    p - wanted == jacobian(lambda z: np.log(np.exp(z).sum()) - z[targets[0]], z)[0]

The mean divides by the number of rows that count, 5 of 7; rows that do not count have gradient
0:

    count = (targets >= 0).sum()
    P = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    dlogits = dout * (P - np.eye(11)[targets]) * (targets >= 0)[:, None] / count
"""

import numpy as np

from examples.exercises.terms import Term, divided_by_all_rows

HINTS = (
    """\
The loss of a row is lse - logits[target]. Differentiate both with respect to logits[v].
""",
    """\
The derivative of lse with respect to logits[v] is exp(logits[v]) / sum(exp(logits)), the
probability of v: softmax. That of -logits[target] is -1 at the target and 0 elsewhere.
""",
    """\
Then comes the mean: over how many rows? And what is the gradient of a row that does not count?
out is one number, so dout is one number that multiplies everything.
""",
)


def backward(dout, logits, targets, dlogits):
    """Write the gradient of `logits`."""
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    rows = np.flatnonzero(targets >= 0)
    p[rows, targets[rows]] -= 1
    p[targets < 0] = 0
    dlogits[...] = dout * p / len(rows)


def terms(dout, logits, targets, **_):
    """The terms of each gradient, for the grader."""
    e = np.exp(logits)
    p = e / e.sum(axis=-1, keepdims=True)
    counts = (targets >= 0)[:, None] * 1.0
    n, V = counts.sum(), logits.shape[-1]

    def at(places):
        return np.eye(V)[places] * counts

    wanted = at(targets)
    share = dout / n
    first = {
        "logits stand where probabilities belong: softmax is missing": logits * counts * share,
        "exp(logits) is not divided by its sum": e * counts * share,
        "softmax runs over the rows, axis 0": e / e.sum(axis=0) * counts * share,
        "log of the probabilities stands where they belong": np.log(p) * counts * share,
        "exp(logits) is divided by the sum over all rows": e / e.sum() * counts * share,
        "p * (1 - p) stands where p belongs": p * (1 - p) * counts * share,
        "dout is left out in the first term": p * counts / n,
        "1/V stands where the probabilities belong": counts / V * np.ones_like(p) * share,
    }
    second = {
        "the target is the token after the right one": at((targets + 1) % V) * share,
        "the target is the token before the right one": at((targets - 1) % V) * share,
        "dout is left out at the target": wanted / n,
        "dout and 1/n are left out at the target": wanted,
        "1/n is left out at the target": wanted * dout,
        "p at the target is subtracted, not 1": wanted * p * share,
        "1/p is subtracted at the target: the derivative of log alone": wanted / p * share,
        "1 is subtracted everywhere, not at the target alone": counts * np.ones_like(p) * share,
        "the logit of the target is subtracted, not 1": wanted * logits * share,
    }
    # Row by row: softmax of a row that does not count, and -1 at its last column.
    left = (1 - counts) * p * share
    stray = (1 - counts) * np.eye(V)[np.full(len(p), V - 1)] * share
    return {
        "dlogits": [
            Term(1, "the probabilities, dout * p / n", p * counts * share, {}, first),
            Term(-1, "1 at the target, dout / n", wanted * share, {}, second),
            Term(0, "p in rows that do not count (target -1)", left),
            Term(0, "1 in the last column, which index -1 means,", stray),
        ]
    }


def recognise(name, hand, dout, logits, targets, **_):
    """Yield the whole without the one number that dout is here."""
    right = sum(t.coefficient * t.array for t in terms(dout, logits, targets)[name])
    if np.allclose(hand * dout, right, rtol=0, atol=1e-9):
        yield "dout is left out: it is the gradient of the loss alone"
    kept = targets >= 0
    yield from divided_by_all_rows(hand, right, kept)
    at_target, n = right * np.eye(right.shape[-1])[targets], kept.sum()
    factors = {"": 1, "dout is left out": 1 / dout, "the mean's 1/n is left out": n}
    factors["dout and the mean's 1/n are left out"] = n / dout
    for words, factor in factors.items():
        if np.allclose(hand, at_target * factor, rtol=0, atol=1e-9):
            yield "only the targets' own logits get a gradient: others are in the sum of exp, too"
            yield from [words] if words else []


AXES = {"dlogits": ("row", "token")}
