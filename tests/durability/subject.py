"""The run that the campaigns break: very small, with everything on that a run can have.

What it must have come to after every iteration is computed once, without any interruption; every
checkpoint that a campaign leaves is compared with that, and resumed for a few iterations.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import gpt_numpy as gn
from gpt_numpy.base.progress import Progress
from gpt_numpy.base.signals import KINDS
from gpt_numpy.base.threads import set_variables
from gpt_numpy.cli.commands import train as train_command
from gpt_numpy.cli.settings import gather
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.data.dataset import open_dataset
from gpt_numpy.training import checkpoint
from gpt_numpy.training import run_folder as runs
from gpt_numpy.training.log import LOG, Log
from gpt_numpy.training.loop import Training

set_variables(None)  # as every command does, so that runs in this process are like those outside

ITERATIONS = 120
STEPS_AFTER = 4  # how far a checkpoint is resumed to see that it goes on to the bit
SHAPE = ["--n_layer=1", "--n_head=2", "--n_embd=8", "--block_size=8", "--dropout=0.2"]
SCHEDULE = ["--learning_rate=0.01", "--warmup_iters=5", "--lr_decay_iters=100", "--grad_clip=0.5"]
WORDS = [
    *SHAPE,
    *SCHEDULE,
    *("--batch_size=2", "--gradient_accumulation_steps=3", f"--max_iters={ITERATIONS}"),
    *("--eval_interval=2", "--eval_iters=2", "--log_interval=1", "--keep_last=3"),
    "--always_save_checkpoint=True",
]


def environment(**more):
    package = str(Path(gn.__file__).parents[1])
    return os.environ | {"PYTHONPATH": package, "PYTHONUNBUFFERED": "1"} | more


def command(folder, *words, **more):
    """`gpt-numpy train` in a process of its own, as its user starts it."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if os.name == "posix":
        # A shell starts what runs in the background with SIGINT ignored, and that is inherited.
        pipes["preexec_fn"] = lambda: [signal.signal(kind, signal.SIG_DFL) for kind in KINDS]
    out_dir = [f"--out_dir={folder / 'run'}"]
    start = [f"--data={folder.parent / 'text.txt'}", *WORDS]
    if (folder / "run" / runs.LAST).exists():
        start = ["--init_from=resume"]
    line = [sys.executable, "-m", "gpt_numpy", "train", *start, *out_dir, *words]
    return subprocess.Popen(line, env=environment(**more), **pipes)


class Subject:
    """The text, and what the uninterrupted run was after each of its iterations."""

    def __init__(self, folder, ops="reference", iterations=ITERATIONS, more=()):
        self.folder, self.ops = folder, ops
        text = folder / "text.txt"
        rng = random.Random(0)
        text.write_text("".join(rng.choices("abcd \n", k=3000)), encoding="utf-8")
        self.dataset = open_dataset("", str(text), say=lambda line: None)
        self.words = [*WORDS, f"--ops={ops}", f"--max_iters={iterations}", f"--data={text}"]
        self.words += more
        (folder / "whole").mkdir()
        whole = self.begin(folder / "whole")
        self.digests = {0: digest(whole)}
        follow(whole, self.digests)
        finish(whole)
        self.log = losses(folder / "whole" / "run")

    def begin(self, folder):
        """A new run in a folder, in this process."""
        words = [*self.words, f"--out_dir={folder / 'run'}"]
        types = {f.name: f.type for kind in (gn.GPTConfig, TrainConfig) for f in fields(kind)}
        values = gather(words, types, lambda text: None)
        with contextlib.redirect_stdout(io.StringIO()):
            run, config, dataset = train_command._start(words, values, types)
        training = Training(run, config, dataset)
        training.log = Log(runs.begin(config.out_dir, lambda text: None))
        return training

    def resume(self, folder, path=None, **changed):
        """The run in a folder, taken up again in this process."""
        if path is None:
            run, config = runs.resume(str(folder / "run"), changed)
        else:
            run = checkpoint.load(path, ops=self.ops)
            config = dataclasses.replace(run.settings, out_dir=str(folder / "run"), **changed)
        training = Training(run, config, self.dataset)
        training.log = Log(folder / "run", run.progress if path is None else None)
        return training

    def faults(self, folder, at_least=0):
        """What is wrong with the checkpoints of a run, as texts; and where its last one stands."""
        found, iteration = [], 0
        for path in sorted((folder / "run").glob("*.npz")):
            if path.name.startswith("."):
                continue
            try:
                training = self.resume(folder, path)
            except gn.InputError as error:
                found.append(f"lost: {error}")
                continue
            here = training.state.iteration
            if path.name == runs.LAST:
                iteration = here
                if here < at_least:
                    found.append(f"{path.name} went back from iteration {at_least} to {here}")
            if digest(training) != self.digests[here]:
                found.append(f"{path.name} differs at iteration {here}")
            if not goes_on(training, self.digests):
                found.append(f"{path.name}, resumed at iteration {here}, goes on differently")
        return found, iteration


def fields(kind):
    return dataclasses.fields(kind)


def digest(training):
    """Of all that changes from one iteration to the next."""
    whole = hashlib.sha256()
    for arrays in (training.model.params, training.optimizer.m, training.optimizer.v):
        whole.update(arrays.flat.tobytes())
    whole.update(f"{training.optimizer.steps} {training.state.iteration}".encode())
    return whole.hexdigest()


def follow(training, digests):
    """Let `digests` collect that of every iteration."""
    iterate = training._iterate

    def iterating(progress):
        iterate(progress)
        digests[training.state.iteration] = digest(training)

    training._iterate = iterating


def finish(training):
    """Go on to the end, without a word."""
    progress = Progress(training.config.max_iters + 1, done=training.state.iteration)
    progress.say = lambda line: None
    return training.run(training.log, progress)


def goes_on(training, digests):
    """Whether the next iterations are those of the run that was never stopped."""
    training._report = lambda *arguments: None
    end = min(training.state.iteration + STEPS_AFTER, max(digests))
    while training.state.iteration < end:
        training._iterate(None)
        if digest(training) != digests[training.state.iteration]:
            return False
    return True


def losses(folder):
    """What the log of a run says, without what depends on the clock."""
    lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "ms"} for line in lines]
