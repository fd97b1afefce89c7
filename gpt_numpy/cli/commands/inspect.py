"""`gpt-numpy inspect`: what every layer of a trained model does with a text, and its gradients."""

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.errors import InputError
from gpt_numpy.cli.options import InspectConfig
from gpt_numpy.cli.settings import Types, gather, mute, only_flags
from gpt_numpy.inspection.page.assemble import write
from gpt_numpy.inspection.page.contents import contents
from gpt_numpy.inspection.summary.statistics import rows
from gpt_numpy.inspection.summary.table import table
from gpt_numpy.inspection.trace.trace import Trace, trace
from gpt_numpy.model.memory import check_memory
from gpt_numpy.training.checkpoint import Run, load
from gpt_numpy.training.run_folder import find_checkpoint


def run(words: list[str], types: Types) -> int:
    """`gpt-numpy inspect`."""
    config = InspectConfig(**gather(only_flags("inspect", words), types, mute))
    trained = load(find_checkpoint(config.out_dir, config.checkpoint), ops=config.ops or None)
    seen = trace_of_text(trained, config)
    if config.html:
        with np.errstate(all="ignore"):
            size = write(config.html, contents(trained, seen, config.out_dir, config.text))
        print(f"page in {config.html}, {size / 1e6:.1f} MB: open it in a browser")
        return 0
    print("\n".join(table(seen, rows(seen, trained.optimizer))))
    return 0


def trace_of_text(trained: Run, config: InspectConfig) -> Trace:
    """The trace of the run's model reading the text, each token the target of the one before.

    Raises
    ------
    InputError : a text that the model cannot read, or a pattern that matches nothing.
    """
    tokens = _tokens_of(trained, config.text)
    room = trained.config.block_size + 1
    if not 2 <= len(tokens) <= room:
        raise InputError(
            f"text={_short(config.text)} has {len(tokens)} token{'s' * (len(tokens) != 1)}: "
            f"give 2 to {room}, as many as the model sees at once and one more"
        )
    # Parameters, gradients and the optimizer's two moments.
    size = trained.model.dtype.itemsize
    check_memory(trained.config, 1, itemsize=size, copies=4)
    patterns = tuple(part.strip() for part in config.keep.split(","))
    with np.errstate(all="ignore"):
        return trace(trained.model, tokens[None, :-1], tokens[None, 1:], keep=patterns)


def _tokens_of(trained: Run, text: str) -> Array:
    name = f"text={_short(text)}"
    if not text:
        raise InputError("text is empty: give the model something to read with --text='...'")
    if trained.tokenizer is not None:
        try:
            return trained.tokenizer.encode(text)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
    try:
        return np.array([int(word) for word in text.split()], dtype=np.int64)
    except (ValueError, OverflowError):
        raise InputError(
            f"{name}: this run has no tokenizer (its data came as tokens); "
            "give token numbers, such as --text='5 17 2'"
        ) from None


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
