"""Exercise 10a, one attention head in atomic steps.

out = weights @ v is a product of matrices for each sequence. dweights[t, s] sums over the channels:
it is the dot product of dout at t with the value at s. dv sums over the queries:

    dweights = dout @ v.mT
    dv = p.mT @ dout

Softmax, from exercise 7, in each row:

    dmasked = p * (dweights - (dweights * p).sum(axis=-1, keepdims=True))

Where p is 0, dmasked is 0 already, so that the mask changes nothing:

    dscores = np.where(np.tri(5) == 1, dmasked, 0)
    dscores == dmasked

scores = q @ k.mT / sqrt(7), a product again:

    dq = dscores @ k / np.sqrt(7)
    dk = dscores.mT @ q / np.sqrt(7)
"""

import numpy as np

from examples.exercises.terms import Term

HINTS = (
    """\
Four steps: a product, softmax, the mask, a product. Begin with out = weights @ v, as in exercise 1,
for each sequence. dv has the shape of v.
""",
    """\
dmasked is exercise 7 with p for out and dweights for dout. np.where hands the gradient on where it
took the scores, and 0 elsewhere.
""",
    """\
The scores are q times k transposed, so dq is dscores times k, and dk is dscores, transposed, times
q. Both have the factor 1 / sqrt(7), once.
""",
)


def backward(dout, q, k, v, p, dq, dk, dv, dscores, dmasked, dweights):
    """Write the gradients of all steps."""
    dweights[...] = dout @ v.swapaxes(-1, -2)
    dv[...] = p.swapaxes(-1, -2) @ dout
    dmasked[...] = p * (dweights - (dweights * p).sum(axis=-1, keepdims=True))
    dscores[...] = np.where(np.tri(5, dtype=bool), dmasked, 0)
    dq[...] = dscores @ k / np.sqrt(7)
    dk[...] = dscores.swapaxes(-1, -2) @ q / np.sqrt(7)


def terms(dout, q, k, v, p, out, dweights=None, dmasked=None, dscores=None, **_):
    """The terms of each gradient, for the grader; from the learner's own ones, if given."""
    c, allowed = 1 / np.sqrt(7), np.tri(5)
    right_dweights = dout @ v.mT
    dp = right_dweights if dweights is None else dweights
    first, total = p * dp, (p * dp).sum(axis=-1, keepdims=True)
    ds = first - p * total if dscores is None else dscores
    sums = {
        "the row sum lacks p: sum(dweights)": p * dp.sum(axis=-1, keepdims=True),
        "the row sum is a mean": p * (p * dp).mean(axis=-1, keepdims=True),
        "the sum runs over the queries, axis -2": p * (p * dp).sum(axis=-2, keepdims=True),
        "p before the row sum is missing": total * np.ones_like(p),
    }
    starts = {
        "the derivative of softmax is left out: dweights itself": dp,
        "the derivative of softmax is left out, and what is masked is cut": dp * allowed,
        "only the diagonal of softmax is there: p * (1 - p)": p * (1 - p) * dp,
    }

    def softmax_terms():
        return [
            Term(1, "p * dweights", first, {}, starts),
            Term(-1, "p * sum(dweights * p)", p * total, {}, sums),
        ]

    cut = np.where(allowed == 1, dmasked, 0) if dmasked is not None else 0
    not_cut = (
        {"what is masked is not cut": dmasked, "only what is masked is left": dmasked - cut}
        if (dmasked is not None)
        else {}
    )
    through_mask = [Term(1, "dmasked where the mask lets it pass", cut, {}, not_cut)]
    into_q = {
        "1 / sqrt(7) is missing: the scores were divided by sqrt(7)": ds @ k,
        "it is divided by 7, not by sqrt(7)": ds @ k / 7,
        "dscores is transposed, and should not be": ds.mT @ k * c,
        "q stands where k belongs": ds @ q * c,
        "it is the gradient of the keys": ds.mT @ q * c,
        "dweights stands where dscores belongs": dp @ k * c,
        "p stands where dscores belongs": p @ k * c,
    }
    into_k = {
        "1 / sqrt(7) is missing: the scores were divided by sqrt(7)": ds.mT @ q,
        "it is divided by 7, not by sqrt(7)": ds.mT @ q / 7,
        "dscores is not transposed": ds @ q * c,
        "k stands where q belongs": ds.mT @ k * c,
        "it is the gradient of the queries": ds @ k * c,
        "dweights stands where dscores belongs": dp.mT @ q * c,
        "p stands where dscores belongs": p.mT @ q * c,
    }
    return {
        "dweights": [
            Term(
                1,
                "dout @ v.mT",
                right_dweights,
                {},
                {
                    "what is masked is cut: dweights does not know of the mask": dp * allowed,
                    "p is one factor too many": first,
                    "k stands where v belongs": dout @ k.mT,
                    "q stands where v belongs": dout @ q.mT,
                    "out stands where dout belongs": out @ v.mT,
                    "dweights is transposed": dp.mT,
                },
            )
        ],
        "dv": [
            Term(
                1,
                "p.mT @ dout",
                p.mT @ dout,
                {},
                {
                    "a transpose is missing: p.mT @ dout": p @ dout,
                    "p is left out": np.ones_like(p) @ dout,
                    "out stands where dout belongs": p.mT @ out,
                },
            )
        ],
        "dmasked": softmax_terms(),
        "dscores": softmax_terms() if dmasked is None else through_mask,
        "dq": [Term(1, "dscores @ k / sqrt(7)", ds @ k * c, {}, into_q)],
        "dk": [Term(1, "dscores.mT @ q / sqrt(7)", ds.mT @ q * c, {}, into_k)],
    }


_QUERY_KEY = ("sequence", "query", "key")
AXES = {"dweights": _QUERY_KEY, "dmasked": _QUERY_KEY, "dscores": _QUERY_KEY}
# What each gradient is made from, in the order of backward.
STEPS = {"dweights": "", "dv": "", "dmasked": "dweights", "dscores": "dmasked"}
STEPS |= {"dq": "dscores", "dk": "dscores"}
