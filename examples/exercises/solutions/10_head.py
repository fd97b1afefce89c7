"""Exercise 10, one attention head.

out = p @ v, so as in exercise 1

    dp = dout @ v.mT
    dv = p.mT @ dout

Softmax as in exercise 7, row by row. A masked weight is 0 for any scores, and p = 0 makes its ds 0:

    ds = p * (dp - (dp * p).sum(axis=-1, keepdims=True))
    np.triu(ds, 1) == np.zeros((3, 5, 5))

The scores s = q @ k.mT / sqrt(7) are a product again: the gradient of a query sums over all keys
that it was compared with, that of a key over all queries:

    dq = ds @ k / np.sqrt(7)
    dk = ds.mT @ q / np.sqrt(7)
"""

import numpy as np

from examples.exercises.terms import Term

HINTS = (
    """\
Three steps you have done before, in reverse: a matrix product, a softmax, a matrix product.
""",
    """\
out = p @ v is a product as in exercise 1: it gives dv, and dp on the way to the scores. Then the
softmax of exercise 7 gives ds; where p is 0, so is ds, and the mask needs no extra code.
""",
    """\
q @ k.mT is a product again: dq is ds times k, and dk is ds, transposed, times q. The scores are
divided by sqrt(7): so are both gradients.
""",
)


def backward(dout, q, k, v, p, dq, dk, dv):
    """Write the gradients of `q`, `k` and `v`."""
    scale = 1 / np.sqrt(q.shape[-1])
    dp = dout @ v.swapaxes(-1, -2)
    dv[...] = p.swapaxes(-1, -2) @ dout
    ds = p * (dp - (dp * p).sum(axis=-1, keepdims=True))
    dq[...] = ds @ k * scale
    dk[...] = ds.swapaxes(-1, -2) @ q * scale


def terms(dout, q, k, v, p, out, **_):
    """The terms of each gradient, for the grader."""
    c = 1 / np.sqrt(q.shape[-1])
    dp = dout @ v.mT
    first, total = p * dp, (p * dp).sum(axis=-1, keepdims=True)
    allowed = np.tri(p.shape[-1])
    instead_of_p_dp = {
        "the derivative of softmax is left out: ds = dp": dp,
        "the derivative of softmax is left out, and what is masked is cut: ds = dp": dp * allowed,
        "only the diagonal of softmax is there: p * (1 - p) * dp": p * (1 - p) * dp,
        "out @ v.mT stands where dp belongs": p * (out @ v.mT),
        "dp is dout @ k.mT, not dout @ v.mT": p * (dout @ k.mT),
        "dp is dout @ q.mT, not dout @ v.mT": p * (dout @ q.mT),
        "dp is transposed": p * dp.mT,
    }
    one = "the row sum lacks p: sum(dp)"
    instead_of_sum = {
        one: p * dp.sum(axis=-1, keepdims=True),
        "the row sum is a mean": p * (p * dp).mean(axis=-1, keepdims=True),
        "the row sum lacks p, over what is not masked": p
        * (dp * allowed).sum(axis=-1, keepdims=True),
        "the row sum is a mean of dp": p * dp.mean(axis=-1, keepdims=True),
        "softmax's sum runs over the queries, axis -2, not over the keys, axis -1": p
        * (p * dp).sum(axis=-2, keepdims=True),
        "softmax's sum runs over the sequences, axis 0": p * (p * dp).sum(axis=0, keepdims=True),
        "softmax's sum runs over everything": p * (p * dp).sum(),
        "p before the row sum is missing": total * np.ones_like(p),
        "p before the row sum is missing, and what is masked is cut": total * allowed,
    }
    dp_for_k, dp_for_q = dout @ k.mT, dout @ q.mT
    whole = {
        "dp is dout @ k.mT, not dout @ v.mT": dp_for_k,
        "dp is dout @ q.mT, not dout @ v.mT": dp_for_q,
        "dp is out @ v.mT: the values stand where dout belongs": out @ v.mT,
        "dp is transposed": dp.mT,
    }
    both = {words: (p * d, p * (p * d).sum(axis=-1, keepdims=True)) for words, d in whole.items()}
    products = {
        "dq": {
            "ds is transposed, and should not be": lambda s: s.mT @ k * c,
            "q stands where k belongs": lambda s: s @ q * c,
            "v stands where k belongs": lambda s: s @ v * c,
            "it is the gradient of the keys: dq and dk are exchanged": lambda s: s.mT @ q * c,
        },
        "dk": {
            "ds is not transposed": lambda s: s @ q * c,
            "k stands where q belongs": lambda s: s.mT @ k * c,
            "v stands where q belongs": lambda s: s.mT @ v * c,
            "it is the gradient of the queries: dq and dk are exchanged": lambda s: s @ k * c,
            "ds is not transposed, and k stands where q belongs": lambda s: s @ k * c,
        },
    }

    def pair(name, product, text):
        instead = [
            {words: product(s) for words, s in instead_of_p_dp.items()},
            {words: product(s) for words, s in instead_of_sum.items()},
        ]
        for words, parts in both.items():
            for group, part in zip(instead, parts, strict=True):
                group[words] = product(part)
        for words, wrong in products[name].items():
            instead[0][words], instead[1][words] = wrong(first), wrong(p * total)
        left, right = product(first), product(p * total)
        return [
            Term(1, text.format("(p * dp)"), left, {}, instead[0]),
            Term(-1, text.format("(p * sum(p * dp))"), right, {}, instead[1]),
        ]

    ds = p * (dp - total)
    into_values = {
        "a transpose is missing: p.mT @ dout": p @ dout,
        "dout is left out": p.mT @ np.ones_like(dout),
        "p is left out: the sum over all queries": np.ones_like(p) @ dout,
        "p is left out: the sum over the queries that may look": allowed.T @ dout,
        "ds stands where p belongs": ds.mT @ dout,
        "dp stands where p belongs": dp.mT @ dout,
        "out stands where dout belongs": p.mT @ out,
        "q stands where dout belongs": p.mT @ q,
        "dv is dout itself": dout,
    }
    return {
        "dq": pair("dq", lambda s: s @ k * c, "{} @ k / sqrt(7)"),
        "dk": pair("dk", lambda s: s.mT @ q * c, "{}.mT @ q / sqrt(7)"),
        "dv": [Term(1, "p.mT @ dout", p.mT @ dout, {}, into_values)],
    }


def recognise(name, hand, dout, q, k, v, p, **_):
    """Yield the weights themselves in the place of the gradient of the scores."""
    wrong = {"dq": p @ k, "dk": p.mT @ q}
    if name in wrong and np.allclose(hand, wrong[name] / np.sqrt(7), rtol=0, atol=1e-9):
        yield "p stands where ds belongs: the weights for the gradient of the scores"
