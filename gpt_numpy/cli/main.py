"""The `gpt-numpy` command: it reads the words of the command line and calls `commands.py`.

Nothing heavy is imported before it is needed, so `--help` answers at once and the number of threads
is known to the libraries before they are loaded.
"""

import contextlib
import dataclasses
import importlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from gpt_numpy.base.errors import InputError, NotFiniteError, did_you_mean
from gpt_numpy.base.threads import set_variables
from gpt_numpy.base.version import __version__
from gpt_numpy.cli.options import (
    BenchConfig,
    ConvertConfig,
    GradcheckConfig,
    InspectConfig,
    PlotConfig,
    PrepareConfig,
    SampleConfig,
)
from gpt_numpy.cli.settings import field_types
from gpt_numpy.config.gpt import GPTConfig
from gpt_numpy.config.presets import GRADCHECK_MODEL, NANOGPT_DEFAULTS, PRESETS
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.inspection.summary.thresholds import EXPLANATION

OK, CHECK_FAILED, BAD_INPUT, NOT_FINITE, INTERRUPTED = 0, 1, 2, 3, 130

COMMANDS: dict[str, tuple[str, tuple[type, ...]]] = {
    "train": ("train a model", (GPTConfig, TrainConfig)),
    "sample": ("let a trained model write", (SampleConfig,)),
    "gradcheck": (
        "check every hand-derived gradient against the exact derivative",
        (GradcheckConfig, GPTConfig),
    ),
    "inspect": (
        "every activation and every gradient of a trained model, reading a text",
        (InspectConfig,),
    ),
    "plot": ("draw the loss curves of one or several runs", (PlotConfig,)),
    "prepare": ("turn text files of any size into tokens to train on", (PrepareConfig,)),
    "convert": (
        "read a model of Hugging Face, nanoGPT or this project, and write it for another",
        (ConvertConfig,),
    ),
    "bench": ("time training steps on this machine, layer by layer", (BenchConfig, GPTConfig)),
    "selfcheck": ("measure that gradients are right here and wrong ones noticed", ()),
}
SOURCES = {
    "train": "[PRESET | FILE.toml | FILE.py]...",
    "gradcheck": "[PRESET | FILE.toml | FILE.py]...",
    "bench": "[PRESET | FILE.toml | FILE.py]...",
    "plot": "RUN [RUN]...",
    "prepare": "FILE...",
    "convert": "FROM TO",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status.

    0: done; 1: a check failed; 2: bad input; 3: a loss that is not finite; 130: interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    _prepare_output()
    try:
        with _interruptible(restore=arguments is not None):
            status = _run(words)
            sys.stdout.flush()  # here, and not at the end of Python, where its error is a traceback
            if status == INTERRUPTED and arguments is None:
                os._exit(status)  # a compiler may still be at work in another thread
            return status
    except InputError as error:
        return _fail(str(error), BAD_INPUT)
    except NotFiniteError as error:
        return _fail(str(error), NOT_FINITE)
    except MemoryError:
        return _fail("out of memory: make batch_size, block_size or the model smaller", BAD_INPUT)
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            print(file=sys.stderr)  # after the ^C that the terminal shows
        status = _fail("interrupted", INTERRUPTED)
        if arguments is None:
            # Python would end with another status if the interrupt came up through an `exec`.
            os._exit(status)
        return status
    except BrokenPipeError:  # as in `gpt-numpy sample | head`
        _drop_output()
        return OK
    except OSError as error:
        _drop_output()
        return _fail(f"cannot read or write: {error}", BAD_INPUT)


def _fail(message: str, status: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()  # so that what was said before comes first
    print(f"gpt-numpy: {message}", file=sys.stderr)
    return status


def _prepare_output() -> None:
    """Let every character be printed, whatever the terminal's encoding, or nothing at all."""
    if sys.stdout is None:  # closed by the caller, as in `gpt-numpy train >&-`
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Send what is still to be written nowhere, or Python would try again at its end."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


@contextlib.contextmanager
def _interruptible(*, restore: bool) -> Iterator[None]:
    """Ctrl-C and SIGTERM raise KeyboardInterrupt, once: a second one tears no message.

    `restore` what they did before at the end; a program that is about to end ignores them.
    """
    kinds = [signal.SIGINT, signal.SIGTERM]
    kinds = [kind for kind in kinds if signal.getsignal(kind) != signal.SIG_IGN]  # as under nohup

    def interrupt(*_: object) -> None:
        for kind in kinds:
            signal.signal(kind, signal.SIG_IGN)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # it may not say so
        yield
        return
    before = [signal.signal(kind, interrupt) for kind in kinds]
    try:
        yield
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler if restore else signal.SIG_IGN)


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
        if command in PRESETS or command.startswith("--"):
            hint = f"did you mean gpt-numpy train {command}?"
        raise InputError(f"no command {command!r}: {hint}")
    if "-h" in rest or "--help" in rest:
        print(help_of(command))
        return OK
    rest = _set_threads(rest)
    module = importlib.import_module(f"gpt_numpy.cli.commands.{command}")
    return int(module.run(rest, types_of(command)))


def types_of(command: str) -> dict[str, type]:
    """The type of every setting that a command takes."""
    # In training the tokenizer decides how many tokens there are.
    return field_types(*COMMANDS[command][1], without=("vocab_size",) if command == "train" else ())


def _set_threads(words: list[str]) -> list[str]:
    """Take `--threads=N` out of the words and tell it to libraries that are not loaded yet."""
    rest, threads = [], 0
    for word in words:
        key, _, text = word.partition("=")
        if key != "--threads":
            rest.append(word)
        elif text.isdecimal() and 1 <= int(text) <= 1024:
            threads = int(text)
        else:
            raise InputError(f"--threads={text!r}: must be a whole number from 1 to 1024")
    set_variables(threads or None)
    return rest


def overview() -> str:
    """What the commands are."""
    width = max(map(len, COMMANDS))
    lines = [
        "gpt-numpy: a GPT from scratch in NumPy, every backward pass derived by hand",
        "",
        "usage: gpt-numpy COMMAND [...]; gpt-numpy COMMAND --help explains one",
        "",
        *(f"  {name:<{width}}  {text}" for name, (text, _) in COMMANDS.items()),
        "",
        "start with:",
        "  gpt-numpy train tiny                   a small GPT on Shakespeare, some minutes",
        "  gpt-numpy sample --out_dir=out-tiny    what it writes",
        "  gpt-numpy gradcheck                    its gradients, checked",
        "",
        "exit status: 0 done, 1 a check failed, 2 bad input, 3 a loss that is not finite,",
        "130 interrupted",
    ]
    return "\n".join(lines)


def help_of(command: str) -> str:
    """A command's usage and its settings, with their defaults."""
    text, configs = COMMANDS[command]
    sources = SOURCES.get(command, "")
    keys = "[--key=value]..." if configs else ""
    usage = " ".join(filter(None, ["usage: gpt-numpy", command, sources, keys]))
    lines = [f"{text}", "", usage]
    if "PRESET" in sources:
        lines.append("read from left to right, the later over the earlier")
        unnamed = "; tiny where nothing is named" if command == "train" else ""
        lines.append(f"presets: {', '.join(PRESETS)}{unnamed}")
    for config in configs:
        lines += ["", *_settings_help(config, command)]
    if command == "inspect":
        lines += ["", EXPLANATION]
    lines += ["", "  --threads=N  threads to compute with (default: all cores of this process)"]
    return "\n".join(lines)


def _settings_help(config: type, command: str) -> list[str]:
    rows: list[tuple[str, str]] = []
    for field in dataclasses.fields(config):
        if field.name == "vocab_size" and command == "train":
            continue
        defaults = NANOGPT_DEFAULTS if command == "train" else {}
        if command != "train" and config is GPTConfig:
            defaults = GRADCHECK_MODEL
        default: Any = defaults.get(field.name, field.default)
        shown = repr(default) if isinstance(default, str) else str(default)
        rows.append((f"--{field.name}={_placeholder(field.type)}", field.metadata["help"]))
        rows[-1] = (rows[-1][0], f"{rows[-1][1]} [{shown}]")
    width = max(len(flag) for flag, _ in rows)
    return [f"  {flag:<{width}}  {text}" for flag, text in rows]


def _placeholder(kind: Any) -> str:
    return {int: "N", float: "X", bool: "True|False"}.get(kind, "TEXT")
