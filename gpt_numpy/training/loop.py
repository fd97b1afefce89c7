"""The training loop: draw batches, forward, backward, update; evaluate, save and report.

It follows nanoGPT's train.py in its names, console lines and order of events: an iteration
evaluates first, if an evaluation is due, then updates; there are max_iters + 1 updates in all.
Unlike nanoGPT, evaluation draws from separate random streams, the best and the last checkpoint are
separate files, and a run is saved every `save_minutes` and when it ends or is stopped by a signal.

A signal handler only sets a flag. Flag and clock are checked before every micro-step and every
evaluation batch, so that neither an update nor a save is ever cut short.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.errors import InputError, NotFiniteError
from gpt_numpy.base.progress import Progress
from gpt_numpy.base.signals import end_signals_call
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.config.transformer import TransformerConfig
from gpt_numpy.data.batches import DROPOUT, SAMPLE, random_key, training_batch
from gpt_numpy.data.token_file import ChangedFileError
from gpt_numpy.model.encoder_decoder import Transformer
from gpt_numpy.model.flops import flops_per_token, machine_peak
from gpt_numpy.model.gpt import GPT
from gpt_numpy.parallel.tree_sum import TreeSum, sum_in_order
from gpt_numpy.parallel.world import ONE, World
from gpt_numpy.training.checkpoint import Run, save
from gpt_numpy.training.evaluation import evaluate, evaluation_line
from gpt_numpy.training.log import Log
from gpt_numpy.training.monitor import UPDATES_BETWEEN, first_not_finite, layers, sample, sample_due
from gpt_numpy.training.optimizer import AdamW
from gpt_numpy.training.optimizers import optimizer_for, set_learning_rates
from gpt_numpy.training.precompile import compile_in_background
from gpt_numpy.training.run_folder import BEST, LAST, drop_oldest, keep_earlier

_STOP, _SAVE = 1, 2  # what a process asks of all at the next poll


class Interrupted(Exception):
    """A signal asked the run to stop."""


@dataclasses.dataclass
class State:
    """Progress of a run: all that a checkpoint needs in addition to the arrays."""

    iteration: int = 0  # the next one
    best_val_loss: float = math.inf
    best_iteration: int = -1
    evaluated: int = -1  # the last iteration at which there was an evaluation
    evaluations_without_gain: int = 0

    def to_json(self) -> dict[str, Any]:
        """The values as JSON can hold them: it has no infinity."""
        values = dataclasses.asdict(self)
        return values | {"best_val_loss": None} if self.best_iteration < 0 else values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "State":
        """The inverse of `to_json`."""
        best = values["best_val_loss"]
        return cls(**values | {"best_val_loss": math.inf if best is None else best})


class Training:
    """One run: a model, its optimizer, its data (a `Dataset`) and its progress.

    `run` trains to the end and returns "finished", "out of patience" or "interrupted". `clock`
    returns seconds.
    """

    log: Log  # set by `run`
    progress: Progress

    def __init__(
        self,
        run: Run,
        config: TrainConfig,
        dataset: Any,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert run.optimizer is not None
        self.world = run.optimizer.world
        self.model: Any = run.model
        self.optimizer: AdamW = run.optimizer
        self.config = config
        self.dataset = dataset
        self.state = State.from_json(run.progress) if run.progress else State()
        self._saved_iteration = self.state.iteration  # of the last checkpoint, if there is one
        self._clock = clock
        self._saved_at = clock()
        self._stopped = False
        self._share = self.world.share(config.gradient_accumulation_steps)
        self._gradient = TreeSum(self.model.grads.flat, len(self._share))
        self._peak = self._measured_peak()

    def run(self, log: Log, progress: Progress) -> str:
        """Train until the last iteration, until patience runs out, or until interrupted."""
        self.log, self.progress, self._saved_at = log, progress, self._clock()
        with end_signals_call(self._stop):
            try:
                outcome = self._iterate_to_the_end(progress)
            except Interrupted:
                outcome = "interrupted"
            except ChangedFileError:
                self._save_alone()  # the data is gone, but the run is between two updates
                raise
            self._save_last()
        return outcome

    def _iterate_to_the_end(self, progress: Progress) -> str:
        config, state = self.config, self.state
        # With several processes nobody may leave before the others do.
        alone = self.world.size == 1
        compile_in_background(self.model, config, self._poll if alone else lambda: None)
        if state.iteration == state.best_iteration:
            self._save(BEST)  # the last process may have died between saving LAST and BEST
        while state.iteration <= config.max_iters:
            if self._evaluation_due():
                self._evaluate(progress)
            if config.patience and state.evaluations_without_gain >= config.patience:
                return "out of patience"
            self._poll()
            self._iterate(progress)
            progress.advance()
        return "finished"

    def _stop(self, *_: object) -> None:
        self._stopped = True

    def _poll(self) -> None:
        """Between two updates: stop if a signal asked for it, and save if it is time to.

        All processes come here equally often, and do what one of them was asked to.
        """
        interval, passed = 60 * self.config.save_minutes, self._clock() - self._saved_at
        due = self.world.first and 0 < interval <= passed
        flags = self.world.agree(_STOP * self._stopped | _SAVE * due)
        if flags & _STOP:
            raise Interrupted
        if flags & _SAVE and self.state.iteration != self._saved_iteration:
            self._save_last()
            self._say_saved()

    def _say(self, line: str) -> None:
        """Print a line; if nobody is left to read it, save the run before the error ends it."""
        try:
            self.progress.say(line)
        except OSError:
            self._save_alone()
            raise

    def _say_saved(self) -> None:
        self._say(f"saving checkpoint to {self.config.out_dir}")

    def _evaluation_due(self) -> bool:
        iteration, config = self.state.iteration, self.config
        if iteration == self.state.evaluated:  # already done, before the run was interrupted
            return False
        return iteration % config.eval_interval == 0 or iteration == config.max_iters

    def _evaluate(self, progress: Progress) -> None:
        """Evaluate, report and save."""
        state = self.state
        measured = self.measure()
        losses = {split: measured.pop(split) for split in ("train", "val")}
        better = losses["val"] < state.best_val_loss
        self._say(f"step {state.iteration}: {evaluation_line(losses | measured)}")
        if not all(map(math.isfinite, losses.values())):
            raise NotFiniteError(
                f"iteration {state.iteration}: the evaluation loss is not finite; "
                + first_not_finite(self.model)
            )
        self.log.write(
            iter=state.iteration, train_loss=losses["train"], val_loss=losses["val"], best=better,
            **measured,
        )  # fmt: skip
        self._write_sample()
        state.evaluated = state.iteration
        if better:
            state.best_val_loss, state.best_iteration = losses["val"], state.iteration
        state.evaluations_without_gain = 0 if better else state.evaluations_without_gain + 1
        if better or self.config.always_save_checkpoint:
            self._save_last()
            if better:
                self._save(BEST)
            self._say_saved()
        if not progress.terminal and 0 < state.iteration < self.config.max_iters:
            self._say(f"{progress.left()} left")

    def measure(self) -> dict[str, float]:
        """Evaluate: the losses on both splits, "train" and "val", and what a subclass adds."""
        return evaluate(
            self.model, self.dataset, self.config, self.state.iteration, self._poll, self.world
        )

    def _poll_alone(self) -> None:
        """Poll, where no other process would wait for this one."""
        if self.world.size == 1:
            self._poll()

    def _write_sample(self) -> None:
        """Log a text generated by the current model, if one is due."""
        config, iteration, tokenizer = self.config, self.state.iteration, self.dataset.tokenizer
        times = config.eval_interval, config.max_iters, self.tokens_per_iteration
        if tokenizer is None or not sample_due(iteration, *times) or not self.world.first:
            return
        # Shifted, because each token increments the seed, which must stay below 2^64.
        seed = random_key(config.seed, SAMPLE, iteration, 0) >> 1
        start = np.asarray(self.dataset.val[:1])
        with suppress(NotFiniteError):  # the next training step will find and report it
            tokens = sample(self.model, start, seed, tokenizer.vocab_size, self._poll_alone)
            self.log.write(iter=iteration, sample=tokenizer.decode(tokens))

    def _iterate(self, progress: Progress) -> None:
        """One update of the parameters, which change only after the last poll."""
        config, iteration = self.config, self.state.iteration
        start = time.perf_counter()
        set_learning_rates(self.optimizer, iteration, config)
        batches = [self._batch(k) for k in self._share]
        counts = self.world.numbers(np.array([self._count(y) for _, y in batches], np.float64))
        divisor = max(int(counts.sum()), 1)
        losses, wrong = [], ""
        for k, (x, y) in zip(self._share, batches, strict=True):
            self._poll()
            key = random_key(config.seed, DROPOUT, iteration, k)
            losses.append(self.model.forward(x, y, dropout_key=key, divisor=divisor))
            if not math.isfinite(losses[-1]):
                wrong = wrong or first_not_finite(self.model, x, y, key)
            self.model.backward(accumulate=self._gradient.accumulate)
            self._gradient.add()
        loss = sum_in_order(self.world.numbers(np.array(losses, np.float64)))
        if not math.isfinite(loss):
            wrong = next(filter(None, self.world.texts(wrong)), "")
            raise NotFiniteError(f"iteration {iteration}: the loss is {loss}; {wrong}")
        try:
            norm = self.optimizer.step()
        except NotFiniteError as error:
            raise NotFiniteError(f"iteration {iteration}: {error}") from None
        self.state.iteration += 1
        milliseconds = (time.perf_counter() - start) * 1e3
        if iteration % config.log_interval == 0:
            self._report(iteration, loss, norm, milliseconds)

    def _batch(self, micro_step: int) -> tuple[Array, Array]:
        config = self.config
        return training_batch(
            self.dataset.train,
            config.batch_size,
            self.model.config.block_size,
            seed=config.seed,
            index=self.state.iteration * config.gradient_accumulation_steps + micro_step,
        )

    def _count(self, targets: Array) -> int:
        """How many targets of a batch count in the loss."""
        return int((targets >= 0).sum())

    def _report(self, iteration: int, loss: float, norm: float, milliseconds: float) -> None:
        norms = layers(self.optimizer) if iteration % UPDATES_BETWEEN == 0 else None
        self.log.write(
            iter=iteration,
            loss=loss,
            lr=self.optimizer.learning_rate,
            grad_norm=norm,
            ms=round(milliseconds, 3),
            **({"layers": norms} if norms else {}),
        )
        speed = self._speed(milliseconds / 1e3)
        self._say(f"iter {iteration}: loss {loss:.4f}, time {milliseconds:.2f}ms, {speed}")

    def _speed(self, seconds: float) -> str:
        """How well an update of so many seconds uses the machine."""
        flops = flops_per_token(self.model) * self.tokens_per_iteration / seconds
        if flops > self._peak:  # which was measured while the machine was busy
            self._peak = max(flops, self._measured_peak())
        return f"mfu {flops / self._peak:.2%}"

    def _measured_peak(self) -> float:
        """Operations a second of all processes at their best."""
        return machine_peak() * self.world.size

    @property
    def tokens_per_iteration(self) -> int:
        """Number of tokens in one update."""
        sequences = self.config.gradient_accumulation_steps * self.config.batch_size
        return sequences * self.model.config.block_size

    def _save_alone(self) -> None:
        """Save what can be saved when this process fails: with several, it takes all of them."""
        if self.world.size == 1:
            self._save_last()

    def _save_last(self) -> None:
        """Save the run as it is now, and keep earlier checkpoints as `keep_last` says."""
        folder, count = Path(self.config.out_dir), self.config.keep_last - 1
        count = count if self.world.first else 0  # process 0 alone writes
        if count > 0 and self.state.iteration != self._saved_iteration:
            keep_earlier(folder, self._saved_iteration)
        self._save(LAST)
        self._saved_iteration, self._saved_at = self.state.iteration, self._clock()
        if count > 0:
            drop_oldest(folder, count, self.state.iteration)

    def _save(self, name: str) -> None:
        if self.world.first and not Path(self.config.out_dir).is_dir():
            raise InputError(
                f"out_dir={self.config.out_dir!r}: the folder is gone; the run was at iteration "
                f"{self.state.iteration} and cannot be saved there: restore the folder with its "
                "last checkpoint, then resume with --init_from=resume"
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


def new_run(
    model_config: GPTConfig | TransformerConfig, config: TrainConfig, world: World = ONE
) -> Run:
    """A new run: a model with initial parameters, and its optimizer."""
    kind: Any = Transformer if isinstance(model_config, TransformerConfig) else GPT
    model = kind(model_config, seed=config.seed, dtype=config.dtype, ops=config.ops)
    optimizer = optimizer_for(model, config, world)
    return Run(model, model_config, optimizer=optimizer, settings=config)
