"""`gpt-numpy prepare`: turns text files into a folder of tokens."""

from pathlib import Path, PurePath

from gpt_numpy.base.errors import InputError
from gpt_numpy.cli.options import PrepareConfig
from gpt_numpy.cli.settings import Types, split
from gpt_numpy.data.prepare import prepare


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
        tokenizer=config.tokenizer,
        vocab_size=config.vocab_size,
        separator=config.separator,
        val_share=config.val_share,
        say=lambda text: print(text, flush=True),
    )
    print(f"written to {folder}; train with: gpt-numpy train tiny --dataset={config.dataset}")
    return 0
