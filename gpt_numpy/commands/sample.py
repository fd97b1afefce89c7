"""`gpt-numpy sample`: a trained model goes on from a text."""

from pathlib import Path

import numpy as np

from gpt_numpy.arrays import Array
from gpt_numpy.checkpoint import Run, load
from gpt_numpy.config import SampleConfig
from gpt_numpy.errors import InputError
from gpt_numpy.generation import generate
from gpt_numpy.interop import open_run
from gpt_numpy.memory import check_memory
from gpt_numpy.runs import find_checkpoint
from gpt_numpy.settings import Types, gather, mute, only_flags

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
    with np.errstate(all="ignore"):
        out = generate(
            trained.model,
            np.tile(start, (config.num_samples, 1)),
            config.max_new_tokens,
            temperature=config.temperature,
            top_k=config.top_k,
            top_p=config.top_p,
            seed=config.seed,
        )
    for row in out:
        print(_text(trained, row))
        print(RULE)
    return 0


def _opened(config: SampleConfig) -> Run:
    if config.init_from != "resume":
        return open_run(config.init_from, checkpoint=config.checkpoint, ops=config.ops or None)
    return load(find_checkpoint(config.out_dir, config.checkpoint), ops=config.ops or None)


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


def _text(run: Run, tokens: Array) -> str:
    if run.tokenizer is not None:
        return run.tokenizer.decode(tokens)
    return " ".join(map(str, tokens))


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
