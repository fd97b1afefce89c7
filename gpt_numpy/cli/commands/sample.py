"""`gpt-numpy sample`: a trained model continues a prompt."""

import contextlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.checks import shown
from gpt_numpy.base.errors import InputError
from gpt_numpy.cli.options import SampleConfig
from gpt_numpy.cli.precision import SAMPLING, note_of_emulation
from gpt_numpy.cli.prompts import encode_setting, with_line_breaks
from gpt_numpy.cli.settings import Types, field_types, gather, only_flags, settings_of
from gpt_numpy.config.choices import DTYPES
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.files.reading import read_bounded
from gpt_numpy.generation.generate import Drawn, check_prompts, stream
from gpt_numpy.generation.sampling import Sampling
from gpt_numpy.generation.streaming import TextStream
from gpt_numpy.interop import open_out_dir, open_run
from gpt_numpy.model.implementations import array_type
from gpt_numpy.model.memory import check_memory
from gpt_numpy.reference.linear import BFLOAT16
from gpt_numpy.training.checkpoint import Run

RULE = "---------------"
_LONGEST_PROMPT = 2**28  # bytes of a file; a device may never end


def run(words: list[str], types: Types) -> int:
    """`gpt-numpy sample`."""
    settings = _settings(words, types)
    config = SampleConfig(**settings)
    trained = _load_model(config)
    if config.dtype:
        _set_precision(trained, config.dtype)
    for line in note_of_emulation(trained.model, SAMPLING):
        _report(line)
    start = _start_tokens(trained, config.start) if "start" in settings else _default_start(trained)
    if trained.tokenizer is not None and trained.tokenizer.vocab_size < trained.config.vocab_size:
        _report(
            f"the model has {trained.config.vocab_size} tokens, its tokenizer "
            f"{trained.tokenizer.vocab_size}: the others are not drawn"
        )
    token_bytes = 8 * config.num_samples * (len(start) + config.max_new_tokens)
    copies = 2 * trained.model.n_params if trained.model.products == BFLOAT16 else 0
    check_memory(
        trained.config,
        config.num_samples,
        itemsize=trained.model.dtype.itemsize,
        copies=2,
        more=token_bytes + copies,
        settings=f"num_samples={config.num_samples}, max_new_tokens={config.max_new_tokens}",
    )
    if config.window == "half" and len(start) + config.max_new_tokens > trained.config.block_size:
        _report(
            "window=half: the text is longer than the context; window=full would write another one"
        )
    with np.errstate(all="ignore"):
        _write(trained, start, config)
    return 0


def _settings(words: list[str], types: Types) -> dict[str, Any]:
    """The settings of flags and files; in a file, those of training alone are passed over."""
    files = [w for w in words if not w.startswith("--") and w.endswith((".py", ".toml"))]
    flags = only_flags("sample", (word for word in words if word not in files), types)
    values = gather(words, {**field_types(GPTConfig, TrainConfig), **types})
    if values.get("init_from") == "scratch" and "init_from" not in flags:
        del values["init_from"]  # how training began
    return settings_of(SampleConfig, values)


def _load_model(config: SampleConfig) -> Run:
    ops = config.ops or None
    how: dict[str, Any] = {"checkpoint": config.checkpoint, "ops": ops, "say": _report}
    if config.init_from != "resume":
        return open_run(config.init_from, **how)
    return open_out_dir(config.out_dir, **how)


def _set_precision(trained: Run, dtype: str) -> None:
    """Compute as asked, with the weights as they are; report what they cannot be computed in."""
    model = trained.model
    if dtype in DTYPES[:3] and array_type(dtype) == model.dtype:
        model.set_precision(dtype)
    else:
        _report(f"dtype={dtype} has no effect: the run's is {model.precision}")


def _write(trained: Run, start: Array, config: SampleConfig) -> None:
    """Stream the first unfinished text; print each of the others when its turn comes."""
    how = Sampling(
        config.temperature,
        config.top_k,
        config.top_p,
        config.min_p,
        config.repetition_penalty,
        config.seed,
        0 if trained.tokenizer is None else trained.tokenizer.vocab_size,
    )
    prompts, _ = check_prompts(trained.model, np.tile(start, (config.num_samples, 1)))
    if trained.tokenizer is None:
        _report("the model has no tokenizer: its tokens are printed as numbers")
    texts = [Sample(trained, start, config) for _ in prompts]
    current = 0  # the text that is being printed
    print(texts[0].take(), end="", flush=True)
    drawn_tokens = stream(
        trained.model, prompts, config.max_new_tokens, how, window=config.window,
        log_probabilities=config.logprobs, finished=lambda drawn: texts[drawn.sequence].add(drawn),
    )  # fmt: skip
    for drawn in drawn_tokens:
        if drawn.sequence == current:
            print(texts[current].take(), end="", flush=True)
            while current + 1 < len(texts) and texts[current].stream.stopped:
                print(texts[current].rest())
                current += 1
                print(texts[current].take(), end="", flush=True)
    for text in texts[current:]:
        print(text.take() + text.rest())


class Sample:
    """One text: the part not printed yet, and its log-probability."""

    def __init__(self, trained: Run, start: Array, config: SampleConfig) -> None:
        decode = trained.tokenizer.decode if trained.tokenizer is not None else _numbers
        self.stream = TextStream(decode, with_line_breaks(config.stop))
        self._ready = decode(start)
        self._logprobs, self._sum, self._count = config.logprobs, 0.0, 0

    def add(self, drawn: Drawn) -> bool:
        """Add a token; return whether the text ends with it."""
        self._ready += self.stream.add(drawn.token)
        self._sum += drawn.log_probability or 0.0
        self._count += 1
        return self.stream.stopped

    def take(self) -> str:
        """The part that is new since the last call."""
        text, self._ready = self._ready, ""
        return text

    def rest(self) -> str:
        """The part held back because it may begin the stop string, and the rule below the text."""
        text = self.stream.end() + "\n"
        if self._logprobs:
            mean = self._sum / max(self._count, 1)
            text += f"log-probability {self._sum:.4f}, {mean:.4f} a token\n"
        return text + RULE


def _start_tokens(run: Run, text: str) -> Array:
    text = "\n" if text == "\\n" else text
    name = f"start={shown(text)}"
    if text.startswith("FILE:"):
        try:
            text = read_bounded(Path(text[5:]).expanduser(), _LONGEST_PROMPT).decode("utf-8-sig")
        except OSError as error:
            raise InputError(
                f"{name}: cannot read the file: {error.strerror or error}; write FILE:PATH"
            ) from error
        except UnicodeDecodeError as error:
            raise InputError(f"{name}: the file is not UTF-8 text: {error}") from error
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
    if not text:
        raise InputError(f"{name} is empty: give at least one character to continue")
    if run.tokenizer is None and text == "\n":
        return _default_start(run)
    return encode_setting(run, "start", text)


def _default_start(run: Run) -> Array:
    """A line break, as in nanoGPT, or what the model knows instead: a space, or its token 0."""
    start = np.zeros(1, dtype=np.int64)
    if run.tokenizer is None:
        return start
    for text in ("\n", " ", run.tokenizer.decode(start)):
        with contextlib.suppress(InputError):
            start = run.tokenizer.encode(text)
            break
    if text != "\n":
        _report(f"no start given, and the model knows no line break: it starts with {text!r}")
    return start


def _report(line: str) -> None:
    print(line, file=sys.stderr)


def _numbers(tokens: Array) -> str:
    return "".join(f"{token} " for token in tokens)
