"""Exercise 18, label smoothing.

Take one row z, with target 1. The wanted probabilities add up to 1:

    z = logits[0]
    wanted = 0.3 / 13 + 0.7 * np.eye(13)[1]
    wanted.sum() == 1.0

lse has the derivative p, softmax, as in exercise 8. The average is linear in z, and its derivative
is the wanted probabilities: what is there minus what is wanted.

    p = np.exp(z) / np.exp(z).sum()
    p - wanted == jacobian(lambda z: np.log(np.exp(z).sum()) - (wanted * z).sum(), z)[0]

The mean divides by the number of rows that count, 6 of 9; rows of padding have gradient 0, and
nothing of e is spread over them:

    counts = (targets >= 0)[:, None]
    P = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    Q = 0.3 / 13 + 0.7 * np.eye(13)[targets]
    dlogits = dout * (P - Q) * counts / counts.sum()
"""

import numpy as np

from examples.exercises.terms import Term, divided_by_all_rows

HINTS = (
    """\
Begin with the gradient of exercise 8, softmax minus what is wanted. What is wanted now?
""",
    """\
Every token of a row is wanted with probability e / V, and the target with 1 - e more. Rows of
padding want nothing.
""",
    """\
So three things are added up in a row: the probabilities, minus 0.7 at the target, minus 0.3 / 13
everywhere. Then the factors of exercise 8: dout, and the mean over the rows that count.
""",
)


def backward(dout, logits, targets, dlogits):
    """Write the gradient of `logits`."""
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    rows = np.flatnonzero(targets >= 0)
    p -= 0.3 / 13
    p[rows, targets[rows]] -= 0.7
    p[targets < 0] = 0
    dlogits[...] = dout * p / len(rows)


def terms(dout, logits, targets, **_):
    """The terms of each gradient, for the grader."""
    e = np.exp(logits)
    p = e / e.sum(axis=-1, keepdims=True)
    counts = (targets >= 0)[:, None] * 1.0
    n, V = counts.sum(), logits.shape[-1]
    wanted = np.eye(V)[targets] * counts
    share = dout / n
    first = {
        "logits stand where probabilities belong: softmax is missing": logits * counts * share,
        "softmax runs over the rows, axis 0": e / e.sum(axis=0) * counts * share,
        "dout is left out in the first term": p * counts / n,
    }
    at_target = {
        "1 stands where 1 - e belongs, at the target": wanted * share,
        "e stands where 1 - e belongs, at the target": 0.3 * wanted * share,
        "e and 1 - e are exchanged": 0.3 * wanted * share,
        "dout is left out at the target": 0.7 * wanted / n,
        "1 - e is spread over the vocabulary, and not e": wanted * share * 0.3,
    }
    spread = {
        "e is spread over V - 1 tokens": 0.3 / (V - 1) * counts * share,
        "e is not divided by V": 0.3 * counts * share,
        "e is spread over the other tokens alone, not the target": (
            0.3 / V * (counts - wanted) * share
        ),
        "1 - e is spread over the vocabulary, and not e": 0.7 / V * counts * share,
        "e and 1 - e are exchanged": 0.7 / V * counts * share * np.ones_like(p),
        "e is spread over padding, too": 0.3 / V * np.ones_like(p) * share,
        "dout is left out where e is spread": 0.3 / V * counts / n * np.ones_like(p),
    }
    padding = (1 - counts) * p * share
    return {
        "dlogits": [
            Term(1, "the probabilities, dout * p / n", p * counts * share, {}, first),
            Term(-1, "1 - e at the target", 0.7 * wanted * share, {}, at_target),
            Term(-1, "e / V everywhere", 0.3 / V * counts * share * np.ones_like(p), {}, spread),
            Term(0, "p in rows of padding (target -1)", padding),
        ]
    }


def recognise(name, hand, dout, logits, targets, **_):
    """Yield the whole without the one number that dout is here, or without smoothing."""
    rows = np.flatnonzero(targets >= 0)
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    hard = np.zeros_like(p)
    hard[rows] = dout * (p - np.eye(p.shape[-1])[targets])[rows] / len(rows)
    if np.allclose(hand, hard, rtol=0, atol=1e-9):
        yield "the targets are not smoothed: it is the gradient of exercise 8"
    others = hard.copy()
    others[rows] += (
        dout * (0.3 * np.eye(13)[targets] - 0.3 / 12 * (1 - np.eye(13)[targets]))[rows] / 6
    )
    if np.allclose(hand, others, rtol=0, atol=1e-9):
        yield "e is spread over the V - 1 others: it is over all V, the target included"
    right = sum(t.coefficient * t.array for t in terms(dout, logits, targets)[name])
    yield from divided_by_all_rows(hand, right, targets >= 0)
    if np.allclose(hand * dout, right, rtol=0, atol=1e-9):
        yield "dout is left out: it is the gradient of the loss alone"


AXES = {"dlogits": ("row", "token")}
