"""Every layer, forward and backward, in plain NumPy; each file opens with its derivation.

A layer is a pair of functions, `x_forward` and `x_backward`. Their arguments are first what is
read, then what is written: forward `(inputs..., out, statistics...)`, backward `(dout, what forward
read or kept..., d<input>...)`. They assign to what they write, validate nothing, and take float32,
float64 and complex128 arrays.
"""

from gpt_numpy.reference.adamw import adamw_update, sum_of_squares
from gpt_numpy.reference.embedding import embedding_backward, embedding_forward
from gpt_numpy.reference.sublayers import (
    attention_sublayer_backward,
    attention_sublayer_forward,
    head_backward,
    head_forward,
    head_loss_backward,
    head_loss_forward,
    mlp_sublayer_backward,
    mlp_sublayer_forward,
)

__all__ = [
    "adamw_update",
    "attention_sublayer_backward",
    "attention_sublayer_forward",
    "embedding_backward",
    "embedding_forward",
    "head_backward",
    "head_forward",
    "head_loss_backward",
    "head_loss_forward",
    "mlp_sublayer_backward",
    "mlp_sublayer_forward",
    "sum_of_squares",
]
