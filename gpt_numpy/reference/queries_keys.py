"""What happens to queries and keys before attention compares them: QK norm, rotary positions.

Sources: Henry et al., "Query-Key Normalization for Transformers" (2020), here as Qwen3 has it: the
RMSNorm (rmsnorm.py) of each head's D channels, with one weight for all query heads and one for all
key heads, before the turn; Su et al. (2021) for the turn (rotary.py). Both are optional.

Forward, for each query and each key x of D channels; values stay as they are:

    normed = rmsnorm(x)                 out = turn(normed)

The length of a query or key then no longer depends on the residual stream, but on the weight alone:
scores stay bounded, and larger learning rates are stable.

Backward is the composition in reverse:

    dnormed = turn_back(dout)           dx, dweight = rmsnorm_backward(dnormed, x, weight)

The weight of the norm is shared by all heads and positions, so its gradient sums over both. rstd is
recomputed: it takes a D-th of the memory of what it is computed from, which is kept.

Shapes: qkv, out (B, T, C + 2 G D): H = C / D query heads, G key heads, G value heads; q_norm,
k_norm (D,); rotations (block_size >= T, D).
"""

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.reference.layernorm import EPS
from gpt_numpy.reference.rmsnorm import rmsnorm_backward, rmsnorm_forward
from gpt_numpy.reference.rotary import turn, turn_back


def queries_keys_forward(
    qkv: Array,
    n_head: int,
    n_kv_head: int,
    *,
    q_norm: Array | None = None,
    k_norm: Array | None = None,
    rotations: Array | None = None,
    eps: float = EPS,
    out: Array,
) -> None:
    """Write what attention reads to `out`: queries, keys and values."""
    out[...] = qkv
    for x, ready, weight in zip(
        _heads(qkv, n_head, n_kv_head), _heads(out, n_head, n_kv_head), (q_norm, k_norm),
        strict=True,
    ):  # fmt: skip
        if weight is not None:
            rmsnorm_forward(x, weight, out=ready, rstd=np.empty(x.shape[:-1], x.dtype), eps=eps)
        if rotations is not None:
            turn(ready, rotations, out=ready)


def queries_keys_backward(
    dout: Array,
    qkv: Array,
    n_head: int,
    n_kv_head: int,
    *,
    q_norm: Array | None = None,
    k_norm: Array | None = None,
    rotations: Array | None = None,
    eps: float = EPS,
    dqkv: Array,
    dq_norm: Array | None = None,
    dk_norm: Array | None = None,
) -> None:
    """Write the gradients of `qkv` and of the norms' weights; `dqkv` may be `dout`."""
    dqkv[...] = dout
    for x, dx, weight, dweight in zip(
        _heads(qkv, n_head, n_kv_head), _heads(dqkv, n_head, n_kv_head),
        (q_norm, k_norm), (dq_norm, dk_norm), strict=True,
    ):  # fmt: skip
        # forward: out = turn(normed)
        if rotations is not None:
            turn_back(dx, rotations, dx=dx)
        # forward: normed = rmsnorm(x)
        if weight is not None and dweight is not None:
            rstd = np.empty(x.shape[:-1], x.dtype)
            rmsnorm_forward(x, weight, out=np.empty_like(x), rstd=rstd, eps=eps)
            rmsnorm_backward(dx.copy(), x, weight, rstd, dx=dx, dweight=dweight)


def _heads(x: Array, n_head: int, n_kv_head: int) -> tuple[Array, Array]:
    """Views of the queries, (B, T, H, D), and of the keys, (B, T, G, D)."""
    B, T, channels = x.shape
    D = channels // (n_head + 2 * n_kv_head)
    heads = x.reshape(B, T, n_head + 2 * n_kv_head, D)
    return heads[:, :, :n_head], heads[:, :, n_head : n_head + n_kv_head]
