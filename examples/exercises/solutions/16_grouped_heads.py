"""Exercise 16, grouped heads.

With the shared keys and values written out, it is exercise 10:

    shared_k, shared_v = np.repeat(k, 5, axis=0), np.repeat(v, 5, axis=0)
    dp = dout @ shared_v.mT
    ds = p * (dp - (dp * p).sum(axis=-1, keepdims=True))
    dq = ds @ shared_k / np.sqrt(7)
    dshared_k = ds.mT @ q / np.sqrt(7)
    dshared_v = p.mT @ dout

np.repeat copies each head five times: what is used five times has five gradients, which add up. The
five copies lie next to each other, so that the axis of heads is cut into 3 groups of 5:

    dk = dshared_k.reshape(3, 5, 6, 7).sum(axis=1)
    dv = dshared_v.reshape(3, 5, 6, 7).sum(axis=1)
"""

import numpy as np

from examples.exercises.terms import Term

HINTS = (
    """\
Begin as in exercise 10, with np.repeat(k, 5, axis=0) for k. What shape do the gradients have then?
""",
    """\
A key that five heads use gets five gradients, and they add up.
""",
    """\
reshape(3, 5, 6, 7) puts the five that belong together along axis 1: sum over it. dq needs no sum.
""",
)


def backward(dout, q, k, v, p, dq, dk, dv):
    """Write the gradients of `q`, `k` and `v`."""
    K, V = np.repeat(k, 5, axis=0), np.repeat(v, 5, axis=0)
    dp = dout @ V.swapaxes(-1, -2)
    ds = p * (dp - (dp * p).sum(axis=-1, keepdims=True))
    dq[...] = ds @ K / np.sqrt(7)
    dk[...] = (ds.swapaxes(-1, -2) @ q / np.sqrt(7)).reshape(3, 5, 6, 7).sum(axis=1)
    dv[...] = (p.swapaxes(-1, -2) @ dout).reshape(3, 5, 6, 7).sum(axis=1)


def terms(dout, q, k, v, p, **_):
    """The terms of each gradient, for the grader."""
    c = 1 / np.sqrt(7)
    K, V = np.repeat(k, 5, axis=0), np.repeat(v, 5, axis=0)
    dp = dout @ V.mT
    first, second = p * dp, p * (p * dp).sum(axis=-1, keepdims=True)

    def grouped(a):
        return a.reshape(3, 5, 6, 7).sum(axis=1)

    ways = {
        "only the first head of each group counts": lambda a: a.reshape(3, 5, 6, 7)[:, 0],
        "only the last head of each group counts": lambda a: a.reshape(3, 5, 6, 7)[:, -1],
        "it is the mean over the group, not the sum": lambda a: a.reshape(3, 5, 6, 7).mean(axis=1),
        "heads are grouped as h % 3: those of a group lie next to each other": (
            lambda a: a.reshape(5, 3, 6, 7).sum(axis=0)
        ),
        "only heads 0 to 2 count": lambda a: a[:3],
    }
    tiled = np.tile(k, (5, 1, 1))
    wrong_ds = {
        "the derivative of softmax is left out: ds = dp": dp,
        "only the diagonal of softmax is there": p * (1 - p) * dp,
    }
    not_turned = "ds is not transposed"
    into_q = {words: d @ K * c for words, d in wrong_ds.items()}
    into_q["keys are tiled, not repeated: head h uses h // 5"] = first @ tiled * c
    into_q["ds is transposed, and should not be"] = first.mT @ K * c
    rest_q = {
        "keys are tiled, not repeated: head h uses h // 5": second @ tiled * c,
        "ds is transposed, and should not be": second.mT @ K * c,
        "the row sum lacks p": p * dp.sum(axis=-1, keepdims=True) @ K * c,
    }
    into_k = {words: way(first.mT @ q * c) for words, way in ways.items()}
    into_k |= {words: grouped(d.mT @ q * c) for words, d in wrong_ds.items()}
    into_k[not_turned] = grouped(first @ q * c)
    into_k["k stands where q belongs"] = grouped(first.mT @ K * c)
    rest_k = {words: way(second.mT @ q * c) for words, way in ways.items()}
    rest_k[not_turned] = grouped(second @ q * c)
    rest_k["k stands where q belongs"] = grouped(second.mT @ K * c)
    into_v = {words: way(p.mT @ dout) for words, way in ways.items()}
    into_v["dp stands where p belongs"] = grouped(dp.mT @ dout)
    into_v["ds stands where p belongs"] = grouped((first - second).mT @ dout)
    into_v["p is not transposed"] = grouped(p @ dout)
    into_v["p is left out"] = grouped(np.ones_like(p) @ dout)
    return {
        "dq": [
            Term(1, "(p * dp) @ K / sqrt(7)", first @ K * c, {}, into_q),
            Term(-1, "(p * sum(p * dp)) @ K / sqrt(7)", second @ K * c, {}, rest_q),
        ],
        "dk": [
            Term(1, "the group's sum of (p * dp).mT @ q", grouped(first.mT @ q * c), {}, into_k),
            Term(
                -1,
                "the group's sum of (p * sum(p * dp)).mT @ q",
                grouped(second.mT @ q * c),
                {},
                rest_k,
            ),
        ],
        "dv": [
            Term(1, "the group's sum of p.mT @ dout", grouped(p.mT @ dout), {}, into_v),
        ],
    }


AXES = {name: ("head", "position", "channel") for name in ("dq", "dk", "dv")}
