"""Folders that last as long as a block."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gpt_numpy.files.reading import os_errors_as_input_errors


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that lasts as long as the block; `InputError` where none can be made."""
    advice = "set TMPDIR to a folder that can be written"
    with contextlib.ExitStack() as stack:
        with os_errors_as_input_errors("there is no folder for temporary files", advice):
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix="gpt_numpy-"))
        yield Path(name)
