"""Exercise f5, splitting channels among heads.

reshape cuts the last axis into H pieces of D, without moving anything in memory: channel h D + d
becomes [h, d]. Then the axes of positions and heads change places:

    out = x.reshape(5, 6, 3, 7).transpose(0, 2, 1, 3)
    out[4, 2, 5] == x[4, 5, 14:21]

The way back is the same two steps in reverse:

    out.transpose(0, 2, 1, 3).reshape(5, 6, 21) == x
"""

HINTS = (
    """\
reshape keeps the order of the numbers in memory and only cuts it differently. Which axis is cut?
""",
    """\
x.reshape(B, T, H, D): the last axis is cut into H pieces of D. Now the heads stand after the
positions.
""",
    """\
transpose(0, 2, 1, 3) exchanges the axes 1 and 2. Reshaping to (B, H, T, D) directly has the right
shape and the wrong numbers.
""",
)


def forward(x, n_head, out):
    """Write the channels of each head, heads before positions, to `out`."""
    B, T, C = x.shape
    out[...] = x.reshape(B, T, n_head, C // n_head).transpose(0, 2, 1, 3)


def reshaped(x, n_head, out):
    """A mistake: reshape alone."""
    out[...] = x.reshape(out.shape)


def interleaved(x, n_head, out):
    """A mistake: head h gets every third channel."""
    B, T, C = x.shape
    out[...] = x.reshape(B, T, C // n_head, n_head).transpose(0, 3, 1, 2)


def first_head(x, n_head, out):
    """A mistake: every head gets the channels of head 0."""
    out[...] = x[:, None, :, : x.shape[-1] // n_head]


def reversed_heads(x, n_head, out):
    """A mistake: the heads are in reverse order."""
    B, T, C = x.shape
    out[...] = x.reshape(B, T, n_head, C // n_head).transpose(0, 2, 1, 3)[:, ::-1]


def transposed_first(x, n_head, out):
    """A mistake: positions and channels are exchanged first."""
    out[...] = x.transpose(0, 2, 1).reshape(out.shape)


MISTAKES = {
    "it is reshaped to (B, H, T, D) directly: that mixes positions and heads; transpose": reshaped,
    "head h gets the channels h, h + 3, h + 6, ...: those of a head lie next to each other": (
        interleaved
    ),
    "every head gets the channels of head 0": first_head,
    "the heads are in reverse order": reversed_heads,
    "positions and channels were exchanged before the reshape: cut the channels first": (
        transposed_first
    ),
}
