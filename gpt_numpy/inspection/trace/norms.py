"""Gradient norms of single tokens and single sequences, from one pass over the whole batch.

The gradient of every parameter is a sum over the rows r of the batch (a row is one position of one
sequence) of products of an array that forward read and the gradient of an array that it wrote:

    dweight_io = sum_r a_ri b_ro

    linear layer    a = x           b = dout            (its bias: a = 1)
    layer norm      a = 1           b = dout * xhat     (its bias: b = dout)
    embedding       a = onehot      b = dout            onehot of the token, or of the position
    head            a = dlogits     b = x               its weight has the shape (V, C)

What the rows R of one sequence contribute is the same sum over R alone, and its norm needs no
gradient matrix:

    |sum_{r in R} a_r b_r^T|^2 = sum_{r, s in R} (a_r . a_s) (b_r . b_s)

two T x T tables of scalar products a sequence; for one token |a_r| |b_r|. Where the head is tied to
the token embedding, the gradient has two such sums, and the products between the two count as well.
Contributions are parts of the gradient of the batch's loss: over all sequences they add up to it.

Source: Goodfellow, "Efficient Per-Example Gradient Computations" (2015), and for sequences Li et
al., "Large Language Models Can Be Strong Differentially Private Learners" (2022), section 4.

All sums are in float64. A onehot factor is stored as the integers of its rows.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.errors import InputError
from gpt_numpy.inspection.trace.diagram import Node
from gpt_numpy.inspection.trace.lookup import Sources

Lookup = Callable[[str], Array]
Factors = list[tuple[Array, Array]]  # a, b: (B, T, channels), or (B, T) integers of a onehot


def factors(name: str, sources: Sources) -> Factors:
    """The a and b of every operation that reads the parameter `name`.

    Raises
    ------
    InputError : an array that they need is not kept, or their form is not known.
    """

    def kept(look_up: Callable[[str], Array | None], wanted: str) -> Array:
        with suppress(KeyError):
            if (found := look_up(wanted)) is not None:
                return found
        raise InputError(f"the norms of {name} need {wanted}: name it in trace(..., keep=)")

    value, grad = partial(kept, sources.value), partial(kept, sources.grad)
    readers = [(node, letter) for node in sources.diagram for letter in node.read]
    found = [(node, letter) for node, letter in readers if node.arrays[letter] == name]
    return [_factors_of(node, letter, sources.inputs, value, grad) for node, letter in found]


def check_one_stack(name: str, sources: Sources) -> None:
    """Raise `InputError` for a parameter that both source and target are read with."""
    readers = [node.stage for node in sources.diagram if name in map(node.arrays.get, node.read)]
    if len({stage.startswith("encoder") for stage in readers}) > 1:
        raise InputError(
            f"tokens of the source and of the target contribute to the gradient of {name}: take "
            "example_norms, or the norms of an activation"
        )


def _factors_of(
    node: Node, letter: str, inputs: Mapping[str, Array], value: Lookup, grad: Lookup
) -> tuple[Array, Array]:
    derivation, arrays = node.operation.derivation, node.arrays
    if derivation not in ("embedding", "linear", "head") and "xhat" not in arrays:
        raise InputError(
            f"the norms of {arrays[letter]} cannot be computed: norms.py has no formula for "
            f"{derivation}; take those of an activation"
        )
    dout = grad(arrays["out"])
    if letter == "wte":
        return inputs[node.inputs["x"]], dout * node.keywords.get("scale", 1)
    if letter == "wpe":
        return np.broadcast_to(np.arange(dout.shape[1]), dout.shape[:2]), dout
    if "xhat" in arrays or letter == "bias":
        scaled = dout if letter == "bias" else dout * value(arrays["xhat"])
        return np.ones((*dout.shape[:2], 1)), scaled
    x = value(arrays["x"])
    return (dout, x) if derivation == "head" else (x, dout)


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
    B, T = listed[0][0].shape[:2]
    # Each token is a sequence of one position.
    single = [[x.reshape(B * T, 1, *x.shape[2:]) for x in both] for both in listed]
    return norms_of_sequences([(a, b) for a, b in single]).reshape(B, T)


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
