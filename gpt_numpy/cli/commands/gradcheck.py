"""`gpt-numpy gradcheck`: checks the gradients of a run's model, or of a random one."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from gpt_numpy.base.errors import InputError
from gpt_numpy.base.progress import Progress, is_terminal
from gpt_numpy.cli.checked_batches import SMALL, Batch, batch_of_run, random_batch, shortened, used
from gpt_numpy.cli.exit_status import CHECK_FAILED, OK
from gpt_numpy.cli.options import GradcheckConfig
from gpt_numpy.cli.settings import Types, settings_of, shape_of, split
from gpt_numpy.config.choices import IMPLEMENTATIONS
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.config.presets import GRADCHECK_MODEL
from gpt_numpy.gradients.model_check import gradcheck, randomise
from gpt_numpy.gradients.report import Report, RoundingReport
from gpt_numpy.gradients.rounding import rounding_errors
from gpt_numpy.interop import open_out_dir
from gpt_numpy.model.gpt import GPT
from gpt_numpy.model.memory import check_memory, parameter_count
from gpt_numpy.model.stage import ModelConfig

SECONDS_BETWEEN_LINES = 20.0  # of progress, where there is no terminal for a bar


def run(words: list[str], types: Types) -> int:
    """`gpt-numpy gradcheck`."""
    sources, flags = split(words, types)
    config = GradcheckConfig(**settings_of(GradcheckConfig, flags))
    shape = settings_of(GPTConfig, flags)
    say = partial(print, file=sys.stderr if config.json else sys.stdout, flush=True)
    if config.out_dir:
        extra = [*sources, *(f"--{name}" for name in shape)]
        if extra:
            raise InputError(f"{extra[0]} does not go with --out_dir: the run has its own shape")
        run = open_out_dir(
            config.out_dir, checkpoint=config.checkpoint, ops=config.ops or None, say=say,
            pairs=True,
        )  # fmt: skip
        model, batch = run.model, batch_of_run(run, config, say)
    else:
        model, batch = _random_model(config, sources, shape)
    dropout_key = 1 if model.config.dropout else None
    report: Report | RoundingReport
    if config.dtype == "bfloat16":
        shorter = shortened(batch, model.config, config)
        report = rounding_errors(model, *shorter, dropout_key=dropout_key)
    else:
        with _Bars(say) as bars:
            report = gradcheck(
                model,
                *batch,
                dropout_key=dropout_key,
                method=_method(model.config, config, say),
                tolerance=config.tolerance,
                seed=config.seed,
                say=say,
                tick=bars.tick,
            )
    if config.json:
        print(json.dumps(report.as_dict(), indent=1, allow_nan=False))
    else:
        print("\n".join(report.lines(_paint)))
    return OK if report.ok else CHECK_FAILED


class _Bars(contextlib.ExitStack):
    """A progress bar for each part of the check; without a terminal, a line now and then."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self._say = say
        self._last_line = time.perf_counter()

    def tick(self, part: str, done: int, total: int) -> None:
        """Show that `done` of `total` are measured."""
        if done == 1:
            self._bar = self.enter_context(Progress(total, unit=" " + part))
        self._bar.advance()
        now = time.perf_counter()
        if done == total:
            self.close()
        elif not self._bar.terminal and now - self._last_line > SECONDS_BETWEEN_LINES and done > 1:
            self._last_line = now
            self._say(f"{done} of {total} {part}, {self._bar.left()} left")


def _random_model(
    config: GradcheckConfig, sources: list[str], shape: dict[str, Any]
) -> tuple[GPT, Batch]:
    base = shape_of(sources) if sources else GRADCHECK_MODEL
    # Check dropout too, unless a flag turns it off.
    base = base | {"dropout": base.get("dropout") or GRADCHECK_MODEL["dropout"]}
    model_config = GPTConfig(**base | shape)
    if model_config.vocab_size == 1:
        raise InputError("vocab_size=1: with one token there is nothing to predict; give 2 or more")
    _check_memory_of_differences(model_config, config)
    small = parameter_count(model_config) <= SMALL
    ops = config.ops or ("reference" if small else IMPLEMENTATIONS[0])
    model = GPT(model_config, seed=None, dtype="float64", ops=ops)
    randomise(model, config.seed)
    return model, random_batch(model_config, config)


def _check_memory_of_differences(model: ModelConfig, config: GradcheckConfig) -> None:
    """Refuse a model if its parameters and gradients, and its float64 twin's, do not fit."""
    batch_size, shorter = used(model, config)
    asked = f"batch_size={config.batch_size}"
    check_memory(shorter, batch_size, itemsize=8, copies=4, settings=asked)


def _method(model: ModelConfig, config: GradcheckConfig, say: Callable[[str], None]) -> str:
    """The method given, or with auto: the best one that fits into memory."""
    batch_size, shorter = used(model, config)
    try:
        check_memory(shorter, 2 * batch_size, itemsize=8, copies=9)  # complex numbers: two float64
    except InputError:
        if config.method == "auto":
            _check_memory_of_differences(model, config)
            say("not enough memory for the complex step: central differences instead")
            return "differences"
        if config.method != "differences":
            raise
    return config.method


def _paint(text: str, ok: bool) -> str:
    colour = is_terminal(sys.stdout) and not os.environ.get("NO_COLOR")
    return f"\033[{32 if ok else 31}m{text}\033[0m" if colour else text
