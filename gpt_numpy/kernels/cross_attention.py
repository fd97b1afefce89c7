"""Cross-attention: the kernels of attention.py, on the arrays of two streams."""

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.attention import Sizes, backward, forward, integers
from gpt_numpy.kernels.dropout import mask_arguments
from gpt_numpy.kernels.engine.jit import flat, tasks, threads
from gpt_numpy.reference.dropout import Dropout


def cross_attention_forward(
    q: Array, kv: Array, lengths: Array, n_head: int, dropout: Dropout, out: Array, lse: Array
) -> None:
    """Write each target position's average of the source's values to `out`, log-sum-exp to `lse`.

    q, out (B, T, C); kv (B, S, 2C); lengths (B,); lse (B, H, T).
    """
    sizes = Sizes.across(q, kv, n_head)
    forward(
        flat(q), flat(kv), integers(lengths), flat(out), flat(lse), *sizes,
        *mask_arguments(dropout), threads(), tasks(), *sizes.space(q.dtype),
    )  # fmt: skip


def cross_attention_backward(
    dout: Array,
    q: Array,
    kv: Array,
    lengths: Array,
    n_head: int,
    dropout: Dropout,
    out: Array,
    lse: Array,
    dq: Array,
    dkv: Array,
) -> None:
    """Write the gradients of `q` and of `kv`."""
    sizes = Sizes.across(q, kv, n_head)
    backward(
        flat(dout), flat(q), flat(kv), integers(lengths), flat(out), flat(lse), flat(dq),
        flat(dkv), sizes.partial(q.dtype), *sizes, *mask_arguments(dropout), threads(), tasks(),
        *sizes.space(q.dtype),
    )  # fmt: skip
