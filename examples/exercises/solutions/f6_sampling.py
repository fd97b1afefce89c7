"""Exercise f6, drawing the next token.

Temperature first, then the softmax of exercise f1:

    z = logits / tau
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)

np.cumsum adds up along the row, so that the tokens divide the numbers from 0 to 1 into pieces as
long as their probabilities, and u falls into one of them. As many tokens lie entirely below u as
have a cumulative probability of at most u:

    out = (np.cumsum(p, axis=-1) <= u[:, None]).sum(axis=-1)

argmax finds the first True, which is the same token:

    out == (np.cumsum(p, axis=-1) > u[:, None]).argmax(axis=-1)
"""

import numpy as np

HINTS = (
    """\
Divide by the temperature before softmax, not after it.
""",
    """\
np.cumsum(p, axis=-1) adds up along the row. The token is the first at which that is larger than u.
""",
    """\
argmax of an array of True and False is the place of the first True. u needs one more axis, u[:,
None], to be compared with each row. Treat tau == 0 apart: logits.argmax(axis=-1).
""",
)


def forward(logits, u, tau, out):
    """Write the token that is drawn for each row to `out`."""
    if tau == 0:
        out[...] = logits.argmax(axis=-1)
        return
    z = logits / tau
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    out[...] = (np.cumsum(p, axis=-1) > u[:, None]).argmax(axis=-1)


def changed(divide=None, shift=None, total=None, p=None, number=None, draw=None, zero=None):
    """The same, with some parts exchanged, for the grader."""

    def drawn(logits, u, tau):
        z = divide(logits, tau) if divide else logits / tau
        e = np.exp(z - (shift(z) if shift else z.max(axis=-1, keepdims=True)))
        shares = e / (total(e) if total else e.sum(axis=-1, keepdims=True))
        shares = p(shares, tau) if p else shares
        at = number(u) if number else u
        return draw(shares, at) if draw else (np.cumsum(shares, -1) > at[:, None]).argmax(-1)

    def function(logits, u, tau, out):
        if tau == 0:
            out[...] = (zero or _largest)(logits, lambda tau: drawn(logits, u, tau))
        else:
            out[...] = drawn(logits, u, tau)

    return function


def _largest(logits, drawn):
    return logits.argmax(axis=-1)


def _first(p, u):
    return (np.cumsum(p, axis=-1) > u[:, None]).argmax(axis=-1)


CHANGES = (
    ("the temperature is not used", {"divide": lambda z, tau: z}),
    (
        "the logits are multiplied by the temperature, not divided by it",
        {"divide": lambda z, tau: z * tau},
    ),
    (
        "the logits are divided by the square of the temperature",
        {"divide": lambda z, tau: z / tau**2},
    ),
    (
        "the probabilities are divided by the temperature: it belongs before softmax",
        {"divide": lambda z, tau: z, "p": lambda p, tau: p / tau},
    ),
    (
        "p^(1 / tau) is not divided by its sum: the probabilities of a row must sum to 1",
        {"divide": lambda z, tau: z, "p": lambda p, tau: p ** (1 / tau)},
    ),
    (
        "the token with the largest logit is taken always: draw with u, unless tau is 0",
        {"draw": lambda p, u: p.argmax(axis=-1)},
    ),
    ("it is one token too late", {"draw": lambda p, u: _first(p, u) + 1}),
    ("it is one token too early", {"draw": lambda p, u: _first(p, u) - 1}),
    (
        "the comparison is the wrong way round: the first whose cumulative probability is larger "
        "than u",
        {"draw": lambda p, u: (np.cumsum(p, axis=-1) < u[:, None]).argmax(axis=-1)},
    ),
    (
        "it is the number of tokens that lie above u, not of those below",
        {"draw": lambda p, u: (np.cumsum(p, axis=-1) > u[:, None]).sum(axis=-1)},
    ),
    (
        "the probability of the token itself is compared with u, not the cumulative one",
        {"draw": lambda p, u: (p > u[:, None]).argmax(axis=-1)},
    ),
    (
        "it is the last token whose cumulative probability is larger than u, which the last of all "
        "always is: stop at the first",
        {"draw": lambda p, u: np.full_like(u, p.shape[-1] - 1)},
    ),
    (
        "the largest of the cumulative probabilities is taken, the last one: compare with u first",
        {"draw": lambda p, u: np.cumsum(p, axis=-1).argmax(axis=-1)},
    ),
    (
        "the cumulative probability nearest to u is taken, not the first that is larger",
        {"draw": lambda p, u: np.abs(np.cumsum(p, axis=-1) - u[:, None]).argmin(axis=-1)},
    ),
    (
        "the probabilities were sorted first: it is a place in the sorted row, not a token",
        {"draw": lambda p, u: _first(np.sort(p)[:, ::-1], u)},
    ),
    (
        "the probabilities were sorted first: it is a place in the sorted row, not a token",
        {"draw": lambda p, u: _first(np.sort(p), u)},
    ),
    ("1 - u stands where u belongs", {"number": lambda u: 1 - u}),
    ("every row is drawn with the first u", {"number": lambda u: np.full_like(u, u[0])}),
    ("exp overflows for large logits: use the softmax of f1", {"shift": lambda z: 0}),
    ("exp is not divided by its sum: the probabilities must sum to 1", {"total": lambda e: 1}),
    (
        "the sum of softmax runs over the whole array, not over each row",
        {"total": lambda e: e.sum()},
    ),
    (
        "softmax runs along axis 0, over the rows, not over the tokens of each row",
        {"total": lambda e: e.sum(axis=0), "shift": lambda z: z.max(axis=0)},
    ),
    (
        "tau = 0 divides by 0: take the largest logit then",
        {"zero": lambda logits, drawn: drawn(np.float64(0))},  # by which 1 / tau is no error
    ),
    (
        "tau = 0 is treated as 1: take the largest logit then",
        {"zero": lambda logits, drawn: drawn(1.0)},
    ),
    (
        "at tau = 0 the token with the smallest logit is taken, not the largest",
        {"zero": lambda logits, drawn: logits.argmin(axis=-1)},
    ),
    (
        "at tau = 0 argmax lacks its axis: it is that of the whole array",
        {"zero": lambda logits, drawn: logits.argmax()},
    ),
    (
        "at tau = 0 it is the largest logit itself, not its token",
        {"zero": lambda logits, drawn: logits.max(axis=-1)},
    ),
)
AXES = {"out": ("row",)}
