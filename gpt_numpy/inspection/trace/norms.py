"""Gradient norms of single tokens and single sequences, from one pass over the whole batch.

The gradient of every parameter is a sum over the rows r of the batch (a row is one position of one
sequence) of products of something that forward read and the gradient of something that it wrote:

    dweight_io = sum_r a_ri b_ro

    linear layer    a = x           b = dout            (its bias: a = 1)
    layer norm      a = 1           b = dout * xhat     (its bias: b = dout)
    embedding       a = onehot      b = dout            onehot of the token, or of the position
    head            a = dlogits     b = x               its weight lies as (V, C)

What the rows R of one sequence contribute is the same sum over R alone, and its norm needs no
gradient matrix:

    |sum_{r in R} a_r b_r^T|^2 = sum_{r, s in R} (a_r . a_s) (b_r . b_s)

two T x T tables of scalar products a sequence; for one token |a_r| |b_r|. Where the head is tied to
the token embedding its gradient has two such sums, and the products of the one with the other count
as well. Contributions are parts of the gradient of the loss of the batch: over all sequences they
add up to it.

Source: Goodfellow, "Efficient Per-Example Gradient Computations" (2015), and for sequences Li et
al., "Large Language Models Can Be Strong Differentially Private Learners" (2022), section 4.

All sums are in float64. Rows that a factor picks out (onehot) are kept as their numbers.
"""

from collections.abc import Callable

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.inspection.trace.diagram import Node

Lookup = Callable[[str], Array]
Factors = list[tuple[Array, Array]]  # a, b: (B, T, channels), or of a onehot the numbers (B, T)


def factors(diagram: list[Node], name: str, tokens: Array, value: Lookup, grad: Lookup) -> Factors:
    """The a and b of every operation that reads the parameter `name`."""
    found: Factors = []
    for node in diagram:
        for argument in node.read:
            if node.arrays[argument] == name:
                dout = grad(node.arrays["out"])
                found.append(_factors_of(node, argument, tokens, dout, value))
    return found


def _factors_of(
    node: Node, argument: str, tokens: Array, dout: Array, value: Lookup
) -> tuple[Array, Array]:
    ones = np.ones((*tokens.shape, 1))
    if argument == "wte":
        return tokens, dout
    if argument == "wpe":
        return np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape), dout
    if argument == "bias":
        return ones, dout
    if "xhat" in node.arrays:
        return ones, dout * value(node.arrays["xhat"])
    x = value(node.arrays["x"])
    return (dout, x) if node.arrays["out"] == "logits" else (x, dout)


def norms_of_sequences(listed: Factors) -> Array:
    """The norm of what each sequence contributes to the gradient, (B,)."""
    squares = sum(
        (_products(a1, a2) * _products(b1, b2)).sum(axis=(1, 2))
        for a1, b1 in listed
        for a2, b2 in listed
    )
    return np.sqrt(np.maximum(squares, 0))


def norms_of_tokens(listed: Factors) -> Array:
    """The norm of what each token contributes to the gradient, (B, T)."""
    squares = sum(
        _row_products(a1, a2) * _row_products(b1, b2) for a1, b1 in listed for a2, b2 in listed
    )
    return np.sqrt(np.maximum(squares, 0))


def _products(one: Array, other: Array) -> Array:
    """The scalar product of every row of a sequence with every row of the other, (B, T, T)."""
    if one.ndim == 2 and other.ndim == 2:
        return (one[:, :, None] == other[:, None, :]).astype(np.float64)
    if one.ndim == 2:
        return _products(other, one).swapaxes(1, 2)
    if other.ndim == 2:  # a onehot picks a channel of each row of `one`
        chosen = np.broadcast_to(other[:, None, :], (*one.shape[:2], other.shape[1]))
        return np.take_along_axis(one, chosen, axis=2).astype(np.float64)
    return one.astype(np.float64) @ other.astype(np.float64).swapaxes(1, 2)


def _row_products(one: Array, other: Array) -> Array:
    """The scalar product of every row with the same row of the other, (B, T)."""
    if one.ndim == 2 and other.ndim == 2:
        return (one == other).astype(np.float64)
    if one.ndim == 2:
        return _row_products(other, one)
    if other.ndim == 2:
        return np.take_along_axis(one, other[..., None], axis=2)[..., 0].astype(np.float64)
    return np.einsum("btc,btc->bt", one, other, dtype=np.float64)
