"""The log of a run, log.jsonl: one JSON object per line."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from gpt_numpy.base.errors import InputError
from gpt_numpy.files.durable import written_durably

LOG = "log.jsonl"


class Log:
    """Appends to the log in `folder`; with `progress` (resuming), first drops later lines.

    Without a folder nothing is written: of several processes, one writes the log.
    """

    def __init__(self, folder: Path | None, progress: dict[str, Any] | None = None) -> None:
        self.path = folder / LOG if folder else None
        if progress and self.path:
            self._drop_after(self.path, progress["iteration"], progress["evaluated"])

    def write(self, **values: Any) -> None:
        """Append one line."""
        if not self.path:
            return
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")
        except FileNotFoundError as error:
            raise InputError(
                f"cannot write {self.path}: {self.path.parent} was moved or removed while it "
                "trained; resume from its last checkpoint where it is now, or start again"
            ) from error
        except OSError as error:
            raise InputError(
                f"cannot write {self.path}: {error.strerror or error}; free disk space, then "
                "resume from the last checkpoint (--init_from=resume), or choose another --out_dir"
            ) from error

    def _drop_after(self, path: Path, iteration: int, evaluated: int) -> None:
        """Remove what was logged after the checkpoint from which the run resumes."""
        if not path.exists():
            return
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        kept = []
        for line in lines:
            # A line that a crash cut off is dropped, too.
            with suppress(ValueError, KeyError, TypeError, AttributeError):
                values = json.loads(line)
                of_evaluation = values.keys() & {"val_loss", "sample"}
                if values["iter"] <= (evaluated if of_evaluation else iteration - 1):
                    kept.append(line + "\n")
        try:
            with written_durably(path) as file:
                file.write("".join(kept).encode())
        except OSError as error:
            raise InputError(
                f"cannot write {path}: {error.strerror or error}; free disk space, or make it "
                "writable, then resume again"
            ) from error
