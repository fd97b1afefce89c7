"""The command called by tests, its smallest training run, and the environment of a process."""

import os
from pathlib import Path

import gpt_numpy as gn
from gpt_numpy.cli import main as cli

TEXT = "To be, or not to be, that is the question:\nWhether 'tis nobler in the mind\n" * 40
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(gn.__file__).parents[1])}
QUICK = [
    *("--data=t.txt", "--n_layer=1", "--n_head=2", "--n_embd=8", "--block_size=8"),
    *("--batch_size=2", "--max_iters=4", "--eval_interval=2", "--eval_iters=1"),
    *("--warmup_iters=1", "--lr_decay_iters=4", "--log_interval=1"),
    *("--learning_rate=0.01", "--ops=reference"),
]


def caller(capsys, *first):
    """A function that runs the command with these words and more.

    It returns the status, what was printed, and what was reported.
    """

    def run(*words):
        status = cli.main([*first, *words])
        out, err = capsys.readouterr()
        return status, out, err

    return run
