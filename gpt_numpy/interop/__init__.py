"""Models to and from other software: GPT-2 folders of Hugging Face, and nanoGPT's files."""

from gpt_numpy.interop.open_model import (
    cropped,
    export,
    from_pretrained,
    holds_foreign_model,
    open_nanogpt_run,
    open_out_dir,
    open_run,
)

__all__ = [
    "cropped",
    "export",
    "from_pretrained",
    "holds_foreign_model",
    "open_nanogpt_run",
    "open_out_dir",
    "open_run",
]
