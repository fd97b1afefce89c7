"""`gpt-numpy translate`: a trained encoder-decoder writes the target of each source."""

import sys
from collections.abc import Iterator

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.checks import shown
from gpt_numpy.base.errors import InputError
from gpt_numpy.base.progress import is_terminal
from gpt_numpy.cli.options import TranslateConfig
from gpt_numpy.cli.prompts import encode_source
from gpt_numpy.cli.settings import Types, gather, parted, settings_of
from gpt_numpy.config.decoding import Decoding
from gpt_numpy.data.sentences import text_of
from gpt_numpy.generation.translating import hypotheses
from gpt_numpy.training.checkpoint import Run
from gpt_numpy.training.run_folder import open_translator

_LINES = 64  # of standard input that are translated at a time

Sources = Iterator[tuple[str, str]]  # what a message calls it, and its text


def run(words: list[str], types: Types) -> int:
    """`gpt-numpy translate`."""
    given, others = parted(words)
    texts = [word for word in given if not word.startswith("--")] + others
    flags = gather([word for word in given if word.startswith("--")], types)
    config = TranslateConfig(**flags)
    how = Decoding(**settings_of(Decoding, flags))
    translator = open_translator(config.out_dir, config.checkpoint, config.ops or None)
    sources = _given(texts) if texts else _of_standard_input()
    at_a_time = 1 if not texts and is_terminal(sys.stdin) else _LINES
    with np.errstate(all="ignore"):
        for group in _groups(translator, sources, at_a_time):
            for found in hypotheses(translator.model, group, how):
                assert translator.tokenizer is not None
                line = text_of(translator.tokenizer, found.tokens)
                if config.logprobs:
                    line += f"\t{found.log_probability:.4f}"
                print(line, flush=True)
    return 0


def _groups(translator: Run, sources: Sources, at_a_time: int) -> Iterator[list[Array]]:
    """The tokens of some sources at a time; those before a wrong one come before its error."""
    group: list[Array] = []
    wrong = None
    try:
        for source in sources:
            group.append(encode_source(translator, *source))
            if len(group) == at_a_time:
                yield group
                group = []
    except InputError as error:
        wrong = error
    if group:
        yield group
    if wrong is not None:
        raise wrong


def _given(texts: list[str]) -> Sources:
    return ((f"source={shown(text)}", text) for text in texts)


def _of_standard_input() -> Sources:
    """A source for each line; one that is no UTF-8 is an error."""
    if sys.stdin is None:  # closed by the shell, as in `gpt-numpy translate <&-`
        raise InputError("standard input is closed: give the texts as arguments, or in a pipe")
    try:
        for number, line in enumerate(sys.stdin, 1):
            yield f"line {number} of standard input", line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InputError(f"standard input is not UTF-8 text (byte {error.start})") from None
