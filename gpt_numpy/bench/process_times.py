"""Time an update that several processes compute, and compare it with the model of its cost."""

import statistics
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.bench import cost_model
from gpt_numpy.model.flops import forward_flops
from gpt_numpy.model.gpt import GPT
from gpt_numpy.parallel.tree_sum import TreeSum
from gpt_numpy.parallel.world import World
from gpt_numpy.training.optimizer import AdamW

WARM_UP, FEWEST, MOST = 3, 3, 20  # updates
SECONDS = 20.0  # of timed updates, but not fewer than FEWEST
EXCHANGES = 5  # timed by themselves


class Update(NamedTuple):
    """What one update took a process."""

    seconds: float
    passes: float  # seconds of forward and backward
    optimizer: float  # seconds of its own part of the update
    waited: float  # seconds in exchanges
    sent: int  # bytes


def bench_processes(
    model: GPT,
    batch_size: int,
    micro_batches: int,
    optimizer: AdamW,
    report: Callable[[str], None] = print,
) -> None:
    """Time updates on random tokens; report the figures line by line."""
    world, each = optimizer.world, len(optimizer.world.share(micro_batches))
    found = sorted(_timed_updates(model, batch_size, each, optimizer))
    median = world.numbers(np.array(found[len(found) // 2], np.float64))
    seconds, passes, update, waited, sent = median.reshape(world.size, -1).mean(axis=0).tolist()
    tokens = micro_batches * batch_size * model.config.block_size
    plural = "es" * (micro_batches > 1)
    report(
        f"time per update: {1e3 * seconds:.2f} ms for {micro_batches} micro-batch{plural}, "
        f"{tokens / seconds:,.0f} tokens/s"
    )
    report(
        f"of which a process computes {1e3 * (passes + update):.2f} ms and waits "
        f"{1e3 * waited:.2f} ms ({waited / seconds:.1%}); it sends {sent / 1e6:,.2f} MB"
    )
    costs = cost_model.Costs(passes / each, update * world.size, model.n_params)
    if world.size > 1:
        exchange = _exchange_alone(model.grads.flat.copy(), world)
        moved = 2 * model.grads.flat.nbytes * (world.size - 1) / world.size
        network = cost_model.Network("here", moved / exchange, 0.0)
        costs = costs._replace(times_sent=cost_model.TIMES_SENT[optimizer.KIND])
        predicted = cost_model.update_seconds(costs, each, world.size, network)
        report(
            f"the exchange by itself: {1e3 * exchange:.2f} ms, {moved / exchange / 1e9:.1f} GB/s; "
            f"the model of the cost says {1e3 * predicted:.2f} ms per update"
        )
    operations = 3 * sum(forward_flops(model.config, batch_size).values())
    for line in cost_model.predictions(
        operations / costs.micro_batch, model.n_params / costs.optimizer
    ):
        report(line)


def _timed_updates(model: GPT, batch_size: int, each: int, optimizer: AdamW) -> list[Update]:
    """Updates of this process, equally many in all, without the first ones."""
    world, config = optimizer.world, model.config
    rng = np.random.default_rng(world.rank)
    tokens, targets = rng.integers(0, config.vocab_size, (2, batch_size, config.block_size))
    gradient = TreeSum(model.grads.flat, each)
    updates: list[Update] = []
    count = WARM_UP
    while len(updates) < count:
        begin, before, sent = perf_counter(), world.waited, world.sent
        for _ in range(each):
            model.forward(tokens, targets, dropout_key=0)
            model.backward(accumulate=gradient.accumulate)
            gradient.add()
        passes = perf_counter() - begin
        optimizer.step()
        seconds, waited = perf_counter() - begin, world.waited - before
        own = seconds - passes - waited
        updates.append(Update(seconds, passes, own, waited, world.sent - sent))
        if len(updates) == WARM_UP:  # process 0 knows how many more there is time for
            fit = world.numbers(np.array([SECONDS / seconds]))[0]
            count += round(min(MOST, max(FEWEST, fit)))
    return updates[WARM_UP:]


def _exchange_alone(vector: Array, world: World) -> float:
    """The median time of the exchanges of an update when all processes begin it together."""
    times = []
    for _ in range(EXCHANGES):
        world.agree(0)
        begin = perf_counter()
        world.add_up(vector)
        world.hand_on(vector)
        times.append(perf_counter() - begin)
    return statistics.median(times)
