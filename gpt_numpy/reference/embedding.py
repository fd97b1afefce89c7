"""Token and position embedding: look up a row for the token and a row for its place, add them.

Sources: Radford et al., "Language Models are Unsupervised Multitask Learners" (GPT-2, learned
positions); Vaswani et al., "Attention Is All You Need" (2017), section 3.5 (sinusoids).

Forward, for position t of sequence b, whose token is v = tokens[b, t]:

    row_btc = wte[v, c] + wpe[t, c]                       out = dropout(row)

A lookup is a product with a matrix of zeros and ones: with onehot[bt, v] = 1 where tokens[b, t] = v
and 0 elsewhere, wte[tokens] = onehot @ wte. It is linear, and its backward is that of a linear
layer (linear.py, dweight = x.T @ dout) with x = onehot.

Backward. Given dout, and drow from it by dropout's own backward (dropout.py):

    dwte = onehot.T @ drow:    dwte[v, c] = sum over all (b, t) with tokens[b, t] = v of drow_btc

    wpe[t, c] enters row_btc for every b:    dwpe[t, c] = sum_b drow_btc

A token that occurs n times in the batch gets the sum of n gradients. `dwte[tokens] += drow` would
keep one of them: NumPy adds each to the old row, then writes all n results to the same place, and
the last one stays. `np.add.at` adds them one after the other.
Rows of positions beyond T get exactly zero.

When the head is tied to wte (head.py), the loss depends on wte through the lookup and through
the logits; by the chain rule the two gradients add up:

    dwte[v, c] = sum over all (b, t) with tokens[b, t] = v of drow_btc + sum_bt dlogits_btv norm_btc

The head's half is already in `dwte` when backward of the lookup begins.

Sinusoids. With fixed positions wpe is the paper's table over sqrt(C), and has no gradient:

    wpe[t, 2i] = sin(t / 10000^(2i / C)) / sqrt(C)
    wpe[t, 2i + 1] = cos(t / 10000^(2i / C)) / sqrt(C)

The paper multiplies the token embedding by sqrt(C) instead (section 3.4): the same sum except for a
common factor. At GPT-2's initial scale, 0.02, the bare table would drown the tokens.

Scale. With the paper's factor, and its table as it is, the lookup is

    row_btc = scale wte[v, c] + wpe[t, c]
    dwte[v, c] = sum over all (b, t) with tokens[b, t] = v of scale drow_btc

while the head, which shares wte, has no factor.

With rotary positions (rotary.py), or with none, row_btc = wte[v, c]: there is no wpe.

Shapes: tokens (B, T) integers; wte (V, C); wpe (block_size >= T, C); out (B, T, C).
"""

import math
from typing import NamedTuple

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.reference.dropout import Dropout, dropout_backward, dropout_forward
from gpt_numpy.reference.tap import Tap, no_tap


def sinusoidal_positions(n_positions: int, n_embd: int) -> Array:
    """The sinusoids of "Attention Is All You Need" over sqrt(n_embd), (n_positions, n_embd)."""
    angles = np.arange(n_positions)[:, None] / 10000.0 ** (np.arange(0, n_embd, 2) / n_embd)
    table = np.empty((n_positions, n_embd))
    table[:, 0::2] = np.sin(angles)
    table[:, 1::2] = np.cos(angles)[:, : n_embd // 2]
    return table / math.sqrt(n_embd)


class EmbeddingWeights(NamedTuple):
    """The two tables, or their gradients; there may be no table of positions."""

    wte: Array  # (V, C)
    wpe: Array | None = None  # (block_size, C); as a gradient None where positions are fixed


def embedding_forward(
    tokens: Array,
    weights: EmbeddingWeights,
    *,
    scale: float = 1.0,
    dropout: Dropout,
    out: Array,
    tap: Tap = no_tap,
) -> None:
    """Write the embedded tokens, times `scale` before positions are added, to `out`."""
    wte, wpe = weights
    row = wte[tokens] if scale == 1 else wte[tokens] * scale
    if wpe is not None:
        row += wpe[: tokens.shape[1]]
    dropout_forward(row, dropout, out=out)
    tap("out", out)


def embedding_backward(
    dout: Array,
    tokens: Array,
    weights: EmbeddingWeights,
    *,
    tied: bool,
    scale: float = 1.0,
    dropout: Dropout,
    dweights: EmbeddingWeights,
    tap: Tap = no_tap,
) -> None:
    """Write the gradients of both tables; `tied`: add to what the head wrote to `dweights.wte`."""
    dwte, dwpe = dweights
    T = tokens.shape[1]
    drow = np.empty_like(dout)
    tap("dout", dout)
    # forward: out = dropout(row)
    dropout_backward(dout, dropout, dx=drow)
    # forward: row = scale wte[tokens] + wpe[:T]
    if not tied:
        dwte[...] = 0
    np.add.at(dwte, tokens, drow if scale == 1 else drow * scale)
    if dwpe is not None:
        dwpe[:T] = drow.sum(axis=0)
        dwpe[T:] = 0
