"""`gpt-numpy inspect`: every activation and gradient of a trained model that reads a text.

An encoder-decoder reads a source, and a target, or the one that it writes itself.
"""

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.checks import shown
from gpt_numpy.base.errors import InputError
from gpt_numpy.base.progress import Progress
from gpt_numpy.cli.options import InspectConfig
from gpt_numpy.cli.prompts import encode_setting, encode_source, encode_target
from gpt_numpy.cli.settings import Types, only_flags
from gpt_numpy.config.decoding import Decoding
from gpt_numpy.config.transformer import BEGIN, END
from gpt_numpy.data.sentences import text_of
from gpt_numpy.generation.translating import hypotheses
from gpt_numpy.inspection.page.alignment import alignment_contents
from gpt_numpy.inspection.page.assemble import assemble, assemble_alignment, write_page
from gpt_numpy.inspection.page.contents import contents
from gpt_numpy.inspection.summary.statistics import array_statistics
from gpt_numpy.inspection.summary.table import table
from gpt_numpy.inspection.trace.trace import Trace, trace
from gpt_numpy.interop import open_out_dir
from gpt_numpy.model.encoder_decoder import Transformer
from gpt_numpy.model.memory import check_memory
from gpt_numpy.training.checkpoint import Run


def run(words: list[str], types: Types) -> int:
    """`gpt-numpy inspect`."""
    config = InspectConfig(**only_flags("inspect", words, types))
    if config.html and not config.html.lower().endswith((".html", ".htm")):
        raise InputError(f"html={shown(config.html)}: must end in .html")  # not a checkpoint
    trained = open_out_dir(
        config.out_dir, checkpoint=config.checkpoint, ops=config.ops or None, say=print, pairs=True
    )
    if not config.text:
        raise InputError("text is empty: give the model something to read with --text='...'")
    pairs = isinstance(trained.model, Transformer)
    if config.target and not pairs:
        raise InputError(
            f"target={shown(config.target)}: a GPT reads one text, in which the target of each "
            "token is the next one; leave it out"
        )
    seen = trace_of_pair(trained, config) if pairs else trace_of_text(trained, config)
    if config.html:
        checked = Progress(len(seen.backward_order), unit="gradients checked")
        with np.errstate(all="ignore"), checked:
            if pairs:
                found = alignment_contents(
                    trained, seen, config.out_dir, bool(config.target), checked.advance
                )
            else:
                found = contents(trained, seen, config.out_dir, config.text, checked.advance)
        size = write_page(config.html, found, assemble_alignment if pairs else assemble)
        print(f"page in {config.html}, {size / 1e6:.1f} MB: open it in a browser")
        return 0
    print("\n".join(table(seen, array_statistics(seen, trained.optimizer))))
    return 0


def trace_of_text(trained: Run, config: InspectConfig) -> Trace:
    """The trace of the run's model reading the text, each token the target of the one before."""
    tokens = encode_setting(trained, "text", config.text)
    most = trained.config.block_size + 1
    if not 2 <= len(tokens) <= most:
        raise InputError(
            f"text={shown(config.text)} has {len(tokens)} token{'s' * (len(tokens) != 1)}: "
            f"give 2 to {most}, one more than the model's context at most"
        )
    return _traced(trained, config, tokens[None, :-1], tokens[None, 1:])


def trace_of_pair(trained: Run, config: InspectConfig) -> Trace:
    """The trace of an encoder-decoder reading the text, and the target or its own translation."""
    source = encode_source(trained, f"text={shown(config.text)}", config.text)
    if config.target:
        target = encode_target(trained, f"target={shown(config.target)}", config.target)
    else:
        with np.errstate(all="ignore"):
            (written,) = hypotheses(trained.model, [source], Decoding())
        target = np.array([BEGIN, *written.tokens, END])
        assert trained.tokenizer is not None
        print(f"the model translates: {text_of(trained.tokenizer, written.tokens)}")
    return _traced(trained, config, source[None], target[None])


def _traced(trained: Run, config: InspectConfig, tokens: Array, targets: Array) -> Trace:
    # Parameters, gradients and the optimizer's two moments.
    size = trained.model.dtype.itemsize
    check_memory(trained.config, 1, itemsize=size, copies=4)
    patterns = tuple(part.strip() for part in config.keep.split(","))
    with np.errstate(all="ignore"):
        return trace(trained.model, tokens, targets, keep=patterns)
