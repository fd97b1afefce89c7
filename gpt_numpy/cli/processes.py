"""What `train` says and checks when mpiexec started several processes."""

import dataclasses
import json
import os
from pathlib import Path

from gpt_numpy.base.mpiexec import sharing
from gpt_numpy.base.threads import physical_cores, wanted_threads
from gpt_numpy.base.version import __version__
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.data.dataset import Dataset
from gpt_numpy.data.pair_dataset import PairDataset
from gpt_numpy.files.durable import TEMPORARY
from gpt_numpy.parallel.tree_sum import waiting
from gpt_numpy.parallel.world import World
from gpt_numpy.training.checkpoint import Run


def describe_processes(world: World, config: TrainConfig) -> None:
    """Say how the work is divided, and where there are more threads than cores."""
    each, here, cores = (
        config.gradient_accumulation_steps // world.size,
        sharing(),
        physical_cores(),
    )
    threads = wanted_threads()
    print(
        f"{world.size} processes with {threads} thread{'s' * (threads > 1)} each; of an update's "
        f"{config.gradient_accumulation_steps} micro-batches each computes {each}"
    )
    if world.size & (world.size - 1):
        print(
            f"the last bits are those of {world.size} processes; with a power of two they are "
            "those of one"
        )
    if here * threads > cores:
        print(
            f"{here} x {threads} threads on {cores} cores: they wait for each other, and {cores} "
            "in all would be faster"
        )


def copies_in_training(config: TrainConfig, world: World) -> int:
    """How many vectors as long as the parameters training holds in a process.

    Parameters, gradients, AdamW's two averages, and the sums of micro-batches that wait.
    """
    mine = world.share(config.gradient_accumulation_steps)
    return 2 + -(-2 // world.size) + waiting(len(mine))


def check_same_everywhere(
    run: Run, config: TrainConfig, dataset: Dataset | PairDataset, world: World
) -> None:
    """Refuse processes that would not compute the same run."""
    mark = Path(config.out_dir) / world.texts(f"{TEMPORARY}{os.getpid()}")[0]
    try:
        if world.first:
            mark.touch()
        world.agree(0)  # nobody looks for the file before it is there
        world.check_same(
            {
                "the version of gpt_numpy": __version__,
                "the data": dataset.fingerprint,
                "the settings": json.dumps(dataclasses.asdict(config), sort_keys=True),
                "the model": json.dumps(dataclasses.asdict(run.config), sort_keys=True),
                "the iteration": str(run.progress.get("iteration", 0)),
                f"out_dir={config.out_dir!r}": "shared" if mark.exists() else "a folder of its own",
            }
        )
    finally:
        if world.first:
            mark.unlink(missing_ok=True)
