"""Mistakes in what survives: resuming, the draws of batches, and how a checkpoint is written.

O10, D3, D4: a run that goes on is another than one that was never stopped. K: files.
"""

from .mistake import Mistake, edit

_INDEX = "index=self.state.iteration * config.gradient_accumulation_steps + micro_step,"
_SAFELY = """            _flush(file.fileno())
        os.replace(temporary, path)
"""

MISTAKES = [
    Mistake(
        edit(
            "O10", "resuming: AdamW counts its steps from the beginning", "training/checkpoint.py",
            "optimizer.steps = steps\n", "optimizer.steps = 0\n",
        ),
        ("resume",),
    ),
    Mistake(
        edit(
            "D3", "batches: drawn from a stream that a resumed run begins again",
            "training/loop.py",
            _INDEX, 'index=next(self.__dict__.setdefault("_drawn", iter(range(1 << 30)))),',
        ),
        ("resume",),
    ),
    Mistake(
        edit(
            "D4", "batches: evaluation draws from the stream of training", "training/loop.py",
            _INDEX,
            "index=(self.state.iteration + max(self.state.evaluated, 0))"
            " * config.gradient_accumulation_steps + micro_step,",
        ),
        ("undisturbed",), ("resume",),
    ),
    Mistake(
        edit(
            "K1", "checkpoint: written in place of the last one", "files/durable.py",
            'path.parent / f"{TEMPORARY}{secrets.token_hex(8)}{path.suffix}"', "path",
            'open(temporary, "x+b")', 'open(temporary, "w+b")',
        ),
        ("crashes",), ("flushed",),
    ),
    Mistake(
        edit(
            "K2", "checkpoint: renamed before it is on the disk", "files/durable.py",
            _SAFELY, "        os.replace(temporary, path)\n",
        ),
        ("crashes",), ("flushed",),
    ),
    Mistake(
        edit(
            "K2b", "checkpoint: the folder's new entry is never flushed", "files/durable.py",
            "        raise\n    _flush_folder(path.parent)\n", "        raise\n",
        ),
        ("flushed",), ("crashes",),
    ),
    Mistake(
        edit(
            "K3", "checkpoint: a checksum that does not match is ignored", "files/durable.py",
            'raise InputError(f"{path} is damaged: its checksum does not match; use another copy")',
            "return",
        ),
        ("damage",),
    ),
]  # fmt: skip
