"""`gpt-numpy sample`: a trained model goes on from a text."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.errors import InputError
from gpt_numpy.cli.options import SampleConfig
from gpt_numpy.cli.settings import Types, gather, mute, only_flags
from gpt_numpy.generation.generate import Drawn, check_prompts, stream
from gpt_numpy.generation.sampling import Sampling
from gpt_numpy.generation.streaming import TextStream
from gpt_numpy.interop import open_run
from gpt_numpy.model.memory import check_memory
from gpt_numpy.training.checkpoint import Run, load
from gpt_numpy.training.run_folder import find_checkpoint

RULE = "---------------"


def run(words: list[str], types: Types) -> int:
    """`gpt-numpy sample`."""
    config = SampleConfig(**gather(only_flags("sample", words), types, mute))
    trained = _opened(config)
    start = _start_tokens(trained, config)
    room = 8 * config.num_samples * (len(start) + config.max_new_tokens)
    check_memory(
        trained.config,
        config.num_samples,
        itemsize=trained.model.dtype.itemsize,
        copies=2,
        more=room,
        settings=f"num_samples={config.num_samples}, max_new_tokens={config.max_new_tokens}",
    )
    if config.window == "half" and len(start) + config.max_new_tokens > trained.config.block_size:
        print(
            "window=half: the text is longer than the context, and differs from what window=full "
            "would write",
            file=sys.stderr,
        )
    with np.errstate(all="ignore"):
        _write(trained, start, config)
    return 0


def _opened(config: SampleConfig) -> Run:
    if config.init_from != "resume":
        return open_run(config.init_from, checkpoint=config.checkpoint, ops=config.ops or None)
    return load(find_checkpoint(config.out_dir, config.checkpoint), ops=config.ops or None)


def _write(trained: Run, start: Array, config: SampleConfig) -> None:
    """Print the texts one after the other: the first as it is written, the others when it is."""
    how = Sampling(
        config.temperature,
        config.top_k,
        config.top_p,
        config.min_p,
        config.repetition_penalty,
        config.seed,
    )
    prompts, _ = check_prompts(trained.model, np.tile(start, (config.num_samples, 1)))
    texts = [Sample(trained, start, config) for _ in prompts]
    shown = 0  # the text that is being printed
    print(texts[0].take(), end="", flush=True)
    drawn_tokens = stream(
        trained.model, prompts, config.max_new_tokens, how, window=config.window,
        log_probabilities=config.logprobs, finished=lambda drawn: texts[drawn.sequence].add(drawn),
    )  # fmt: skip
    for drawn in drawn_tokens:
        if drawn.sequence == shown:
            print(texts[shown].take(), end="", flush=True)
            while shown + 1 < len(texts) and texts[shown].stopped:
                print(texts[shown].rest())
                shown += 1
                print(texts[shown].take(), end="", flush=True)
    for text in texts[shown:]:
        print(text.take() + text.rest())


class Sample:
    """One text: what of it is still to be printed, and how likely it is."""

    def __init__(self, trained: Run, start: Array, config: SampleConfig) -> None:
        self._logprobs, self._sum, self._count = config.logprobs, 0.0, 0
        stop = config.stop.replace("\\n", "\n")
        decode: Callable[[Array], str] = _numbers
        if trained.tokenizer is not None:
            decode = trained.tokenizer.decode
        self._stream = TextStream(decode, stop)
        self._ready = decode(start)

    @property
    def stopped(self) -> bool:
        """Whether the stop text has come."""
        return self._stream.stopped

    def add(self, drawn: Drawn) -> bool:
        """Add a token; whether the text ends with it."""
        self._ready += self._stream.add(drawn.token)
        self._sum += drawn.log_probability or 0.0
        self._count += 1
        return self.stopped

    def take(self) -> str:
        """What is new since the last time."""
        text, self._ready = self._ready, ""
        return text

    def rest(self) -> str:
        """What waits, and the line below the text."""
        text = self._stream.end() + "\n"
        if self._logprobs:
            mean = self._sum / max(self._count, 1)
            text += f"log-probability {self._sum:.4f}, {mean:.4f} a token\n"
        return text + RULE


def _start_tokens(run: Run, config: SampleConfig) -> Array:
    text = "\n" if config.start == "\\n" else config.start
    name = f"start={_short(text)}"
    if text.startswith("FILE:"):
        try:
            text = Path(text[5:]).read_text(encoding="utf-8-sig")
        except OSError as error:
            raise InputError(f"{name}: cannot read the file: {error.strerror or error}") from error
        except ValueError as error:
            raise InputError(f"{name}: the file is not UTF-8 text: {error}") from error
    if not text:
        raise InputError(f"{name} is empty: give at least one character to go on from")
    if run.tokenizer is not None:
        try:
            return run.tokenizer.encode(text)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
    if text == "\n":
        return np.zeros(1, dtype=np.int64)
    try:
        return np.array([int(word) for word in text.split()], dtype=np.int64)
    except ValueError:
        raise InputError(
            f"{name}: this run has no tokenizer (its data came as tokens); "
            "give token numbers, such as --start='5 17'"
        ) from None


def _numbers(tokens: Array) -> str:
    return "".join(f"{token} " for token in tokens)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
