"""Start a training run in several processes, as a user does."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.support.commands import ENVIRONMENT, TEXT

# More parameters than one chunk has, so that every process has some to update.
RUN = [
    *("--data=t.txt", "--n_layer=2", "--n_head=2", "--n_embd=64", "--block_size=16"),
    *("--batch_size=2", "--gradient_accumulation_steps=8", "--dropout=0.1", "--max_iters=6"),
    *("--eval_interval=3", "--eval_iters=3", "--warmup_iters=1", "--lr_decay_iters=6"),
    *("--learning_rate=0.01", "--seed=5", "--ops=reference"),
]
# An encoder-decoder, with batches of different shapes.
PAIRS = [
    *("copy", "--task_size=6", "--n_layer=1", "--n_head=2", "--n_embd=64", "--batch_tokens=40"),
    *("--gradient_accumulation_steps=4", "--dropout=0.1", "--label_smoothing=0.1"),
    *("--max_iters=6", "--eval_interval=3", "--eval_iters=3", "--eval_pairs=5"),
    *("--always_save_checkpoint=True", "--learning_rate=0.01", "--warmup_iters=1", "--seed=5"),
]


def mpiexec():
    """Where mpiexec is: next to this Python or on the path; None if it is nowhere."""
    ours = Path(sys.executable).with_name("mpiexec")
    return str(ours) if ours.exists() else shutil.which("mpiexec")


@contextlib.contextmanager
def start(folder, processes, *words, variables=None, **options):
    """`gpt-numpy` with these words; one process is started without mpiexec, and none is left."""
    (folder / "t.txt").write_text(TEXT, encoding="utf-8")
    ours = [sys.executable, "-m", "gpt_numpy", *words]
    command = [mpiexec(), "-n", str(processes), *ours] if processes > 1 else ours
    with subprocess.Popen(
        command, cwd=folder, env=ENVIRONMENT | (variables or {}), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8", **options,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()  # the others end with mpiexec


def run(folder, processes, *words, **options):
    """Run `gpt-numpy` to its end: exit status, standard output, standard error."""
    with start(folder, processes, *words, **options) as process:
        out, err = process.communicate(timeout=100)
    return process.returncode, out, err


def arrays(folder, name="ckpt.npz"):
    """The arrays of a checkpoint, parameters and moments, by name."""
    with np.load(folder / name) as file:
        return {key: file[key] for key in file.files if key != "header.json"}


def lines(folder):
    """The log of a run without its times."""
    text = (folder / "log.jsonl").read_text(encoding="utf-8")
    return [line.partition(', "ms"')[0] for line in text.splitlines()]


def alive(marker):
    """The processes of a run that are still there, by a word of their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if marker.encode() in words and str(os.getpid()) != entry.parent.name:
            found.append(int(entry.parent.name))
    return found
