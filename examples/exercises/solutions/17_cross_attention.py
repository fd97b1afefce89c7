"""Exercise 17, cross-attention, and where the gradients of blocks meet.

Nothing in exercise 10 needed queries and keys to come from one stream:

    dp = dout @ v.mT
    ds = p * (dp - (dp * p).sum(axis=-1, keepdims=True))
    dq = ds @ k / np.sqrt(7)
    dk = ds.mT @ q / np.sqrt(7)
    dv = p.mT @ dout

What is masked has p = 0, and with it ds: the keys and values of padding get no gradient.

    dk[:, 4:] == np.zeros((3, 2, 7))
    dv[:, 4:] == np.zeros((3, 2, 7))

Keys and values are linear layers of the memory. Each block has weights of its own, so their
gradients stay apart:

    dwk = memory.T @ dk
    dwv = memory.T @ dv

But there is one memory, used six times: as keys and as values, in three blocks. What is used
several times gets the sum of the gradients:

    dmemory = (dk @ wk.mT + dv @ wv.mT).sum(axis=0)
    dmemory[4:] == np.zeros((2, 11))

This sum is all that the encoder learns from.
"""

import numpy as np

from examples.exercises.terms import Term

HINTS = (
    """\
The gradients of queries, keys and values are those of exercise 10. Do they need a causal mask?
""",
    """\
k = memory @ wk is a linear layer, once for each block. What does exercise 1 give for its weight,
and for what it reads?
""",
    """\
memory is read by three blocks, each of which makes keys and values from it: six gradients of the
shape (6, 11), which add up.
""",
)


def backward(dout, q, memory, wk, wv, k, v, p, dq, dmemory, dwk, dwv):
    """Write the gradients of `q`, `memory`, `wk` and `wv`."""
    dp = dout @ v.swapaxes(-1, -2)
    ds = p * (dp - (dp * p).sum(axis=-1, keepdims=True))
    dq[...] = ds @ k / np.sqrt(7)
    dk = ds.swapaxes(-1, -2) @ q / np.sqrt(7)
    dv = p.swapaxes(-1, -2) @ dout
    dwk[...], dwv[...] = memory.T @ dk, memory.T @ dv
    dmemory[...] = (dk @ wk.swapaxes(-1, -2) + dv @ wv.swapaxes(-1, -2)).sum(axis=0)


def terms(dout, q, memory, wk, wv, k, v, p, **_):
    """The terms of each gradient, for the grader."""
    c = 1 / np.sqrt(7)
    dp = dout @ v.mT
    first, total = p * dp, (p * dp).sum(axis=-1, keepdims=True)
    second = p * total
    no_softmax = "the derivative of softmax is left out: ds = dp"
    causal = np.tri(5, 6)
    dk1, dk2, dv = first.mT @ q * c, second.mT @ q * c, p.mT @ dout
    loose = dp.mT @ q * c

    def ways(d, w):
        each = d @ w.mT
        return {
            "only the last block's gradient is there": each[-1],
            "only the first block's gradient is there": each[0],
            "it is the mean over the blocks, not the sum": each.mean(axis=0),
        }

    into_q = {
        no_softmax: dp @ k * c,
        "ds is multiplied by the values, not by the keys": first @ v * c,
        "a causal mask is applied, which cross-attention has not": (first * causal) @ k * c,
    }
    rest_q = {
        "the row sum lacks p": p * dp.sum(axis=-1, keepdims=True) @ k * c,
        "softmax's sum runs over the queries, axis -2": (
            p * (p * dp).sum(axis=-2, keepdims=True) @ k * c
        ),
        "ds is multiplied by the values, not by the keys": second @ v * c,
        "a causal mask is applied, which cross-attention has not": (second * causal) @ k * c,
    }
    of_keys = "the keys' part, dk @ wk.mT over all blocks"
    weights_k = {
        no_softmax: memory.T @ loose,
        "all blocks get the sum of their gradients": np.stack([(memory.T @ dk1).sum(0)] * 3),
        "the values' gradient stands where the keys' belongs": memory.T @ dv,
    }
    weights_v = {
        "p is left out": memory.T @ (np.ones_like(p).mT @ dout),
        "all blocks get the sum of their gradients": np.stack([(memory.T @ dv).sum(0)] * 3),
        "the keys' gradient stands where the values' belongs": memory.T @ (dk1 - dk2),
        "the mask is left out": memory.T @ (np.where(np.arange(6) < 4, p, 1).mT @ dout),
    }
    return {
        "dq": [
            Term(1, "(p * dp) @ k / sqrt(7)", first @ k * c, {}, into_q),
            Term(-1, "(p * sum(p * dp)) @ k / sqrt(7)", second @ k * c, {}, rest_q),
        ],
        "dmemory": [
            Term(
                1, f"p * dp in {of_keys}", (dk1 @ wk.mT).sum(0), {},
                ways(dk1, wk) | {no_softmax: (loose @ wk.mT).sum(0)},
            ),
            Term(
                -1, f"p * sum(p * dp) in {of_keys}", (dk2 @ wk.mT).sum(0), {}, ways(dk2, wk),
            ),
            Term(
                1, "the values' part, dv @ wv.mT over all blocks", (dv @ wv.mT).sum(0), {},
                ways(dv, wv) | {"wk stands where wv belongs": (dv @ wk.mT).sum(0)},
            ),
        ],
        "dwk": [
            Term(1, "memory.T @ (p * dp).mT @ q", memory.T @ dk1, {}, weights_k),
            Term(-1, "memory.T @ (p * sum(p * dp)).mT @ q", memory.T @ dk2, {}, {
                "all blocks get the sum of their gradients": np.stack(
                    [(memory.T @ dk2).sum(0)] * 3
                ),
            }),
        ],
        "dwv": [Term(1, "memory.T @ p.mT @ dout", memory.T @ dv, {}, weights_v)],
    }  # fmt: skip


AXES = {
    "dq": ("block", "position", "channel"),
    "dmemory": ("position", "channel"),
    "dwk": ("block", "input", "output"),
    "dwv": ("block", "input", "output"),
}


def recognise(name, hand, dout, q, memory, wk, wv, k, v, p, **_):
    """Yield the gradient of the memory with one of its two parts, or with exchanged weights."""
    if name != "dmemory":
        return
    dp = dout @ v.mT
    dk = (p * (dp - (dp * p).sum(axis=-1, keepdims=True))).mT @ q / np.sqrt(7)
    dv = p.mT @ dout
    for sentence, wrong in {
        "the keys' part, dk @ wk.mT, is missing": dv @ wv.mT,
        "the values' part, dv @ wv.mT, is missing": dk @ wk.mT,
        "the keys' part, dk @ wk.mT, has the wrong sign": dv @ wv.mT - dk @ wk.mT,
        "wk and wv are exchanged": dk @ wv.mT + dv @ wk.mT,
        "wv stands where wk belongs": dk @ wv.mT + dv @ wv.mT,
        "1 / sqrt(7) is missing in dk": np.sqrt(7) * dk @ wk.mT + dv @ wv.mT,
        "1 / sqrt(7) is there twice, in dk and once more": dk @ wk.mT / np.sqrt(7) + dv @ wv.mT,
    }.items():
        if np.allclose(hand, wrong.sum(axis=0), rtol=0, atol=1e-9):
            yield sentence
