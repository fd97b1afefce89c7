"""QK norm and rotary positions: all heads of a row at once, while it is in the cache."""

import math

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.elementary import like
from gpt_numpy.kernels.engine.jit import (
    Counter,
    In,
    Int,
    Out,
    Real,
    exact,
    flat,
    kernel,
    prange,
    same_memory,
    tasks,
    threads,
    workspace,
)  # fmt: skip
from gpt_numpy.kernels.engine.tasks import next_task, reset
from gpt_numpy.kernels.head_vectors import (
    copy_channels,
    divide,
    divide_backward,
    divide_sums,
    sum_of_squares,
    turn_pairs,
)
from gpt_numpy.kernels.layernorm import EPS
from gpt_numpy.kernels.rows import add_in_place, fill

CHUNK = 32  # rows of a task


@exact
def turn(x, at, rotations, angles, size, sign):
    """Turn a head in place by its cosines, then sines, from `angles` on; with a sign of -1 back."""
    half = size // 2
    turn_pairs(x, at, at + half, rotations, angles, angles + half, sign, half)


@exact
def reciprocal_root(x, at, size, eps):
    """1 / sqrt(mean square + eps) of a head."""
    return like(1.0 / math.sqrt(sum_of_squares(x, at, size) / size + eps), x)


@exact
def ready_head(x, at, size, weight, eps, rotations, angles, out, out_at):
    """One query or key: normalised if there is a weight, turned if there are rotations."""
    if weight.size > 0:
        divide(x, at, weight, out, out_at, reciprocal_root(x, at, size, eps), size)
    else:
        copy_channels(x, at, out, out_at, size)
    if rotations.size > 0:
        turn(out, out_at, rotations, angles, size, like(1.0, x))


@exact
def ready_head_backward(x, at, size, weight, eps, rotations, angles, dweight, dweight_at, dx):
    """The gradient of one query or key, from that of what became of it, which lies in `dx`."""
    if rotations.size > 0:
        turn(dx, at, rotations, angles, size, like(-1.0, x))
    if weight.size > 0:
        rstd = reciprocal_root(x, at, size, eps)
        along = divide_sums(dx, at, x, at, weight, dweight, dweight_at, rstd, size)
        divide_backward(dx, at, x, at, weight, rstd, like(along / size, x), size)


@kernel
def forward(
    qkv: In, q_norm: In, k_norm: In, eps: Real, rotations: In, out: Out,
    rows: Int, T: Int, H: Int, G: Int, D: Int, workers: Int, counter: Counter,
):  # fmt: skip
    """Row by row: queries, keys, and the values as they are."""
    width = (H + 2 * G) * D
    reset(counter)
    for worker in prange(workers):
        start = next_task(counter, worker, workers, rows, CHUNK)
        while start < rows:
            for r in range(start, min(start + CHUNK, rows)):
                angles, keys, values = r % T * D, r * width + H * D, r * width + (H + G) * D
                for at in range(r * width, keys, D):
                    ready_head(qkv, at, D, q_norm, eps, rotations, angles, out, at)
                for at in range(keys, values, D):
                    ready_head(qkv, at, D, k_norm, eps, rotations, angles, out, at)
                copy_channels(qkv, values, out, values, G * D)
            start = next_task(counter, worker, workers, rows, CHUNK)


@kernel
def backward(
    dout: In, qkv: In, q_norm: In, k_norm: In, eps: Real, rotations: In,
    dqkv: Out, dq_norm: Out, dk_norm: Out, in_place: Int,
    rows: Int, T: Int, H: Int, G: Int, D: Int,
    partial: Out, workers: Int, counter: Counter,
):  # fmt: skip
    """Each chunk of rows has its own sums for the two weights; they are added up in order."""
    width, chunks = (H + 2 * G) * D, -(-rows // CHUNK)
    reset(counter)
    for worker in prange(workers):
        chunk = next_task(counter, worker, workers, chunks)
        while chunk < chunks:
            dq, dk = 2 * chunk * D, (2 * chunk + 1) * D  # the sums in `partial`
            fill(partial[dq : dk + D], 0.0)
            for r in range(chunk * CHUNK, min((chunk + 1) * CHUNK, rows)):
                angles, keys, values = r % T * D, r * width + H * D, r * width + (H + G) * D
                if not in_place:
                    copy_channels(dout, r * width, dqkv, r * width, width)
                for at in range(r * width, keys, D):
                    ready_head_backward(
                        qkv, at, D, q_norm, eps, rotations, angles, partial, dq, dqkv
                    )
                for at in range(keys, values, D):
                    ready_head_backward(
                        qkv, at, D, k_norm, eps, rotations, angles, partial, dk, dqkv
                    )
            chunk = next_task(counter, worker, workers, chunks)
    fill(dq_norm, 0.0)
    fill(dk_norm, 0.0)
    for chunk in range(chunks):
        at = 2 * chunk * D
        if dq_norm.size > 0:
            add_in_place(dq_norm, partial[at : at + D])
        if dk_norm.size > 0:
            add_in_place(dk_norm, partial[at + D : at + 2 * D])


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
    """Write what attention reads to `out`: queries, keys and values.

    qkv, out (B, T, (H + 2 G) D); q_norm, k_norm (D,); rotations (block_size >= T, D).
    """
    forward(
        flat(qkv), flat(q_norm, qkv), flat(k_norm, qkv), eps, flat(rotations, qkv), flat(out),
        *_sizes(qkv, n_head, n_kv_head), threads(), tasks(),
    )  # fmt: skip


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
    sizes = rows, *_, D = _sizes(qkv, n_head, n_kv_head)
    partial = workspace("queries and keys, sums", 2 * D * -(-rows // CHUNK), qkv.dtype)
    backward(
        flat(dout), flat(qkv), flat(q_norm, qkv), flat(k_norm, qkv), eps, flat(rotations, qkv),
        flat(dqkv), flat(dq_norm, qkv), flat(dk_norm, qkv), int(same_memory(dout, dqkv)),
        *sizes, partial, threads(), tasks(),
    )  # fmt: skip


def _sizes(qkv: Array, n_head: int, n_kv_head: int) -> tuple[int, int, int, int, int]:
    """Rows, T, H, G and D."""
    B, T, channels = qkv.shape
    return B * T, T, n_head, n_kv_head, channels // (n_head + 2 * n_kv_head)
