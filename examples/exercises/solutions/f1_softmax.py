"""Exercise f1, a softmax that cannot overflow.

Subtract the largest number of each row. Then the largest exp is exp(0) = 1, the others are smaller,
and the sum is at least 1: nothing overflows, and nothing is divided by 0.

    e = np.exp(x - x.max(axis=-1, keepdims=True))
    out = e / e.sum(axis=-1, keepdims=True)

It is the same softmax where the plain formula works:

    out == np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)
"""

import numpy as np

HINTS = (
    """\
Which axis is a row? All numbers along it share one sum.
""",
    """\
If the largest number of a row is subtracted from the row, the largest exp is exp(0) = 1.
""",
    """\
x.max(axis=-1, keepdims=True) has one number for each row, along an axis of length 1, so that NumPy
broadcasts it. The sum needs keepdims=True as well.
""",
)


def forward(x, out):
    """Write the softmax of each row to `out`."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    out[...] = e / e.sum(axis=-1, keepdims=True)


def changed(whole=None, z=None, shift=None, exp=np.exp, total=None, end=None):
    """The same, with some parts exchanged, for the grader."""

    def function(x, out):
        if whole:
            out[...] = whole(x)
            return
        logits = z(x) if z else x
        e = exp(logits - (shift or _largest)(logits))
        share = e / (total or _sum)(e, x)
        out[...] = end(share) if end else share

    return function


def _largest(x):
    return x.max(axis=-1, keepdims=True)


def _sum(e, x):
    return e.sum(axis=-1, keepdims=True)


def _second(a):
    """Axis 1, which is the last one of a matrix, but not of more."""
    return {"axis": 1, "keepdims": True} if a.ndim > 1 else {}


def _log(x):
    z = x - _largest(x)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


CHANGES = (
    (
        "exp overflows, or everything underflows: subtract something of the row first",
        {"shift": lambda x: 0},
    ),
    (
        "the largest number of the whole array is subtracted: a row far below it becomes 0 / 0",
        {"shift": lambda x: x.max()},
    ),
    (
        "the largest number along axis 0 is subtracted, not that of the row",
        {"shift": lambda x: x.max(axis=0)},
    ),
    (
        "the largest number along axis 1 is subtracted, not along the last axis",
        {"shift": lambda x: x.max(**_second(x))},
    ),
    (
        "the smallest number is subtracted: the largest exp still overflows",
        {"shift": lambda x: x.min(axis=-1, keepdims=True)},
    ),
    (
        "the mean is subtracted: what is far above it still overflows",
        {"shift": lambda x: x.mean(axis=-1, keepdims=True)},
    ),
    (
        "the largest absolute value is subtracted: a row of negative numbers becomes 0 / 0",
        {"shift": lambda x: np.abs(x).max(axis=-1, keepdims=True)},
    ),
    (
        "the largest number is added, not subtracted",
        {"shift": lambda x: -_largest(x)},
    ),
    ("the sum runs over the whole array, not over each row", {"total": lambda e, x: e.sum()}),
    (
        "the sum runs over the whole array, not over each row",
        {"shift": lambda x: x.max(), "total": lambda e, x: e.sum()},
    ),
    (
        "the sum runs along axis 0, not along the last axis",
        {"total": lambda e, x: e.sum(axis=0)},
    ),
    (
        "the sum runs along axis 0, not along the last axis",
        {"shift": lambda x: x.max(axis=0), "total": lambda e, x: e.sum(axis=0)},
    ),
    (
        "the sum runs along axis 1, not along the last axis",
        {"total": lambda e, x: e.sum(**_second(e))},
    ),
    (
        "the sum runs along axis 1, not along the last axis",
        {"shift": lambda x: x.max(**_second(x)), "total": lambda e, x: e.sum(**_second(e))},
    ),
    ("the division by the row's sum is missing", {"total": lambda e, x: 1}),
    (
        "it is divided by the mean of the row, not by its sum",
        {"total": lambda e, x: e.mean(axis=-1, keepdims=True)},
    ),
    (
        "it is divided by the length of the row, the root of the sum of squares, not by its sum",
        {"total": lambda e, x: np.sqrt((e * e).sum(axis=-1, keepdims=True))},
    ),
    (
        "the sum below is that of exp(x): the same number must be subtracted above and below",
        {"total": lambda e, x: np.exp(x).sum(axis=-1, keepdims=True)},
    ),
    (
        "it is divided by the largest number, not reduced by it: that changes the shares",
        {"z": lambda x: x / _largest(x), "shift": lambda x: 0},
    ),
    ("the logits are negated: the largest one gets the least", {"z": np.negative}),
    ("it is 2 to the power of x, not exp", {"exp": np.exp2}),
    ("it is the logarithm of softmax", {"end": np.log}),
    ("it is the logarithm of softmax", {"whole": _log}),
    (
        "it is the logistic function of each number by itself",
        {"whole": lambda x: 1 / (1 + np.exp(-x))},
    ),
    ("exp is missing: these are shares of x", {"whole": lambda x: x / _sum(x, x)}),
)
AXES = {"out": ("matrix", "row", "column")}
