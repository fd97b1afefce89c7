"""What an update costs on several processes, predicted from what it costs on one.

P processes compute S micro-batches, exchange the gradient of N parameters of b bytes, and update
1/P of the parameters each:

    S/P c  +  k (P - 1)/P N b / bandwidth + 2 (P - 1) messages latency  +  o/P

c and o are the seconds that a micro-batch and the optimizer take one process, k is 2 with AdamW:
each process sends the others their segments of its gradient, and its own segment once updated.
Messages are as many as a segment has rounds (parallel/world.py).
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from gpt_numpy.config.model import GPTConfig
from gpt_numpy.config.presets import CHARACTERS, PRESETS, VOCABULARIES
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.model.flops import forward_flops
from gpt_numpy.model.memory import parameter_count
from gpt_numpy.parallel.world import ROUND

COUNTS = tuple(2**k for k in range(1, 11))  # of processes
USEFUL, GOOD = 0.5, 0.9  # efficiency of the largest useful number, and of a good one
# How many vectors as long as all parameters a process sends: Muon's gradients and matrices, too.
TIMES_SENT = {"adamw": 2, "muon": 4}


class Network(NamedTuple):
    """What connects the processes."""

    name: str
    bandwidth: float  # bytes a second
    latency: float  # seconds a message


NETWORKS = (Network("10 Gbit/s", 10e9 / 8, 20e-6), Network("100 Gbit/s", 100e9 / 8, 5e-6))


class Costs(NamedTuple):
    """What one process needs for its part, and what it must send."""

    micro_batch: float  # seconds, forward and backward
    optimizer: float  # seconds to update all parameters
    parameters: int
    itemsize: int = 4
    times_sent: int = 2


def exchange_seconds(costs: Costs, processes: int, network: Network) -> float:
    """The time in which the gradients and the updated parameters are exchanged."""
    others, segment = processes - 1, -(-costs.parameters // processes)
    moved = costs.times_sent * others * segment * costs.itemsize
    return moved / network.bandwidth + 2 * others * -(-segment // ROUND) * network.latency


def update_seconds(costs: Costs, each: int, processes: int, network: Network) -> float:
    """The time of an update, of which each process computes `each` micro-batches."""
    compute = each * costs.micro_batch + costs.optimizer / processes
    return compute + exchange_seconds(costs, processes, network)


def efficiency(costs: Costs, each: int, processes: int, network: Network) -> float:
    """Tokens per second of a process among others, as a share of what it computes alone."""
    alone = each * costs.micro_batch + costs.optimizer
    return alone / update_seconds(costs, each, processes, network)


def largest_useful(costs: Costs, each: int, network: Network) -> int:
    """The largest number of processes of which each is at least half as fast as alone."""
    useful = itertools.takewhile(
        lambda count: efficiency(costs, each, count, network) >= USEFUL, COUNTS
    )
    return max(useful, default=1)


def each_for(wanted: float, costs: Costs, processes: int, network: Network) -> int:
    """The micro-batches a process that make its efficiency at least `wanted`."""
    lost = wanted * (costs.optimizer / processes + exchange_seconds(costs, processes, network))
    needed = (lost - costs.optimizer) / ((1 - wanted) * costs.micro_batch)
    return max(1, -int(-needed // 1))


def costs_of(preset: str, rate: float, update_rate: float) -> Costs:
    """The costs of a preset, on a process that does `rate` operations and updates so many
    parameters a second.
    """
    values = PRESETS[preset]
    shape = {f: values[f] for f in GPTConfig.__dataclass_fields__ if f in values}
    config = GPTConfig(**{"vocab_size": VOCABULARIES.get(preset, CHARACTERS)} | shape)
    parameters, kind = parameter_count(config), values.get("optimizer", TrainConfig.optimizer)
    operations = 3 * sum(forward_flops(config, values["batch_size"]).values())
    return Costs(
        operations / rate, parameters / update_rate, parameters, times_sent=TIMES_SENT[kind]
    )


def predictions(rate: float, update_rate: float) -> Iterator[str]:
    """What is predicted for all presets with one micro-batch a process, line by line."""
    yield (
        "predicted: tokens/s of a process among others, in % of what it has alone, one micro-batch "
        "each;"
    )
    latencies = ", ".join(f"{n.latency * 1e6:.0f} us at {n.name}" for n in NETWORKS)
    yield f"latency {latencies}; useful: the most processes with at least {USEFUL:.0%};"
    yield f"each: micro-batches a process for {GOOD:.0%} with {COUNTS[-1]:,} processes"
    counts = " ".join(f"{count:5}" for count in COUNTS)
    yield f"{'preset':<12} {'network':<10} {'ms':>7} {counts} {'useful':>6} {'each':>5}"
    for preset in PRESETS:
        costs = costs_of(preset, rate, update_rate)
        for network in NETWORKS:
            shares = " ".join(f"{100 * efficiency(costs, 1, n, network):5.0f}" for n in COUNTS)
            useful = largest_useful(costs, 1, network)
            each = each_for(GOOD, costs, COUNTS[-1], network)
            yield (
                f"{preset:<12} {network.name:<10} {1e3 * costs.micro_batch:7,.0f} {shares} "
                f"{useful:6,} {each:5,}"
            )
