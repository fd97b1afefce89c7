"""Muon: a worker does all of a matrix, in memory of its own; one launch for all matrices."""

import math

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.elementary import like
from gpt_numpy.kernels.engine.atomics import take
from gpt_numpy.kernels.engine.jit import (
    Counter,
    In,
    Int,
    Ints,
    Out,
    Real,
    Wide,
    flat,
    kernel,
    prange,
    routine,
    tasks,
    threads,
    workspace,
)  # fmt: skip
from gpt_numpy.kernels.engine.tasks import reset
from gpt_numpy.kernels.products.alone import gram, mirror, multiply_alone, symmetric, transpose
from gpt_numpy.kernels.products.matmul import COLUMNS, EDGE, INNER, WIDEST
from gpt_numpy.kernels.products.tile import Matrix, vector_lanes
from gpt_numpy.kernels.rows import dot, scale_in_place
from gpt_numpy.reference.muon import QUINTIC, MuonSettings

APART = 16  # elements between rows, so that they are never a power of two apart
FIELDS = 6  # of a reference.muon.Place
WIDE = 3  # halves of the rows: a matrix with so many columns is multiplied once, at the end
A, B, C, ITERATIONS, EPS = QUINTIC


@routine
def mean_row(grad, momentum, grad_scale, beta, out):
    """Move the running mean of a row, and write Nesterov's to `out`; return its square."""
    keep, rest, scale = like(beta, out), like(1.0 - beta, out), like(grad_scale, out)
    for j in range(out.size):
        g = rest * (grad[j] * scale)
        mean = keep * momentum[j] + g
        momentum[j] = mean
        out[j] = keep * mean + g
    return dot(out, out)


@routine
def step_row(param, step, learning_rate, decay, scale):
    """Move a row of the weight along a row of the orthogonal matrix, and write the change there.

    Returned are the squares of the change, and of the row before it.
    """
    rate, shrink, factor = like(learning_rate, param), like(decay, param), like(scale, param)
    before = dot(param, param)
    for j in range(param.size):
        step[j] = rate * (shrink * param[j] + factor * step[j])
        param[j] -= step[j]
    return dot(step, step), before


@routine
def polynomial(gram_matrix, squared, rows):
    """Write a + b gram + c gram^2 over the lower half of gram^2."""
    a, b, c = like(A, squared.array), like(B, squared.array), like(C, squared.array)
    for r in range(rows):
        g = gram_matrix.array[gram_matrix.at + r * gram_matrix.stride :][: r + 1]
        s = squared.array[squared.at + r * squared.stride :][: r + 1]
        for j in range(r + 1):
            s[j] = b * g[j] + c * s[j]
        s[r] += a


@routine
def make_orthogonal(x, rows, columns, space):
    """Newton and Schulz's iteration on a matrix that is at least as wide as high, in place.

    An iteration is X <- P X, with P a polynomial of the symmetric A = X X^T. If X is wide, it is
    multiplied once, at the end, by the product Q of all P. As P and A commute, the next A is P P A:

        A <- P (P A),   Q <- P Q,   at last X <- Q X

    For four times as many columns as rows that is 29 products of the size of A instead of 65. What
    is rounded in A grows as small singular values do, so in float32 those below |G| / 1,000 have
    two correct digits.
    """
    edge, rest = space[:EDGE], space[EDGE:]
    stride = rows + APART
    gram_matrix, factor = Matrix(rest, 0, stride), Matrix(rest, rows * stride, stride)
    total, panels = Matrix(rest, 2 * rows * stride, stride), rest[3 * rows * stride :]
    late = 2 * columns >= WIDE * rows
    gram(x, rows, columns, gram_matrix, panels, edge)
    for k in range(ITERATIONS):
        first, last = k == 0, k == ITERATIONS - 1
        into = total if late and first else factor
        multiply_alone(gram_matrix, gram_matrix, rows, rows, True, into, panels, edge)
        polynomial(gram_matrix, into, rows)
        mirror(into, rows)
        if late and not last:
            symmetric(into, gram_matrix, rows, gram_matrix, panels, edge)
            symmetric(into, gram_matrix, rows, gram_matrix, panels, edge)
        if late and not first:
            symmetric(factor, total, rows, total, panels, edge)
        if not late:
            multiply_alone(factor, x, rows, columns, False, x, panels, edge)
            if not last:
                gram(x, rows, columns, gram_matrix, panels, edge)
    if late:
        multiply_alone(total, x, rows, columns, False, x, panels, edge)


@routine
def load(grads, momenta, place, grad_scale, beta, x, strip):
    """The running mean as a wide matrix of norm 1; a tall one goes through `strip`, transposed."""
    start, state, rows, width, first, columns = place
    lanes = vector_lanes(strip)
    total = 0.0
    for i0 in range(0, rows, lanes):
        height = min(lanes, rows - i0)
        for i in range(i0, i0 + height):
            at = i * width + first
            row = x.array[i * x.stride :] if rows <= columns else strip[(i - i0) * columns :]
            total += mean_row(
                grads[start + at :][:columns], momenta[state + at :][:columns],
                grad_scale, beta, row[:columns],
            )  # fmt: skip
        if rows > columns:
            target = Matrix(x.array, i0, x.stride)
            transpose(Matrix(strip, 0, columns), height, columns, target)
    length = 1.0 / (math.sqrt(total) + EPS)
    for i in range(min(rows, columns)):
        row = x.array[i * x.stride :][: max(rows, columns)]
        scale_in_place(row, like(length, row))


@routine
def move(params, place, learning_rate, decay, x, strip):
    """Move a weight along the orthogonal matrix, turned back where the weight is tall.

    Returned are the squares of the change, and of the weight before it.
    """
    change, before = 0.0, 0.0
    start, _, rows, width, first, columns = place
    lanes = vector_lanes(strip)
    scale = math.sqrt(max(1.0, columns / rows))
    for i0 in range(0, rows, lanes):
        height = min(lanes, rows - i0)
        if rows > columns:
            source = Matrix(x.array, i0, x.stride)
            transpose(source, columns, height, Matrix(strip, 0, columns))
        for i in range(i0, i0 + height):
            at = start + i * width + first
            row = x.array[i * x.stride :] if rows <= columns else strip[(i - i0) * columns :]
            moved, length = step_row(
                params[at:][:columns], row[:columns], learning_rate, decay, scale
            )
            change, before = change + moved, before + length
    return change, before


@kernel
def muon(
    params: Out, grads: In, momenta: Out, places: Ints, changes: Wide,
    grad_scale: Real, learning_rate: Real, beta: Real, decay: Real,
    workers: Int, counter: Counter, space: Out, share: Int, largest: Int,
):  # fmt: skip
    """Matrix by matrix, in the order of `places`, whoever is free."""
    count = places.size // FIELDS
    reset(counter)
    for worker in prange(workers):
        mine = space[worker * share : (worker + 1) * share]
        task = take(counter, 0)
        while task < count:
            p = places[task * FIELDS : (task + 1) * FIELDS]
            place = (p[0], p[1], p[2], p[3], p[4], p[5])
            wide, long = min(p[2], p[5]), max(p[2], p[5])
            x, strip = Matrix(mine, 0, long + APART), mine[largest:]
            load(grads, momenta, place, grad_scale, beta, x, strip)
            make_orthogonal(x, wide, long, mine[largest:])
            moved = move(params, place, learning_rate, decay, x, strip)
            changes[2 * task], changes[2 * task + 1] = moved
            task = take(counter, 0)


def muon_updates(
    params: Array,
    grads: Array,
    momenta: Array,
    places: Array,
    changes: Array,
    *,
    grad_scale: float,
    settings: MuonSettings,
) -> None:
    """Update every matrix of a buffer of parameters in place: `places` are Places, (n, 6).

    To `changes`, float64 (n, 2), are written the sums of the squares of each change, and of the
    weight before it.
    """
    rows, columns = np.minimum(places[:, 2], places[:, 5]), np.maximum(places[:, 2], places[:, 5])
    most_rows = int(rows.max())
    largest = int((rows * (columns + APART)).max())
    share = largest + EDGE + 3 * most_rows * (most_rows + APART)
    share += max(most_rows, INNER) * (COLUMNS + WIDEST)
    space = workspace("muon", threads() * share, params.dtype)
    muon(
        flat(params), flat(grads), flat(momenta), flat(places), flat(changes), grad_scale,
        *settings, threads(), tasks(), space, share, largest,
    )  # fmt: skip
