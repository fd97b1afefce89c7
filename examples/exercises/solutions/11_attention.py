"""Exercise 11, attention with several heads.

Moving numbers has slope 1, so gradients are moved back, and each head is independent:

    Q, K, V = split(qkv, n_head, 3)
    (dO,) = split(dout, n_head, 1)
    p = weights(Q, K)

From here on it is exercise 10, with D = 7 numbers a head:

    dp = dO @ V.mT
    ds = p * (dp - (dp * p).sum(axis=-1, keepdims=True))
    dqkv = np.empty((5, 6, 63))
    dQ, dK, dV = split(dqkv, n_head, 3)
    dQ[...] = ds @ K / np.sqrt(7)
    dK[...] = ds.mT @ Q / np.sqrt(7)
    dV[...] = p.mT @ dO

The sum in ds can be computed without p. In each head, for each query, dp[s] = dO . V[s], so that
sum_s p[s] (dO . V[s]) = dO . sum_s p[s] V[s], the dot product of dO and of the head's output:

    (dp * p).sum(axis=-1) == (dO * split(out, n_head, 1)[0]).sum(axis=-1)
"""

import numpy as np

from examples.exercises.terms import Term

HINTS = (
    """\
Moving numbers has slope 1. What do you get from exercise 10 for each head?
""",
    """\
(dO,) = split(dout, n_head, 1) is the gradient of each head's output, and dQ, dK, dV =
split(dqkv, n_head, 3) are the views to write to. In between, do as in exercise 10.
""",
    """\
p is not kept, so compute it again: weights(Q, K). The scale is 1 / sqrt(D), where D is the number
of channels of a head, not of all heads. Write into the views: dQ[...] = ...
""",
)


def split(x, n_head, parts):
    """Views (B, H, T, D) of the `parts` side by side in the last axis of x (B, T, parts H D)."""
    B, T, width = x.shape
    D = width // (parts * n_head)
    return x.reshape(B, T, parts, n_head, D).transpose(2, 0, 3, 1, 4)


def weights(Q, K):
    """The attention weights: softmax of the masked scores."""
    T, D = Q.shape[-2:]
    s = np.where(np.tri(T, dtype=bool), Q @ K.swapaxes(-1, -2) / np.sqrt(D), -1e30)
    e = np.exp(s - s.real.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def backward(dout, qkv, n_head, dqkv):
    """Write the gradient of `qkv`."""
    Q, K, V = split(qkv, n_head, 3)
    dQ, dK, dV = split(dqkv, n_head, 3)
    (dO,) = split(dout, n_head, 1)
    scale = 1 / np.sqrt(Q.shape[-1])
    p = weights(Q, K)
    dp = dO @ V.swapaxes(-1, -2)
    dV[...] = p.swapaxes(-1, -2) @ dO
    ds = p * (dp - (dp * p).sum(axis=-1, keepdims=True))
    dQ[...] = ds @ K * scale
    dK[...] = ds.swapaxes(-1, -2) @ Q * scale


def terms(dout, qkv, n_head, out, **_):
    """The terms of each gradient, for the grader: those of the three parts, zero elsewhere."""
    Q, K, V = split(qkv, n_head, 3)
    (dO,), (heads,) = split(dout, n_head, 1), split(out, n_head, 1)
    D = Q.shape[-1]
    c = 1 / np.sqrt(D)
    p = weights(Q, K)
    dp = dO @ V.mT
    first, total = p * dp, (p * dp).sum(axis=-1, keepdims=True)
    allowed = np.tri(p.shape[-1])
    s = Q @ K.mT * c
    free = np.exp(s - s.max(axis=-1, keepdims=True))
    free /= free.sum(axis=-1, keepdims=True)

    def at(part, value):
        array = np.zeros_like(qkv)
        split(array, n_head, 3)[part][...] = value
        return array

    heads_of = {}
    p_dp = {
        "the derivative of softmax is left out: ds = dp": dp,
        "the derivative of softmax is left out, and what is masked is cut: ds = dp": dp * allowed,
        "only the diagonal of softmax is there: p * (1 - p) * dp": p * (1 - p) * dp,
        "dp is dO @ K.mT, not dO @ V.mT": p * (dO @ K.mT),
        "dp is dO @ Q.mT, not dO @ V.mT": p * (dO @ Q.mT),
        "O stands where dO belongs in dp": p * (heads @ V.mT),
    }
    p_sum = {
        "the row sum lacks p: sum(dp)": p * dp.sum(axis=-1, keepdims=True),
        "the row sum is a mean": p * (p * dp).mean(axis=-1, keepdims=True),
        "the row sum is a mean of dp": p * dp.mean(axis=-1, keepdims=True),
        "softmax's row sum runs over the queries, axis -2, not over the keys": p
        * (p * dp).sum(axis=-2, keepdims=True),
        "the sum runs over the heads, axis 1": p * (p * dp).sum(axis=1, keepdims=True),
        "p before the row sum is missing": total * np.ones_like(p),
        "dp is dO @ K.mT, not dO @ V.mT": p * (p * (dO @ K.mT)).sum(axis=-1, keepdims=True),
        "dp is dO @ Q.mT, not dO @ V.mT": p * (p * (dO @ Q.mT)).sum(axis=-1, keepdims=True),
        "O stands where dO belongs in dp": p * (p * (heads @ V.mT)).sum(axis=-1, keepdims=True),
    }
    for words, wrong_dO in {
        "dout is reshaped to (B, H, T, D) directly: use split(dout, n_head, 1)": dout.reshape(
            dO.shape
        ),
        "dout is cut into heads of the channels h, h + 3, ...: use split(dout, n_head, 1)": (
            dout.reshape(5, 6, D, n_head).transpose(0, 3, 1, 2)
        ),
    }.items():
        wrong_dp = wrong_dO @ V.mT
        p_dp[words] = p * wrong_dp
        p_sum[words] = p * (p * wrong_dp).sum(axis=-1, keepdims=True)
        heads_of[words] = p.mT @ wrong_dO
    no_mask = "the weights are computed again without the causal mask"
    p_dp[no_mask] = free * dp
    p_sum[no_mask] = free * (free * dp).sum(axis=-1, keepdims=True)
    queries = {
        "ds is transposed, and should not be": lambda s: s.mT @ K * c,
        "Q stands where K belongs": lambda s: s @ Q * c,
        "dQ and dK are exchanged": lambda s: s.mT @ Q * c,
    }
    keys = {
        "ds is not transposed": lambda s: s @ Q * c,
        "K stands where Q belongs": lambda s: s.mT @ K * c,
        "dQ and dK are exchanged": lambda s: s @ K * c,
    }
    into_values = {
        "p (w) is not transposed: p.mT @ dO": p @ dO,
        "p is left out in dV": allowed.T @ dO,
        "ds stands where p belongs in dV": (p * (dp - total)).mT @ dO,
        "dV is dO itself": dO,
        no_mask: free.mT @ dO,
    } | heads_of
    scales = {
        "sqrt(C) = sqrt(21) stands where sqrt(D) = sqrt(7) belongs, a head's channels, in ": 3
        ** -0.5,
        "1/sqrt(D) is missing in ": D**0.5,
        "it is divided by D, not by sqrt(D), in ": c,
    }

    def scaled(name, array):
        return {
            words + which: array * factor
            for words, factor in scales.items()
            for which in (name, "dQ and dK")
        }

    def term(coefficient, part, product, wrong_product, s, wrong, text):
        instead = {words: at(part, product(w)) for words, w in wrong.items()}
        instead |= {words: at(part, f(s)) for words, f in wrong_product.items()}
        instead |= scaled(("dQ", "dK")[part], at(part, product(s)))
        return Term(coefficient, text, at(part, product(s)), {}, instead)

    def of_q(s):
        return s @ K * c

    def of_k(s):
        return s.mT @ Q * c

    return {
        "dqkv": [
            term(1, 0, of_q, queries, first, p_dp, "(p * dp) @ K / sqrt(D) in dQ"),
            term(-1, 0, of_q, queries, p * total, p_sum, "(p * sum(p * dp)) @ K / sqrt(D) in dQ"),
            term(1, 1, of_k, keys, first, p_dp, "(p * dp).mT @ Q / sqrt(D) in dK"),
            term(-1, 1, of_k, keys, p * total, p_sum, "(p * sum(p * dp)).mT @ Q / sqrt(D) in dK"),
            Term(
                1,
                "p.mT @ dO in dV",
                at(2, p.mT @ dO),
                {},
                {words: at(2, value) for words, value in into_values.items()},
            ),
        ]
    }
