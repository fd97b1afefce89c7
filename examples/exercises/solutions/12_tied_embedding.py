"""Exercise 12, the tied embedding.

Pretend there are two tables. For the one of the logits, the product sums over all positions:

    x = np.tanh(table[tokens])
    as_head = np.einsum("btv,btc->vc", dout, x)

For the other, go back through the product, then tanh, then the lookup of exercise 6:

    dx = dout @ table
    drows = dx * (1 - x**2)
    as_lookup = np.einsum("btv,btc->vc", np.eye(11)[tokens], drows)

There is only one table, used in both places, so by the chain rule the two add up:

    dtable = as_head + as_lookup
"""

import numpy as np

from examples.exercises.terms import Term

HINTS = (
    """\
What is used twice has two gradients. Where is the table used, and how?
""",
    """\
Pretend there are two tables, one for the lookup and one for the logits: the first has the gradient
of exercise 6, the second that of a weight in exercise 1, transposed. The single table gets the sum.
""",
    """\
On the way from the logits to the lookup, dx = dout @ table goes back through tanh, whose slope is
1 - tanh^2. Write the part of the logits first, then np.add.at the part of the lookup to it.
""",
)


def backward(dout, tokens, table, dtable):
    """Write the gradient of `table`."""
    x = np.tanh(table[tokens])
    drows = dout @ table * (1 - x * x)
    dtable[...] = dout.reshape(-1, dout.shape[-1]).T @ x.reshape(-1, x.shape[-1])
    np.add.at(dtable, tokens, drows)


def terms(dout, tokens, table, **_):
    """The terms of each gradient, for the grader."""
    x = np.tanh(table[tokens])
    dx = dout @ table
    raw = table[tokens]

    def lookup(rows, last=False):
        array = np.zeros_like(table)
        if last:
            array[tokens] = rows
        else:
            np.add.at(array, tokens, rows)
        return array

    def head(a, b):
        return np.einsum("btv,btc->vc", a, b)

    drows = dx * (1 - x**2)
    looked_up = {
        "the slope of tanh, 1 - tanh^2, is left out on the way to the lookup": lookup(dx),
        "the slope of tanh is 1 - x^2, not 1 - x": lookup(dx * (1 - x)),
        "the slope of tanh is 1 - x^2, not 1 + x^2": lookup(dx * (1 + x**2)),
        "the slope of tanh is 1 - x^2, not x^2": lookup(dx * x**2),
        "the slope is 1 - table[tokens]^2, without tanh": lookup(dx * (1 - raw**2)),
        "the slope of tanh is taken at x, which is tanh already": lookup(
            dx * (1 - np.tanh(x) ** 2)
        ),
        "tanh stands where its slope belongs": lookup(dx * x),
        "of tokens that occur several times only the last counts: use np.add.at": lookup(
            drows, last=True
        ),
        "of tokens that occur several times only the last counts, and the slope is left out": (
            lookup(dx, last=True)
        ),
        "dout is left out in the lookup's part": lookup(np.ones_like(dout) @ table * (1 - x**2)),
        "the slope of tanh is applied twice": lookup(dx * (1 - x**2) ** 2),
        "the slope of tanh is dx's: 1 - tanh(dx)^2": lookup(dx * (1 - np.tanh(dx) ** 2)),
    }
    logits = {
        "tanh is left out in the logits' part: table[tokens] stands where x belongs": head(
            dout, raw
        ),
        "dout is left out in the logits' part": head(np.ones_like(dout), x),
        "x is left out in the logits' part": head(dout, np.ones_like(x)),
        "the slope of tanh does not belong in the logits' part": head(dout, 1 - x**2),
        "x * (1 - x^2) stands where x belongs in the logits' part": head(dout, x * (1 - x**2)),
        "only the first sequence counts in the logits' part": head(dout[:1], x[:1]),
        "dx stands where x belongs in the logits' part": head(dout, dx),
    }
    return {
        "dtable": [
            Term(1, "the logits' part, dout.T @ x,", head(dout, x), {}, logits),
            Term(
                1,
                "the lookup's part, (dout @ table) * (1 - x^2) added up at tokens,",
                lookup(drows),
                {},
                looked_up,
            ),
        ]
    }


def recognise(name, hand, dout, tokens, table, **_):
    """Yield a product of the two parts."""
    head, lookup = (term.array for term in terms(dout, tokens, table)[name])
    if np.allclose(hand, head * lookup, rtol=0, atol=1e-9):
        yield "the gradients of the two uses are multiplied: they are added"


AXES = {"dtable": ("token", "channel")}
