"""Exercise f5, splitting channels among heads.

reshape cuts the last axis into H pieces of D, without moving anything in memory: channel h D + d
becomes [h, d]. Then the axes of positions and heads change places:

    out = x.reshape(5, 6, 3, 7).transpose(0, 2, 1, 3)
    out[4, 2, 5] == x[4, 5, 14:21]

The way back is the same two steps in reverse:

    out.transpose(0, 2, 1, 3).reshape(5, 6, 21) == x
"""

import numpy as np

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


def changed(whole):
    """Another way of moving the numbers, for the grader."""

    def function(x, n_head, out):
        out[...] = whole(x)

    return function


def _heads(x):
    return x.reshape(5, 6, 3, 7).transpose(0, 2, 1, 3)


CHANGES = (
    (
        "it is reshaped to (B, H, T, D) directly: that mixes positions and heads; transpose",
        {"whole": lambda x: x.reshape(5, 3, 6, 7)},
    ),
    (
        "it is reshaped to (B, H, D, T) directly: that mixes positions and heads; cut the channels",
        {"whole": lambda x: x.reshape(5, 3, 7, 6).swapaxes(2, 3)},
    ),
    (
        "head h gets the channels h, h + 3, h + 6, ...: those of a head lie next to each other",
        {"whole": lambda x: x.reshape(5, 6, 7, 3).transpose(0, 3, 1, 2)},
    ),
    (
        "head h starts at channel h, not at channel 7 h",
        {"whole": lambda x: np.stack([x[..., h : h + 7] for h in range(3)], axis=1)},
    ),
    ("every head gets the channels of head 0", {"whole": lambda x: x[:, None, :, :7]}),
    ("the heads are in reverse order", {"whole": lambda x: _heads(x)[:, ::-1]}),
    ("the positions are in reverse order", {"whole": lambda x: _heads(x)[:, :, ::-1]}),
    ("the channels of a head are in reverse order", {"whole": lambda x: _heads(x)[..., ::-1]}),
    (
        "positions and channels were exchanged before the reshape: cut the channels first",
        {"whole": lambda x: x.transpose(0, 2, 1).reshape(5, 3, 6, 7)},
    ),
    (
        "sequences and positions are mixed: the first axis is B, the second T",
        {"whole": lambda x: x.reshape(6, 5, 3, 7).transpose(1, 2, 0, 3)},
    ),
    (
        "sequences and positions were exchanged before the reshape: the first axis is B already",
        {"whole": lambda x: x.transpose(1, 0, 2).reshape(5, 3, 6, 7)},
    ),
    (
        "the heads are cut as (H, B, T, D): the first axis is B already",
        {"whole": lambda x: x.reshape(3, 5, 6, 7).transpose(1, 0, 2, 3)},
    ),
)
AXES = {"out": ("sequence", "head", "position", "channel")}
