"""What is done to a row of a product while it is still in the first-level cache.

A bias is added first, if there is one. Then, with y the row of the product:

    PLAIN       nothing
    ACTIVATE    second = f(y)                                   MLP forward, y is kept
    RESIDUAL    y = other + dropout(y)                          the end of both sublayers
    GRADIENT    second = y f'(other), third = f(other)          MLP backward; second may be y itself
"""

from typing import NamedTuple

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.activation import activate_backward_row, activate_row
from gpt_numpy.kernels.dropout import drop_row
from gpt_numpy.kernels.engine.jit import routine
from gpt_numpy.kernels.rows import add_in_place, copy
from gpt_numpy.reference.dropout import NO_DROPOUT, Dropout

PLAIN, ACTIVATE, RESIDUAL, GRADIENT, GRADIENT_IN_PLACE = range(5)


class Epilogue(NamedTuple):
    """What follows a product: one of the above, the activation's number, and other arrays.

    `other`, `second` and `third` have the shape of the product.
    """

    finish: int = PLAIN
    kind: int = 0
    other: Array | None = None
    second: Array | None = None
    third: Array | None = None
    dropout: Dropout = NO_DROPOUT


NO_EPILOGUE = Epilogue()


@routine
def finish_row(finish, kind, y, at, bias, bias_at, arrays, mask):
    """Finish a part of a row, `y`, from element `at` of the product on, in place.

    `kind` is the activation's number, `arrays` are `other`, `second` and `third`, and `mask` is
    base, threshold and scale of the dropout.
    """
    (other, second, third), (base, threshold, scale) = arrays, mask
    breadth = y.size
    if bias.size > 0:
        add_in_place(y, bias[bias_at : bias_at + breadth])
    if finish == ACTIVATE:
        activate_row(kind, y, second[at : at + breadth])
    elif finish == RESIDUAL:
        if scale != 0.0:
            drop_row(y, at, base, threshold, scale)
        add_in_place(y, other[at : at + breadth])
    elif finish == GRADIENT:
        d = second[at : at + breadth]
        copy(y, d)
        activate_backward_row(kind, other[at : at + breadth], d, third[at : at + breadth])
    elif finish == GRADIENT_IN_PLACE:
        activate_backward_row(kind, other[at : at + breadth], y, third[at : at + breadth])
