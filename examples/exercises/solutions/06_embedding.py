"""Exercise 6, the embedding.

With onehot[b, t, v] = 1 where tokens[b, t] = v, otherwise 0, the lookup is a linear layer:

    onehot = np.eye(11)[tokens]
    wte[tokens] == onehot @ wte

so its gradient is that of a weight, as in exercise 1, summed over all positions:

    dwte = np.einsum("btv,btc->vc", onehot, dout)

The same without all the zeros: start from 0, and add each row of dout to the row of its token. A
position t is used once in each sequence b, and the last two positions are never used:

    dwpe = np.zeros((7, 6))
    dwpe[:5] = dout.sum(axis=0)
"""

import numpy as np

from examples.exercises.terms import Term

HINTS = (
    """\
Which numbers of out does row v of wte enter? And row t of wpe?
""",
    """\
Row v of wte enters wherever the token is v, so its gradient is the sum of dout over those
positions; a token that does not occur gets 0. Row t of wpe enters once in each sequence.
""",
    """\
`dwte[tokens] += dout` looks right but is not: of several positions with the same token, only
the last one counts. np.add.at adds them all, after dwte has been set to 0. Unused rows of wpe have
gradient 0, which must be written, too.
""",
)


def backward(dout, tokens, dwte, dwpe):
    """Write the gradients of both tables."""
    T = tokens.shape[1]
    dwte[...] = 0
    np.add.at(dwte, tokens, dout)
    dwpe[:T] = dout.sum(axis=0)
    dwpe[T:] = 0


def terms(dout, tokens, wte, wpe, **_):
    """The terms of each gradient, for the grader."""
    T, rows = tokens.shape[1], dout.reshape(-1, dout.shape[-1])
    flat = tokens.ravel()
    right, last, first, maximum = (np.zeros_like(wte) for _ in range(4))
    np.add.at(right, tokens, dout)
    last[tokens] = dout
    first[flat[::-1]] = rows[::-1]
    np.maximum.at(maximum, tokens, dout)
    counts = np.bincount(flat, minlength=len(wte))[:, None]
    by_position = np.zeros_like(wte)
    by_position[:T] = dout.sum(axis=0)
    sequences = [np.zeros_like(wte) for _ in tokens]
    for part, ids, d in zip(sequences, tokens, dout, strict=True):
        np.add.at(part, ids, d)
    of_sequences = np.zeros_like(wte)
    for ids, d in zip(tokens, dout, strict=True):
        of_sequences[ids] += d
    where_it_occurs = "a token that occurs several times counts once, the last time: use np.add.at"
    table = {
        f"{where_it_occurs} instead of dwte[tokens] += dout": last,
        "a token that occurs several times counts once, the first time": first,
        "within a sequence a token counts once: use np.add.at": of_sequences,
        "it is a mean over the positions where a token occurs, not a sum": right
        / np.maximum(counts, 1),
        "dout is left out: it counts the tokens": counts * np.ones_like(wte),
        "it is 1 for each token that occurs: dout is left out": (counts > 0) * np.ones_like(wte),
        "each is multiplied with how often the token occurs": right * counts,
        "wte is one factor too many": right * wte,
        "it is the gradient of the positions: rows t, not rows tokens[t]": by_position,
        "the largest dout of a token is taken, not the sum": maximum,
        "only the first sequence counts": sequences[0],
        "only the last sequence counts": sequences[-1],
    }
    positions = np.zeros_like(wpe)
    positions[:T] = dout.sum(axis=0)

    def padded(part):
        array = np.zeros_like(wpe)
        array[: len(part)] = part
        return array

    everywhere = np.zeros_like(wpe)
    np.add.at(everywhere, tokens % len(wpe), dout)
    by_token = right[: len(wpe)]
    places = {
        "only the first sequence counts": padded(dout[0]),
        "only the last sequence counts": padded(dout[-1]),
        "dout is left out: it counts the sequences": padded(np.full_like(dout[0], len(dout))),
        "it is 1 for each position: dout is left out": padded(np.ones_like(dout[0])),
        "wpe is one factor too many": positions * wpe,
        "it is the gradient of the tokens: rows tokens[t], not rows t": by_token,
        "every position gets the sum over all positions": padded(
            np.broadcast_to(dout.sum(axis=(0, 1)), dout[0].shape)
        ),
        "the rows are at the end: positions start at row 0": positions[::-1][
            np.r_[np.arange(len(wpe) - T, len(wpe)), 0 : len(wpe) - T]
        ][::-1],
        "the unused rows are not 0: they repeat others": positions
        + np.roll(positions, T, axis=0) * (np.arange(len(wpe)) >= T)[:, None],
    }
    return {
        "dwte": [Term(1, "the sum of dout where the token occurs", right, instead=table)],
        "dwpe": [Term(1, "the sum of dout over the sequences", positions, instead=places)],
    }


AXES = {"dwte": ("token", "channel"), "dwpe": ("position", "channel")}
