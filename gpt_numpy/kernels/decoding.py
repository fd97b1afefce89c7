"""One more token for each sequence, the whole model in one launch.

A step reads every weight once and computes little with it, so it is bound by memory: all threads
must read without a pause. Products are split along their inner dimension (decoding_parts.py).

Tasks are numbered through all parts of the model and drawn in this order. A task waits until all
earlier parts are done; their tasks have all been drawn by then, so any number of workers finishes,
even one. Sums do not depend on which worker computes them, nor on the number of sequences: a
sequence gets the same bits alone as in a batch.

With `pairs`, matrices are read in bfloat16 (decoding_weights.py), and what they multiply is rounded
where it is written. Everything else is the same, in float32.
"""

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.activation import NUMBERS as ACTIVATIONS
from gpt_numpy.kernels.activation import SWIGLU
from gpt_numpy.kernels.decoding_parts import (
    activate_part,
    add_and_normalise,
    embed,
    heads_attention,
    logits_part,
    product_task,
    round_for,
)
from gpt_numpy.kernels.decoding_products import EIGHT
from gpt_numpy.kernels.decoding_weights import (
    DOWN,
    DOWN_BIAS,
    FC,
    FC_BIAS,
    K_NORM,
    LN_1,
    LN_2,
    LN_F,
    PROJ,
    PROJ_BIAS,
    Q_NORM,
    QKV,
    QKV_BIAS,
    parameter,
)
from gpt_numpy.kernels.engine.atomics import DONE, arrive, arrived, take, yield_processor
from gpt_numpy.kernels.engine.crew import Crew
from gpt_numpy.kernels.engine.jit import (
    Counter,
    In,
    Int,
    Ints,
    Out,
    Pairs,
    Real,
    flat,
    kernel,
    prange,
    routine,
    threads,
    workspace,
)  # fmt: skip
from gpt_numpy.kernels.norms import NUMBERS as NORMS
from gpt_numpy.reference.decoding import DecodingSettings, DecodingWeights, KeysValues

LEAST_ROWS, MOST_TASKS = 32, 32  # of a product
SPINS = 2000  # times that a worker looks for the others, some 10 us, before it yields
LINE = 64  # elements: where arrays start, so that no two workers write to one cache line
NO_PAIRS = np.empty(0, np.uint32)


@routine
def wait(counter, count):
    """Wait until `count` tasks are done; a thread that has one of them may need this processor."""
    rounds = 0
    while arrived(counter) < count:
        rounds += 1
        if rounds > SPINS:
            yield_processor()


@kernel
def step(
    params: In, places: Ints, pairs: Pairs, wpe: In, rotations: In,
    tokens: Ints, slots: Ints, lengths: Ints,
    keys: Out, values: Out, out: Out,
    L: Int, C: Int, F: Int, G: Int, D: Int, T: Int, V: Int, S: Int,
    kind: Int, norm_kind: Int, cap: Real, norm_eps: Real,
    c_rows: Int, f_rows: Int, v_rows: Int, space: Out, workers: Int, counter: Counter,
):  # fmt: skip
    """Tasks: embed; in each layer QKV, attention, projection, sum, up, down, sum; the logits."""
    B, Q = tokens.size, C + 2 * G * D  # Q, W: how wide qkv and the MLP's first product are
    W = 2 * F if kind == SWIGLU else F
    cs, fs = -(-C // c_rows), -(-F // f_rows)  # tasks of a product of inner dimension C, or F
    # Where in a layer's tasks each part begins; QKV at 0.
    attention, proj, middle = cs, cs + B * G, 2 * cs + B * G
    up, down = middle + B, middle + B + cs
    end = down + fs
    each = end + B
    x, norm, attn = space[: B * C], space[B * C : 2 * B * C], space[2 * B * C : 3 * B * C]
    hidden, rest = space[3 * B * C :][: B * F], space[B * (3 * C + F) :]
    qkv_shares, rest = rest[: cs * B * Q], rest[cs * B * Q :]
    proj_shares, rest = rest[: cs * B * C], rest[cs * B * C :]
    up_shares, rest = rest[: cs * B * W], rest[cs * B * W :]
    down_shares, rest = rest[: fs * B * C], rest[fs * B * C :]
    mine_size = max(T + C + 2 * D, 2 * f_rows) + LINE
    counter[0], counter[DONE] = 0, 0
    for worker in prange(workers):
        weights, widths, norms = (params, places, pairs), (C, Q, W, F), (norm_kind, norm_eps)
        mine = rest[worker * mine_size : (worker + 1) * mine_size]
        task = take(counter, 0)
        while task < B + L * each + -(-V // v_rows):
            i = min((task - B) // each, L)  # the logits may be more tasks than a layer
            before = B + i * each
            part = task - before
            if task < B:
                t = lengths[slots[task]]
                embed(task, weights, L, C, wpe, tokens[task], t, x, norm, norms)
            elif i == L:
                wait(counter, before)
                first, last = part * v_rows, min((part + 1) * v_rows, V)
                logits_part(first, last, weights, L, V, B, widths, norm, cap, out)
            elif part < attention:
                wait(counter, before)
                place = (i, QKV)
                product_task(part, c_rows, norm, C, weights, place, Q, B, widths, qkv_shares)
            elif part < proj:
                wait(counter, before + attention)
                b, shared = (part - attention) // G, (part - attention) % G
                t, own = lengths[slots[b]], ((i * S + slots[b]) * G + shared) * D * T
                heads_attention(
                    b, shared, (qkv_shares, cs, parameter(weights, i, QKV_BIAS, Q)),
                    (B, C, G, D, T), t,
                    (parameter(weights, i, Q_NORM, D), parameter(weights, i, K_NORM, D), norm_eps),
                    rotations[t * D : t * D + D] if rotations.size > 0 else rotations,
                    (keys[own : own + D * T], values[own : own + D * T]),
                    (mine[:T], mine[T : T + C + 2 * D], pairs), attn,
                )  # fmt: skip
                goal = b * C + shared * (C // G)
                round_for(pairs, attn[goal : goal + C // G])
            elif part < middle:
                wait(counter, before + proj)
                k, place = part - proj, (i, PROJ)
                product_task(k, c_rows, attn, C, weights, place, C, B, widths, proj_shares)
            elif part < up:
                wait(counter, before + middle)
                product = (proj_shares, cs, parameter(weights, i, PROJ_BIAS, C))
                following = (norms, i, LN_2)
                add_and_normalise(part - middle, weights, product, B * C, following, C, x, norm)
            elif part < down:
                wait(counter, before + up)
                k, place = part - up, (i, FC)
                product_task(k, c_rows, norm, C, weights, place, W, B, widths, up_shares)
            elif part < end:
                wait(counter, before + down)
                first = (part - down) * f_rows
                bias = parameter(weights, i, FC_BIAS, W)
                rows = min(f_rows, F - first)
                activate_part(
                    first, rows, up_shares, cs, (B, F, W), bias, kind, pairs, hidden, mine
                )
                k, place = part - down, (i, DOWN)
                product_task(k, f_rows, hidden, F, weights, place, C, B, widths, down_shares)
            else:
                wait(counter, before + end)
                product = (down_shares, fs, parameter(weights, i, DOWN_BIAS, C))
                following = (norms, i + 1, LN_F if i == L - 1 else LN_1)
                add_and_normalise(part - end, weights, product, B * C, following, C, x, norm)
            arrive(counter)
            task = take(counter, 0)


_crew = Crew()


def rows_of_a_task(inner: int) -> int:
    """How many rows of a weight a task takes."""
    rows = max(LEAST_ROWS, -(-inner // MOST_TASKS))
    return -(-rows // (2 * EIGHT)) * 2 * EIGHT  # pairs of rows as well are added eight at once


def decode_step(
    tokens: Array,
    slots: Array,
    lengths: Array,
    weights: DecodingWeights,
    kept: KeysValues,
    *,
    settings: DecodingSettings,
    out: Array,
) -> None:
    """Write the logits after one more token of each sequence to `out`; keep its key and value."""
    (params, places, wpe, copies, rotations), (keys, values) = weights, kept
    pairs = NO_PAIRS if copies is None else copies
    B, (L, S, G, T, D) = tokens.size, values.shape
    C, F, V = settings.n_embd, settings.n_hidden, out.shape[1]
    Q, W = settings.qkv_width, settings.fc_width
    kinds = ACTIVATIONS[settings.activation], NORMS[settings.norm_kind]
    c_rows, f_rows = rows_of_a_task(C), rows_of_a_task(F)
    c_parts, f_parts = -(-C // c_rows), -(-F // f_rows)
    v_rows = max(16, -(-V // 256))
    size = B * (3 * C + F + c_parts * (C + Q + W) + f_parts * C)
    size += threads() * (max(T + C + 2 * D, 2 * f_rows) + LINE)
    space = workspace("decoding", size, out.dtype)
    counter = workspace("decoding tasks", 2 * DONE, np.int64)
    _crew.run(lambda workers: step(
        params, flat(places), pairs, flat(wpe, params), flat(rotations, params),
        tokens, slots, lengths, flat(keys), flat(values), flat(out), L, C, F, G, D, T, V, S,
        *kinds, settings.softcap, settings.norm_eps, c_rows, f_rows, v_rows,
        space, workers, counter,
    ))  # fmt: skip
