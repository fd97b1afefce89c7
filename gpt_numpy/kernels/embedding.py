"""Embedding; backward gives each worker channels of its own, so that no two add to one element."""

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.dropout import drop_row, mask_arguments, mask_base
from gpt_numpy.kernels.elementary import like
from gpt_numpy.kernels.engine.jit import (
    Counter,
    In,
    Int,
    Ints,
    Key,
    Out,
    Real,
    Word,
    flat,
    kernel,
    prange,
    routine,
    tasks,
    threads,
    workspace,
)  # fmt: skip
from gpt_numpy.kernels.engine.tasks import next_task, reset
from gpt_numpy.kernels.rows import add_in_place, copy, fill, scale_in_place
from gpt_numpy.reference.dropout import Dropout
from gpt_numpy.reference.embedding import EmbeddingWeights

CHUNK = 32  # positions of a task, forward
BREADTH = 64  # channels of a task, backward


@kernel
def forward(
    wte: In, wpe: In, tokens: Ints, out: Out, C: Int, T: Int,
    size: Real, key: Key, site: Int, threshold: Word, scale: Real, workers: Int, counter: Counter,
):  # fmt: skip
    """Out = dropout(size wte[token] + wpe[position]), row by row."""
    base = mask_base(key[0], site)
    reset(counter)
    for worker in prange(workers):
        start = next_task(counter, worker, workers, tokens.size, CHUNK)
        while start < tokens.size:
            for r in range(start, min(start + CHUNK, tokens.size)):
                row, v, t = out[r * C : (r + 1) * C], tokens[r], r % T
                copy(wte[v * C : (v + 1) * C], row)
                if size != 1.0:
                    scale_in_place(row, like(size, row))
                if wpe.size > 0:
                    add_in_place(row, wpe[t * C : (t + 1) * C])
                if scale != 0.0:
                    drop_row(row, r * C, base, threshold, scale)
            start = next_task(counter, worker, workers, tokens.size, CHUNK)


@routine
def zero_columns(x, C, j0, breadth):
    """Set columns of a table to zero."""
    for r in range(x.size // C):
        fill(x[r * C + j0 : r * C + j0 + breadth], 0.0)


@kernel
def backward(
    dout: In, tokens: Ints, keep_dwte: Int, dwte: Out, dwpe: Out, C: Int, T: Int,
    size: Real, key: Key, site: Int, threshold: Word, scale: Real,
    workers: Int, counter: Counter, space: Out,
):  # fmt: skip
    """Every position's row is added to the rows of its token and of its position, in order."""
    base = mask_base(key[0], site)
    reset(counter)
    for worker in prange(workers):
        j0 = next_task(counter, worker, workers, C, BREADTH)
        while j0 < C:
            breadth = min(BREADTH, C - j0)
            drow = space[worker * BREADTH : worker * BREADTH + breadth]
            if not keep_dwte:
                zero_columns(dwte, C, j0, breadth)
            zero_columns(dwpe, C, j0, breadth)
            for r in range(tokens.size):
                at = r * C + j0
                copy(dout[at : at + breadth], drow)
                if scale != 0.0:
                    drop_row(drow, at, base, threshold, scale)
                if dwpe.size > 0:
                    t = r % T * C + j0
                    add_in_place(dwpe[t : t + breadth], drow)
                if size != 1.0:
                    scale_in_place(drow, like(size, drow))
                v = tokens[r] * C + j0
                add_in_place(dwte[v : v + breadth], drow)
            j0 = next_task(counter, worker, workers, C, BREADTH)


def embedding_forward(
    tokens: Array, weights: EmbeddingWeights, *, scale: float = 1.0, dropout: Dropout, out: Array
) -> None:
    """Write the embedded tokens, after dropout, to `out`: tokens (B, T); out (B, T, C)."""
    wte, wpe = weights
    forward(
        flat(wte), flat(wpe, wte), flat(tokens), flat(out), wte.shape[1], tokens.shape[1],
        scale, *mask_arguments(dropout), threads(), tasks(),
    )  # fmt: skip


def embedding_backward(
    dout: Array,
    tokens: Array,
    weights: EmbeddingWeights,
    *,
    tied: bool,
    scale: float = 1.0,
    dropout: Dropout,
    dweights: EmbeddingWeights,
) -> None:
    """Write the gradients of both tables; `tied`: add to what the head wrote to `dweights.wte`."""
    dwte, dwpe = dweights
    backward(
        flat(dout), flat(tokens), int(tied), flat(dwte), flat(dwpe, dout),
        dout.shape[-1], tokens.shape[1], scale, *mask_arguments(dropout),
        threads(), tasks(), workspace("embedding", threads() * BREADTH, dout.dtype),
    )  # fmt: skip
