"""What both sublayers do at the residual stream, in backward."""

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.dropout import dropout_backward, dropout_forward
from gpt_numpy.kernels.engine.jit import same_memory
from gpt_numpy.reference.dropout import NO_DROPOUT, Dropout


def through_dropout(dout: Array, dropout: Dropout, workspace: Array) -> Array:
    """The gradient of what was dropped out: `dout` itself, or written to `workspace`."""
    if dropout.rate == 0:
        return dout
    dropout_backward(dout, dropout, dx=workspace)
    return workspace


def copy_unless_same(dout: Array, dx: Array) -> None:
    """Let `dx` begin as the gradient that the residual stream hands down unchanged."""
    if not same_memory(dx, dout):
        # A copy by a launch: NumPy's would be made once, when the launches are recorded.
        dropout_forward(dout, NO_DROPOUT, out=dx)
