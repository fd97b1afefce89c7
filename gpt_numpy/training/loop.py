"""The training loop: draw batches, forward, backward, update; evaluate, save and report.

It follows nanoGPT's train.py, with its names, its console lines and its order of events: at an
iteration first the evaluation, if one is due, then the update, and max_iters + 1 updates in all.
Different from it: evaluation draws from streams of its own, best and last checkpoint are kept
apart, and a run that is stopped, by Ctrl-C or at its end, is saved and can be taken up again.

A signal only leaves a note, which is looked at before every micro-step and every batch of an
evaluation: neither an update nor a save is ever torn.
"""

import dataclasses
import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.errors import InputError, NotFiniteError
from gpt_numpy.base.progress import Progress
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.data.batches import DROPOUT, SAMPLE, random_key, training_batch
from gpt_numpy.data.dataset import Dataset
from gpt_numpy.data.token_file import ChangedFileError
from gpt_numpy.model.flops import flops_per_token, machine_peak
from gpt_numpy.model.gpt import GPT
from gpt_numpy.training.checkpoint import Run, save
from gpt_numpy.training.evaluation import evaluate
from gpt_numpy.training.log import Log
from gpt_numpy.training.monitor import UPDATES_BETWEEN, layers, sample, sample_due
from gpt_numpy.training.optimizer import AdamW
from gpt_numpy.training.precompile import compiled_beside
from gpt_numpy.training.run_folder import BEST, LAST, drop_oldest, keep_earlier
from gpt_numpy.training.schedule import learning_rate_at


@dataclasses.dataclass
class State:
    """Where a run stands; all that a checkpoint needs beside the arrays."""

    iteration: int = 0  # the next one
    best_val_loss: float = math.inf
    best_iteration: int = -1
    evaluated: int = -1  # the last iteration at which there was an evaluation
    evaluations_without_gain: int = 0

    def to_json(self) -> dict[str, Any]:
        """The values as JSON can hold them."""
        values = dataclasses.asdict(self)
        return values | {"best_val_loss": None} if self.best_iteration < 0 else values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "State":
        """The inverse of `to_json`."""
        best = values["best_val_loss"]
        return cls(**values | {"best_val_loss": math.inf if best is None else best})


class Training:
    """One run: a model, its optimizer, its data and where it stands.

    `run` goes on to the end and returns "finished", "out of patience" or "interrupted".
    """

    def __init__(self, run: Run, config: TrainConfig, dataset: Dataset) -> None:
        assert run.optimizer is not None
        self.model: GPT = run.model
        self.optimizer: AdamW = run.optimizer
        self.config = config
        self.dataset = dataset
        self.state = State.from_json(run.progress) if run.progress else State()
        self.log: Log | None = None
        self._saved_iteration = self.state.iteration  # of the last checkpoint, if there is one
        self._stopped = False
        self._milliseconds = 0.0
        self._peak = machine_peak()

    def run(self, log: Log, progress: Progress) -> str:
        """Train until the last iteration, the end of patience, or an interrupt."""
        config, state = self.config, self.state
        self.log = log
        with _signals_set(self._stop):
            if not compiled_beside(self.model, config, lambda: self._stopped):
                return self._interrupted()
            if 0 < state.iteration == state.best_iteration:
                self._save(BEST)  # a crash may have come between the two saves of a best one
            try:
                while state.iteration <= config.max_iters:
                    if self._evaluation_due() and not self._evaluate(progress):
                        return self._interrupted()
                    if config.patience and state.evaluations_without_gain >= config.patience:
                        self._save_last()
                        return "out of patience"
                    if not self._iterate(progress):
                        return self._interrupted()
                    progress.advance()
            except ChangedFileError:
                self._save_last()  # the data went, between two updates: the run need not
                raise
            self._save_last()
        return "finished"

    def _stop(self, *_: object) -> None:
        self._stopped = True

    def _interrupted(self) -> str:
        self._save_last()
        return "interrupted"

    def _evaluation_due(self) -> bool:
        iteration, config = self.state.iteration, self.config
        if iteration == self.state.evaluated:  # before the run was interrupted
            return False
        return iteration % config.eval_interval == 0 or iteration == config.max_iters

    def _evaluate(self, progress: Progress) -> bool:
        """Evaluate, report and save; False if interrupted."""
        state = self.state
        losses = evaluate(
            self.model, self.dataset, self.config, state.iteration, lambda: self._stopped
        )
        if losses is None:
            return False
        better = losses["val"] < state.best_val_loss
        progress.say(
            f"step {state.iteration}: train loss {losses['train']:.4f}, "
            f"val loss {losses['val']:.4f}"
        )
        if not all(map(math.isfinite, losses.values())):
            raise NotFiniteError(
                f"iteration {state.iteration}: the evaluation loss is not finite; "
                + first_not_finite(self.model)
            )
        assert self.log is not None
        self.log.write(
            iter=state.iteration, train_loss=losses["train"], val_loss=losses["val"], best=better
        )
        if not self._write_sample():
            return False
        state.evaluated = state.iteration
        if better:
            state.best_val_loss, state.best_iteration = losses["val"], state.iteration
        state.evaluations_without_gain = 0 if better else state.evaluations_without_gain + 1
        if state.iteration > 0:
            if better or self.config.always_save_checkpoint:
                self._save_last()
            if better:
                self._save(BEST)
            if better or self.config.always_save_checkpoint:
                progress.say(f"saving checkpoint to {self.config.out_dir}")
            if not progress.terminal and state.iteration < self.config.max_iters:
                progress.say(f"{progress.left()} left")
        return True

    def _write_sample(self) -> bool:
        """Log a text that the model writes now, if one is due; False if interrupted."""
        config, iteration, tokenizer = self.config, self.state.iteration, self.dataset.tokenizer
        times = config.eval_interval, config.max_iters, self.tokens_per_iteration
        if tokenizer is None or not sample_due(iteration, *times):
            return True
        # Shifted: a seed is less than 2^64, and each token of the text has the next one.
        seed = random_key(config.seed, SAMPLE, iteration, 0) >> 1
        start = np.asarray(self.dataset.val[:1])
        with suppress(NotFiniteError):  # it is training's to find out and to tell
            tokens = sample(self.model, start, seed, tokenizer.vocab_size, lambda: self._stopped)
            if tokens is None:
                return False
            assert self.log is not None
            self.log.write(iter=iteration, sample=tokenizer.decode(tokens))
        return True

    def _iterate(self, progress: Progress) -> bool:
        """One update of the parameters; False, with nothing changed, if interrupted."""
        config, iteration = self.config, self.state.iteration
        start = time.perf_counter()
        self.optimizer.learning_rate = learning_rate_at(iteration, config)
        batches = [self._batch(k) for k in range(config.gradient_accumulation_steps)]
        divisor = max(sum(int((y >= 0).sum()) for _, y in batches), 1)
        loss = 0.0
        for k, (x, y) in enumerate(batches):
            if self._stopped:
                return False
            key = random_key(config.seed, DROPOUT, iteration, k)
            loss += self.model.forward(x, y, dropout_key=key, divisor=divisor)
            if not math.isfinite(loss):
                raise NotFiniteError(
                    f"iteration {iteration}: the loss is {loss}; "
                    + first_not_finite(self.model, x, y, key)
                )
            self.model.backward(accumulate=k > 0)
        try:
            norm = self.optimizer.step()
        except NotFiniteError as error:
            raise NotFiniteError(f"iteration {iteration}: {error}") from None
        self.state.iteration += 1
        self._milliseconds = (time.perf_counter() - start) * 1e3
        if iteration % config.log_interval == 0:
            self._report(progress, iteration, loss, norm)
        return True

    def _batch(self, micro_step: int) -> tuple[Array, Array]:
        config = self.config
        return training_batch(
            self.dataset.train,
            config.batch_size,
            self.model.config.block_size,
            seed=config.seed,
            index=self.state.iteration * config.gradient_accumulation_steps + micro_step,
        )

    def _report(self, progress: Progress, iteration: int, loss: float, norm: float) -> None:
        flops = flops_per_token(self.model) * self.tokens_per_iteration
        share = flops / (self._milliseconds / 1e3) / self._peak
        progress.say(
            f"iter {iteration}: loss {loss:.4f}, time {self._milliseconds:.2f}ms, mfu {share:.2%}"
        )
        assert self.log is not None
        also = iteration % UPDATES_BETWEEN == 0
        self.log.write(
            iter=iteration,
            loss=loss,
            lr=self.optimizer.learning_rate,
            grad_norm=norm,
            ms=round(self._milliseconds, 3),
            **({"layers": layers(self.optimizer)} if also else {}),
        )

    @property
    def tokens_per_iteration(self) -> int:
        """How many tokens one update sees."""
        config = self.config
        sequences = config.gradient_accumulation_steps * config.batch_size
        return sequences * self.model.config.block_size

    def _save_last(self) -> None:
        """Save the run as it is now; what was saved before stays as `keep_last` says."""
        folder, count = Path(self.config.out_dir), self.config.keep_last - 1
        if count > 0 and self.state.iteration != self._saved_iteration:
            keep_earlier(folder, self._saved_iteration)
        self._save(LAST)
        self._saved_iteration = self.state.iteration
        if count > 0:
            drop_oldest(folder, count)

    def _save(self, name: str) -> None:
        if not Path(self.config.out_dir).is_dir():
            raise InputError(
                f"out_dir={self.config.out_dir!r}: the folder is gone; the run was at iteration "
                f"{self.state.iteration} and cannot be saved there: put the folder back with its "
                "last checkpoint, then go on with --init_from=resume"
            )
        save(
            f"{self.config.out_dir}/{name}",
            self.model,
            tokenizer=self.dataset.tokenizer,
            optimizer=self.optimizer,
            settings=self.config,
            progress=self.state.to_json(),
            dataset=self.dataset.fingerprint,
        )


def new_run(model_config: GPTConfig, config: TrainConfig) -> Run:
    """A run at its beginning: a model with fresh parameters, and its optimizer."""
    model = GPT(model_config, seed=config.seed, dtype=config.dtype, ops=config.ops)
    return Run(model, model_config, optimizer=optimizer_for(model, config), settings=config)


def optimizer_for(model: GPT, config: TrainConfig) -> AdamW:
    """The optimizer that the settings ask for."""
    return AdamW(
        model,
        learning_rate=config.learning_rate,
        betas=(config.beta1, config.beta2),
        weight_decay=config.weight_decay,
        grad_clip=config.grad_clip,
    )


def first_not_finite(
    model: GPT, tokens: Array | None = None, targets: Array | None = None, key: int | None = None
) -> str:
    """Which parameter or, in a pass over `tokens`, which activation is the first not finite."""
    for name, param in model.params.items():
        if not np.isfinite(param).all():
            return f"the parameter {name} is not finite: lower learning_rate or use grad_clip"
    if tokens is not None and targets is not None:
        twin = GPT(model.config, seed=None, dtype=model.dtype.name, ops=model.ops_name, keep=("*",))
        twin.params.flat[...] = model.params.flat
        twin.forward(tokens, targets, dropout_key=key)
        for name, activation in twin.activations.items():
            if not np.isfinite(activation).all():
                return f"the first activation that is not finite is {name}: lower learning_rate"
    return "all parameters are finite: lower learning_rate"


@contextmanager
def _signals_set(handler: Any) -> Iterator[None]:
    """SIGINT and SIGTERM call `handler` meanwhile, where this thread may say so."""
    kinds = [signal.SIGINT, signal.SIGTERM]
    try:
        before = [signal.signal(kind, handler) for kind in kinds]
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        for kind, old in zip(kinds, before, strict=True):
            signal.signal(kind, old)
