"""`gpt-numpy prepare`: turns text files into a folder of tokens."""

from pathlib import Path, PurePath

from gpt_numpy.base.errors import InputError
from gpt_numpy.base.shell import quoted
from gpt_numpy.cli.options import PrepareConfig
from gpt_numpy.cli.prompts import with_line_breaks
from gpt_numpy.cli.settings import Types, split
from gpt_numpy.data.prepare import KINDS, prepare
from gpt_numpy.data.tokenizers.tokenizer import Tokenizer
from gpt_numpy.interop import open_run
from gpt_numpy.interop.nanogpt import CHECKPOINT
from gpt_numpy.training.run_folder import BEST, LAST


def run(words: list[str], types: Types) -> int:
    """`gpt-numpy prepare`."""
    files, flags = split(words, types)
    config = PrepareConfig(**flags)
    if not files:
        raise InputError("name the text files: gpt-numpy prepare FILE... --dataset=NAME")
    parts = PurePath(config.dataset).parts
    if not parts or ".." in parts or PurePath(config.dataset).is_absolute():
        raise InputError(f"dataset={config.dataset!r}: must be the NAME of a new folder data/NAME")
    folder = Path("data") / config.dataset
    prepare(
        files,
        folder,
        tokenizer=_of_a_model(config.tokenizer) or config.tokenizer,
        vocab_size=config.vocab_size,
        separator=with_line_breaks(config.separator),
        val_share=config.val_share,
        say=lambda text: print(text, flush=True),
    )
    name = quoted(config.dataset)
    print(f"written to {folder}; train with: gpt-numpy train tiny --dataset={name}")
    return 0


def _of_a_model(source: str) -> Tokenizer | None:
    """The tokenizer of a run or of nanoGPT's checkpoint; None where `source` names something else.

    Raises `InputError` when the model has no tokenizer, or cannot be read.
    """
    path = Path(source)
    inside = any((path / name).is_file() for name in (LAST, BEST, CHECKPOINT))
    if source in KINDS or not (inside or path.suffix in (".npz", ".pt")):
        return None
    found = open_run(path).tokenizer
    if found is None:
        raise InputError(
            f"tokenizer={source!r}: the model there has none: put its tokenizer.json next to it"
        )
    return found
