"""Train one model in several processes, on one machine or many; the losses are those of one.

Each process computes its share of an update's micro-batches, and keeps the averages of AdamW for
its part of the parameters alone. The gradients are added in an order that does not depend on how
many processes there are, so 1, 2 and 4 of them print the same digits.

    python examples/several_processes.py
    mpiexec -n 2 python examples/several_processes.py        # after pip install -e ".[mpi]"
"""

import zlib

import numpy as np

import gpt_numpy as gn
from gpt_numpy.data.tokenizers.characters import CharTokenizer

TEXT = """\
Many hands make light work, if each of them knows which part is its own, and if what they make fits
together in the end. Sums of numbers with rounding depend on their order: add them in another one,
and the last digits differ. So the order is fixed first, and then the hands are counted.
"""
UPDATES, MICRO_BATCHES, B, T = 60, 4, 6, 32

tokenizer = CharTokenizer.from_text(TEXT)
ids = tokenizer.encode(TEXT)


def batch(update: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Micro-batch k of an update: a function of its numbers, so no process asks another."""
    starts = np.random.default_rng([update, k]).integers(0, len(ids) - T, B)
    windows = ids[starts[:, None] + np.arange(T + 1)]
    return windows[:, :-1], windows[:, 1:]


with gn.parallel.start() as world:  # one process, or all that mpiexec started; the first one prints
    config = gn.GPTConfig(tokenizer.vocab_size, block_size=T, n_layer=2, n_head=4, n_embd=64)
    model = gn.GPT(config, seed=0)  # the same parameters in all
    optimizer = gn.AdamW(model, learning_rate=3e-3, world=world)
    mine = world.share(MICRO_BATCHES)
    gradient = gn.parallel.TreeSum(model.grads.flat, len(mine))
    moments = optimizer.m.flat.size
    print(f"{world.size} in all, {len(mine)} of {MICRO_BATCHES} micro-batches each")
    print(f"this one updates {moments:,} of {model.n_params:,} parameters")
    for update in range(UPDATES + 1):
        losses = []
        for k in mine:
            x, y = batch(update, k)
            losses.append(model.forward(x, y, divisor=MICRO_BATCHES * y.size))
            model.backward(accumulate=gradient.accumulate)
            gradient.add()
        loss = world.numbers(np.array(losses)).cumsum()[-1]  # of all micro-batches, in their order
        optimizer.step()  # adds up the gradients of all, updates, and hands the parameters on
        if update % 10 == 0:
            print(f"update {update:2}: loss {loss:.15f}")
    print(f"checksum of all parameters: {zlib.crc32(model.params.flat.tobytes()):08x}")
    if loss > 2.5:
        raise SystemExit(f"the loss is still {loss:.2f}: something is wrong")
