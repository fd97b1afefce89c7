"""`gpt-numpy inspect`: every activation and gradient of a trained model that reads a text."""

import numpy as np

from gpt_numpy.base.checks import shown
from gpt_numpy.base.errors import InputError
from gpt_numpy.base.progress import Progress
from gpt_numpy.cli.options import InspectConfig
from gpt_numpy.cli.prompts import encode_setting
from gpt_numpy.cli.settings import Types, only_flags
from gpt_numpy.inspection.page.assemble import write_page
from gpt_numpy.inspection.page.contents import contents
from gpt_numpy.inspection.summary.statistics import array_statistics
from gpt_numpy.inspection.summary.table import table
from gpt_numpy.inspection.trace.trace import Trace, trace
from gpt_numpy.interop import open_out_dir
from gpt_numpy.model.memory import check_memory
from gpt_numpy.training.checkpoint import Run


def run(words: list[str], types: Types) -> int:
    """`gpt-numpy inspect`."""
    config = InspectConfig(**only_flags("inspect", words, types))
    if config.html and not config.html.lower().endswith((".html", ".htm")):
        raise InputError(f"html={shown(config.html)}: must end in .html")  # not a checkpoint
    trained = open_out_dir(
        config.out_dir, checkpoint=config.checkpoint, ops=config.ops or None, say=print
    )
    seen = trace_of_text(trained, config)
    if config.html:
        checked = Progress(len(seen.backward_order), unit="gradients checked")
        with np.errstate(all="ignore"), checked:
            found = contents(trained, seen, config.out_dir, config.text, checked.advance)
        size = write_page(config.html, found)
        print(f"page in {config.html}, {size / 1e6:.1f} MB: open it in a browser")
        return 0
    print("\n".join(table(seen, array_statistics(seen, trained.optimizer))))
    return 0


def trace_of_text(trained: Run, config: InspectConfig) -> Trace:
    """The trace of the run's model reading the text, each token the target of the one before."""
    if not config.text:
        raise InputError("text is empty: give the model something to read with --text='...'")
    tokens = encode_setting(trained, "text", config.text)
    most = trained.config.block_size + 1
    if not 2 <= len(tokens) <= most:
        raise InputError(
            f"text={shown(config.text)} has {len(tokens)} token{'s' * (len(tokens) != 1)}: "
            f"give 2 to {most}, one more than the model's context at most"
        )
    # Parameters, gradients and the optimizer's two moments.
    size = trained.model.dtype.itemsize
    check_memory(trained.config, 1, itemsize=size, copies=4)
    patterns = tuple(part.strip() for part in config.keep.split(","))
    with np.errstate(all="ignore"):
        return trace(trained.model, tokens[None, :-1], tokens[None, 1:], keep=patterns)
