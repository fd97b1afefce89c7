"""QK norm and rotary positions: all heads of a row at once, while it is in the cache."""

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.elementary import like
from gpt_numpy.kernels.engine.jit import (
    Counter,
    In,
    Int,
    Out,
    flat,
    kernel,
    prange,
    routine,
    same_memory,
    tasks,
    threads,
    workspace,
)  # fmt: skip
from gpt_numpy.kernels.engine.tasks import next_task, reset
from gpt_numpy.kernels.rmsnorm import divide_backward_row, divide_row, reciprocal_root
from gpt_numpy.kernels.rows import add_in_place, copy, fill

CHUNK = 32  # rows of a task
LINE = 64  # elements: no two workers write to one cache line


@routine
def turn(x, rotation, sign):
    """Turn a head in place by the angles of `rotation` (cosines, then sines), or with -1 back."""
    half = rotation.size // 2
    direction = like(sign, x)
    for i in range(half):
        first, second = x[i], x[half + i]
        cos, sin = rotation[i], rotation[half + i] * direction
        x[i] = first * cos - second * sin
        x[half + i] = second * cos + first * sin


@routine
def ready_head(x, weight, rotation, out):
    """One query or key: normalised if there is a weight, turned if there is a rotation."""
    if weight.size > 0:
        divide_row(x, weight, like(reciprocal_root(x), x), out)
    else:
        copy(x, out)
    if rotation.size > 0:
        turn(out, rotation, 1.0)


@routine
def ready_head_backward(x, weight, rotation, dnormed, dweight, dx):
    """The gradient of one query or key, from that of what became of it, which lies in `dx`."""
    if rotation.size > 0:
        turn(dx, rotation, -1.0)
    if weight.size > 0:
        copy(dx, dnormed)
        rstd = like(reciprocal_root(x), x)
        divide_backward_row(dnormed, x, weight, rstd, dweight, 0, dx)


@kernel
def forward(
    qkv: In, q_norm: In, k_norm: In, rotations: In, out: Out,
    rows: Int, T: Int, H: Int, G: Int, D: Int, workers: Int, counter: Counter,
):  # fmt: skip
    """Row by row: queries, keys, and the values as they are."""
    width = (H + 2 * G) * D
    reset(counter)
    for worker in prange(workers):
        start = next_task(counter, worker, workers, rows, CHUNK)
        while start < rows:
            for r in range(start, min(start + CHUNK, rows)):
                t = r % T * D
                rotation = rotations[t : t + D] if rotations.size > 0 else rotations
                for head in range(H + G):
                    at = r * width + head * D
                    weight = q_norm if head < H else k_norm
                    ready_head(qkv[at : at + D], weight, rotation, out[at : at + D])
                at = r * width + (H + G) * D
                copy(qkv[at : at + G * D], out[at : at + G * D])
            start = next_task(counter, worker, workers, rows, CHUNK)


@kernel
def backward(
    dout: In, qkv: In, q_norm: In, k_norm: In, rotations: In,
    dqkv: Out, dq_norm: Out, dk_norm: Out, in_place: Int,
    rows: Int, T: Int, H: Int, G: Int, D: Int,
    partial: Out, space: Out, workers: Int, counter: Counter,
):  # fmt: skip
    """Each chunk of rows has its own sums for the two weights; they are added up in order."""
    width, chunks = (H + 2 * G) * D, -(-rows // CHUNK)
    mine = D + LINE
    reset(counter)
    for worker in prange(workers):
        dnormed = space[worker * mine : worker * mine + D]
        chunk = next_task(counter, worker, workers, chunks)
        while chunk < chunks:
            sums = partial[2 * chunk * D : 2 * (chunk + 1) * D]
            fill(sums, 0.0)
            for r in range(chunk * CHUNK, min((chunk + 1) * CHUNK, rows)):
                if not in_place:
                    copy(dout[r * width : (r + 1) * width], dqkv[r * width : (r + 1) * width])
                t = r % T * D
                rotation = rotations[t : t + D] if rotations.size > 0 else rotations
                for head in range(H + G):
                    at = r * width + head * D
                    weight = q_norm if head < H else k_norm
                    dweight = sums[:D] if head < H else sums[D:]
                    ready_head_backward(
                        qkv[at : at + D], weight, rotation, dnormed, dweight, dqkv[at : at + D]
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
    out: Array,
) -> None:
    """Write what attention reads to `out`: queries, keys and values.

    qkv, out (B, T, (H + 2 G) D); q_norm, k_norm (D,); rotations (block_size >= T, D).
    """
    forward(
        flat(qkv), flat(q_norm, qkv), flat(k_norm, qkv), flat(rotations, qkv), flat(out),
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
    dqkv: Array,
    dq_norm: Array | None = None,
    dk_norm: Array | None = None,
) -> None:
    """Write the gradients of `qkv` and of the norms' weights; `dqkv` may be `dout`."""
    sizes = rows, *_, D = _sizes(qkv, n_head, n_kv_head)
    partial = workspace("queries and keys, sums", 2 * D * -(-rows // CHUNK), qkv.dtype)
    space = workspace("queries and keys", threads() * (D + LINE), qkv.dtype)
    backward(
        flat(dout), flat(qkv), flat(q_norm, qkv), flat(k_norm, qkv), flat(rotations, qkv),
        flat(dqkv), flat(dq_norm, qkv), flat(dk_norm, qkv), int(same_memory(dout, dqkv)),
        *sizes, partial, space, threads(), tasks(),
    )  # fmt: skip


def _sizes(qkv: Array, n_head: int, n_kv_head: int) -> tuple[int, int, int, int, int]:
    """Rows, T, H, G and D."""
    B, T, channels = qkv.shape
    return B * T, T, n_head, n_kv_head, channels // (n_head + 2 * n_kv_head)
