"""Every layer, forward and backward, in plain NumPy; each file opens with its derivation.

A layer is a pair of functions, `x_forward` and `x_backward`. Their arguments are first what is
read, then what is written. What belongs together travels in a named tuple, defined next to the
pair: the weights, whose gradients are the same tuple of other arrays, and what forward keeps for
backward. Layers assign to what they write, validate nothing, and take float32, float64 and
complex128 arrays. `adamw_updates` and `muon_updates` work in place.

Notation. L is the loss, one number. dx, written as one word, is the gradient ∂L/∂x: an array of the
shape of x, which says how fast L changes with each element of x. Everything rests on the chain
rule: where x_j enters out_i for several i, the contributions add up,

    dx_j = sum_i dout_i ∂out_i/∂x_j

Backward is handed dout and works out dx; dx is the dout of the layer before.

Shapes: B sequences, T positions, C channels (n_embd), H heads of D = C / H channels, F channels
inside the MLP, V tokens in the vocabulary. A row is one position of one sequence. [c = j] is 1
where c = j, else 0.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

from gpt_numpy.reference.adamw import adamw_updates, squares_of_chunks, sum_of_squares
from gpt_numpy.reference.attention_sublayer import (
    attention_sublayer_backward,
    attention_sublayer_forward,
)
from gpt_numpy.reference.cross_attention_sublayer import (
    cross_attention_sublayer_backward,
    cross_attention_sublayer_forward,
)
from gpt_numpy.reference.decoding import decode_step, decoding_copies
from gpt_numpy.reference.embedding import embedding_backward, embedding_forward
from gpt_numpy.reference.head import (
    head_backward,
    head_forward,
    head_loss_backward,
    head_loss_forward,
)
from gpt_numpy.reference.mlp_sublayer import mlp_sublayer_backward, mlp_sublayer_forward
from gpt_numpy.reference.muon import muon_updates
from gpt_numpy.reference.norm_layer import norm_layer_backward, norm_layer_forward

LOGITS = math.inf  # elements of the logits that exist at once: all
HALVES = False  # numbers rounded to bfloat16 are stored in float32


def prepare(function: Callable[..., None], arguments: tuple[list[Any], dict[str, Any]]) -> Any:
    """A call of a layer, to be repeated."""
    return functools.partial(function, *arguments[0], **arguments[1])


__all__ = [
    "HALVES",
    "LOGITS",
    "adamw_updates",
    "attention_sublayer_backward",
    "attention_sublayer_forward",
    "cross_attention_sublayer_backward",
    "cross_attention_sublayer_forward",
    "decode_step",
    "decoding_copies",
    "embedding_backward",
    "embedding_forward",
    "head_backward",
    "head_forward",
    "head_loss_backward",
    "head_loss_forward",
    "mlp_sublayer_backward",
    "mlp_sublayer_forward",
    "muon_updates",
    "norm_layer_backward",
    "norm_layer_forward",
    "prepare",
    "squares_of_chunks",
    "sum_of_squares",
]
