"""Every layer in Numba, fused and threaded: the twins of `reference/`, under the same names.

The derivations stand in the reference, and so do the named tuples that arguments travel in. Here a
layer is a kernel, a function of one row, strip or tile under a thin loop over tasks, and a function
around it that launches it on flat arrays. Tasks depend on the shape alone, so that the results are
the same bits for any number of threads.

In training a layer function runs once for each batch shape, to record its launches
(engine/pool.py), and only these are repeated. So it may look at shapes, rates and addresses, never
at values, and a NumPy statement in it would take effect only once.
"""

from gpt_numpy.kernels.adamw import adamw_updates, squares_of_chunks, sum_of_squares
from gpt_numpy.kernels.attention_sublayer import (
    attention_sublayer_backward,
    attention_sublayer_forward,
)
from gpt_numpy.kernels.cross_attention_sublayer import (
    cross_attention_sublayer_backward,
    cross_attention_sublayer_forward,
)
from gpt_numpy.kernels.decoding import decode_step
from gpt_numpy.kernels.decoding_weights import decoding_copies
from gpt_numpy.kernels.embedding import embedding_backward, embedding_forward
from gpt_numpy.kernels.engine.machine_code import EMULATED, bfloat16_order, bfloat16_tile
from gpt_numpy.kernels.engine.pool import prepare
from gpt_numpy.kernels.head import (
    LOGITS,
    head_backward,
    head_forward,
    head_loss_backward,
    head_loss_forward,
)
from gpt_numpy.kernels.mlp_sublayer import mlp_sublayer_backward, mlp_sublayer_forward
from gpt_numpy.kernels.muon import muon_updates
from gpt_numpy.kernels.norm_layer import norm_layer_backward, norm_layer_forward

HALVES = True  # activations may be stored in 16 bits (halves.py)

__all__ = [
    "EMULATED",
    "HALVES",
    "LOGITS",
    "adamw_updates",
    "attention_sublayer_backward",
    "attention_sublayer_forward",
    "bfloat16_order",
    "bfloat16_tile",
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
