"""Cross-attention: the kernels of attention.py, on the arrays of two streams."""

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.attention import backward, forward, integers
from gpt_numpy.kernels.attention_sizes import Sizes
from gpt_numpy.kernels.dropout import mask_arguments
from gpt_numpy.kernels.engine.jit import by_width, flat, tasks, threads
from gpt_numpy.reference.dropout import Dropout


def cross_attention_forward(
    q: Array, kv: Array, lengths: Array, n_head: int, dropout: Dropout, out: Array, lse: Array
) -> None:
    """Write each target position's average of the source's values to `out`, log-sum-exp to `lse`.

    q, out (B, T, C); kv (B, S, 2C); lengths (B,); lse (B, H, T). q and kv may be in 16 bits.
    """
    sizes = Sizes.across(q, kv, n_head)
    forward(
        *by_width(q), *by_width(kv), integers(lengths), flat(out), flat(lse), *sizes,
        *mask_arguments(dropout), threads(), tasks(), *sizes.space(out.dtype),
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
        flat(dout), *by_width(q), *by_width(kv), integers(lengths), flat(out), flat(lse), flat(dq),
        flat(dkv), sizes.partial(out.dtype), *sizes, *mask_arguments(dropout), threads(), tasks(),
        *sizes.space(out.dtype),
    )  # fmt: skip
