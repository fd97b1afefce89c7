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


def plain(x, out):
    """A mistake: nothing is subtracted."""
    out[...] = np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


def over_all(x, out):
    """A mistake: one sum for everything."""
    e = np.exp(x - x.max())
    out[...] = e / e.sum()


def largest_of_all(x, out):
    """A mistake: the largest of the array, not of the row."""
    e = np.exp(x - x.max())
    out[...] = e / e.sum(axis=-1, keepdims=True)


def first_axis(x, out):
    """A mistake: along axis 0."""
    e = np.exp(x - x.max(axis=0, keepdims=True))
    out[...] = e / e.sum(axis=0, keepdims=True)


def not_divided(x, out):
    """A mistake: the division is missing."""
    out[...] = np.exp(x - x.max(axis=-1, keepdims=True))


def smallest(x, out):
    """A mistake: the smallest number is subtracted."""
    e = np.exp(x - x.min(axis=-1, keepdims=True))
    out[...] = e / e.sum(axis=-1, keepdims=True)


def mean(x, out):
    """A mistake: the mean is subtracted."""
    e = np.exp(x - x.mean(axis=-1, keepdims=True))
    out[...] = e / e.sum(axis=-1, keepdims=True)


def divided_by_largest(x, out):
    """A mistake: divided by the largest number instead."""
    e = np.exp(x / x.max(axis=-1, keepdims=True))
    out[...] = e / e.sum(axis=-1, keepdims=True)


def mean_for_sum(x, out):
    """A mistake: a mean for the sum."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    out[...] = e / e.mean(axis=-1, keepdims=True)


def logarithm(x, out):
    """A mistake: the log of it."""
    z = x - x.max(axis=-1, keepdims=True)
    out[...] = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


MISTAKES = {
    "exp overflows, or everything underflows: subtract something of the row first": plain,
    "the sum runs over the whole array, not over each row": over_all,
    "the largest number of the whole array is subtracted: a row far below it becomes 0 / 0": (
        largest_of_all
    ),
    "the sum runs along axis 0, not along the last axis": first_axis,
    "the division by the row's sum is missing": not_divided,
    "the smallest number is subtracted: the largest exp still overflows": smallest,
    "the mean is subtracted: what is far above it still overflows": mean,
    "it is divided by the largest number, not reduced by it: that changes the shares": (
        divided_by_largest
    ),
    "it is divided by the mean of the row, not by its sum": mean_for_sum,
    "it is the logarithm of softmax": logarithm,
}
