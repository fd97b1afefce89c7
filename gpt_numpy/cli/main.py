"""The `gpt-numpy` command: finds the command, prints help, and turns errors into exit statuses.

The commands are in `commands/`, a module each, imported only when it runs: so `--help` is fast, and
the number of threads is set before NumPy and Numba are loaded.

Not argparse, which loses the order of flags among presets and files: later words win.
"""

import contextlib
import dataclasses
import importlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from gpt_numpy.base.errors import InputError, NotFiniteError, did_you_mean
from gpt_numpy.base.mpiexec import launched, load_mpi, share_of_threads
from gpt_numpy.base.progress import is_terminal
from gpt_numpy.base.signals import end_signals_call, ignore_end_signals
from gpt_numpy.base.threads import set_variables
from gpt_numpy.base.version import __version__
from gpt_numpy.cli import options
from gpt_numpy.cli.exit_status import BAD_INPUT, INTERRUPTED, NOT_FINITE, OK
from gpt_numpy.cli.settings import field_types, parted, presets_for, shape_of
from gpt_numpy.config.fields import REQUIRED
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.config.presets import DEFAULT_PRESET, GRADCHECK_MODEL, NANOGPT_DEFAULTS
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.config.transformer import TransformerConfig
from gpt_numpy.config.translation import TranslationConfig
from gpt_numpy.inspection.summary.thresholds import EXPLANATION

_MODEL = "[PRESET | FILE.toml | FILE.py]..."

# What a command does, the words that it takes in addition to settings, and its settings.
COMMANDS: dict[str, tuple[str, str, tuple[type, ...]]] = {
    "train": (
        "train a model",
        _MODEL,
        (GPTConfig, TrainConfig, TransformerConfig, TranslationConfig),
    ),
    "sample": (
        "let a trained model write text",
        "[FILE.toml | FILE.py]...",
        (options.SampleConfig,),
    ),
    "translate": (
        "let a trained encoder-decoder translate texts, or the lines of standard input",
        "[TEXT]...",
        (options.TranslateConfig,),
    ),
    "gradcheck": (
        "check every hand-derived gradient against the exact derivative",
        _MODEL,
        (options.GradcheckConfig, GPTConfig),
    ),
    "inspect": (
        "show a model's activations and gradients on a text, or on a source and its target",
        "",
        (options.InspectConfig,),
    ),
    "plot": ("draw the loss curves of one or several runs", "RUN [RUN]...", (options.PlotConfig,)),
    "prepare": ("turn text files into tokens to train on", "FILE...", (options.PrepareConfig,)),
    "convert": ("convert a model to another file format", "FROM TO", (options.ConvertConfig,)),
    "bench": ("time training steps, layer by layer", _MODEL, (options.BenchConfig, GPTConfig)),
    "selfcheck": ("check that gradients are correct here and that wrong ones are noticed", "", ()),
}

# Commands that run in several processes, and the flag that makes them.
PARALLEL = {"train": "", "bench": "--parallel"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _prepare_output()
    try:
        with end_signals_call(_interrupt, restore=arguments is not None):
            status = _run(words)
            _flush_output(status)  # now: an error at Python's exit would be a traceback
            if status == INTERRUPTED and arguments is None:
                if launched()[1] > 1:
                    load_mpi().Finalize()  # Python would do it when it ends
                os._exit(status)  # another thread may still be compiling
            return status
    except InputError as error:
        return _fail(str(error), BAD_INPUT)
    except NotFiniteError as error:
        return _fail(str(error), NOT_FINITE)
    except MemoryError:
        return _fail("out of memory: make batch_size, block_size or the model smaller", BAD_INPUT)
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):  # the terminal may be gone
            if is_terminal(sys.stderr):
                print(file=sys.stderr)  # after the ^C that the terminal shows
        status = _fail("interrupted", INTERRUPTED)
        if arguments is None:
            os._exit(status)  # Python would exit with another one after an interrupted `exec`
        return status
    except BrokenPipeError:  # as in `gpt-numpy sample | head`: nobody wants more of it
        _drop_output()
        trains = words[:1] == ["train"] and not {"-h", "--help"} & {*words}
        return INTERRUPTED if trains else OK  # a training is cut off
    except OSError as error:
        _drop_output()
        advice = "free disk space, or write to another place"
        return _fail(f"cannot read or write: {error}; {advice}", BAD_INPUT)


def _fail(message: str, status: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()  # so that earlier output comes first
    with contextlib.suppress(OSError, ValueError):  # nobody may be left to read it
        print(f"gpt-numpy: {message}", file=sys.stderr)
    return status


def _flush_output(status: int) -> None:
    """Write what is buffered; an interrupted run, already saved, may have no terminal any more."""
    try:
        sys.stdout.flush()
    except OSError:
        if status != INTERRUPTED:
            raise
        _drop_output()


def _prepare_output() -> None:
    """Escape characters that the terminal's encoding lacks; discard output if there is none."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell, as in `gpt-numpy train >&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Discard buffered output, or Python would try to write it again when it exits."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # it may have no number
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _interrupt(*_: object) -> None:
    """Raise KeyboardInterrupt at the first signal; later ones do not cut off the last message."""
    ignore_end_signals()
    raise KeyboardInterrupt


def _run(words: list[str]) -> int:
    if words[:1] == ["help"]:
        words = [*words[1:2], "--help"]
    if not words or words[0] in ("-h", "--help"):
        print(overview())
        return OK
    if words[0] in ("--version", "-V"):
        print(f"gpt-numpy {__version__}")
        return OK
    command, *rest = words
    if command not in COMMANDS:
        hint = did_you_mean(command, COMMANDS)
        if command in presets_for(types_of("train")) or command.startswith("--"):
            hint = f"did you mean gpt-numpy train {command}?"
        raise InputError(f"no command {command!r}: {hint}")
    given, _ = parted(rest)
    if "-h" in given or "--help" in given:
        print(help_of(command))
        return OK
    rest = [*_set_threads(given), *rest[len(given) :]]
    if launched()[1] > 1 and not _works_in_processes(command, rest):
        return _refuse_processes(command)
    module = importlib.import_module(f"gpt_numpy.cli.commands.{command}")
    return int(module.run(rest, types_of(command)))


def types_of(command: str) -> dict[str, type]:
    """The types of all settings of a command; train gets its vocabulary size from the data."""
    return field_types(*COMMANDS[command][2], without=["vocab_size"] if command == "train" else [])


def _works_in_processes(command: str, words: Sequence[str]) -> bool:
    flag = PARALLEL.get(command)
    return flag == "" or flag in [word.partition("=")[0] for word in words]


def _refuse_processes(command: str) -> int:
    """Say once that a command does not run in several processes."""
    rank, size = launched()
    if rank:
        return BAD_INPUT
    flag = PARALLEL.get(command)
    raise InputError(
        f"mpiexec started {size} processes, but gpt-numpy {command} works in one: "
        f"start it without mpiexec{flag and f', or add {flag}' or ''}"
    )


def _set_threads(words: list[str]) -> list[str]:
    """Set the number of threads from `--threads=N`, and return the other words."""
    rest, threads = [], 0
    for word in words:
        key, _, text = word.partition("=")
        if key != "--threads":
            rest.append(word)
        elif text.isdecimal() and 1 <= int(text) <= 1024:
            threads = int(text)
        else:
            raise InputError(f"--threads={text!r}: must be an integer from 1 to 1024")
    if not threads and launched()[1] > 1:
        threads = share_of_threads()
    set_variables(threads or None)
    return rest


def overview() -> str:
    """The help text of `gpt-numpy` itself: its commands."""
    commands = "\n".join(f"  {name:<9}  {text}" for name, (text, _, _) in COMMANDS.items())
    return f"""\
gpt-numpy: a GPT from scratch in NumPy, every backward pass derived by hand

usage: gpt-numpy COMMAND [...]; see gpt-numpy COMMAND --help for one of them

{commands}

to start:
  gpt-numpy train tiny                   train a small GPT on Shakespeare, some minutes
  gpt-numpy sample --out_dir=out-tiny    let it write
  gpt-numpy gradcheck                    check the gradients

exit status: 0 done, 1 a check failed, 2 bad input, 3 a loss that is not finite,
130 interrupted"""


def help_of(command: str) -> str:
    """The help text of a command: its usage, and its settings with their defaults."""
    text, sources, configs = COMMANDS[command]
    keys = "[--key=value]..." if configs else ""
    usage = " ".join(filter(None, ["usage: gpt-numpy", command, sources, keys]))
    lines = [text, "", usage]
    if sources == _MODEL:
        default = "" if command == "gradcheck" else f"; by default {DEFAULT_PRESET}"
        lines += [
            "read from left to right; later ones win",
            f"presets: {', '.join(presets_for(types_of(command)))}{default}",
        ]
    shown: set[str] = set()
    for config in configs:
        title = ["of encoder-decoders alone:"] if config is TransformerConfig else []
        lines += ["", *title, *_settings_help(config, command, shown)]
    if command == "inspect":
        lines += ["", EXPLANATION]
    lines += ["", "  --threads=N  threads to compute with (default: all cores of this process)"]
    if command in PARALLEL:
        words = " ".join(filter(None, ["gpt-numpy", command, PARALLEL[command], "..."]))
        lines += [
            "",
            f"several processes: mpiexec -n N {words}",
            "they share the micro-batches of an update; needs pip install mpi4py mpich",
        ]
    return "\n".join(lines)


def _settings_help(config: type, command: str, done: set[str]) -> Iterator[str]:
    """A line for each setting that is not `done`, to which it is added."""
    defaults: dict[str, Any] = {}
    if config is GPTConfig:
        defaults = {"train": NANOGPT_DEFAULTS, "gradcheck": GRADCHECK_MODEL}.get(
            command, shape_of([DEFAULT_PRESET])
        )
    names = types_of(command).keys() - done
    fields = [field for field in dataclasses.fields(config) if field.name in names]
    done |= {field.name for field in fields}
    values: dict[Any, str] = {int: "N", float: "X", bool: "True|False"}
    flags = [f"--{field.name}={values.get(field.type, 'TEXT')}" for field in fields]
    width = max(map(len, flags))
    for field, flag in zip(fields, flags, strict=True):
        default = defaults.get(field.name, field.default)
        shown = repr(default) if isinstance(default, str) else default
        if default is REQUIRED:
            shown = "the preset's"
        yield f"  {flag:<{width}}  {field.metadata['help']} [{shown}]"
