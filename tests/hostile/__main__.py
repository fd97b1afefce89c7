"""The campaign at full size: every kind in its own process, then 1,000 damaged pickles.

    python -m tests.hostile              everything
    python -m tests.hostile --list       the kinds of files
    python -m tests.hostile KIND         one of them

Each must be refused with an `InputError` within a second and with at most 64 MB more memory, and
nothing may be executed: an audit hook objects to everything that is not reading.
"""

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gpt_numpy.base.errors import InputError
from tests.hostile.files import KINDS, MARK, torch_file
from tests.hostile.watch import watched

SECONDS, MEGABYTES = 1.0, 64
PICKLES = 1000
FRAGMENTS = (
    b"(", b"t", b"R", b"N", b"X\x01\0\0\0a", b"}", b"]", b"b", b"\x81", b"q\0", b"h\0", b"s",
    b"Q", b"o", b"\x93",
)  # fmt: skip


def one(name):
    """Read the hostile file of this name and print the outcome; 1 if it was not refused."""
    with tempfile.TemporaryDirectory() as folder:
        # Made in a process of its own, as making it may take more memory than reading it.
        code = f"from pathlib import Path; from tests.hostile.files import KINDS; KINDS[{name!r}]"
        subprocess.run([sys.executable, "-c", f"{code}(Path({folder!r}))"], check=True)
        kept = {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}
        size = sum(map(len, kept.values()))
        del kept
        read = _reader(name, Path(folder))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        try:
            with watched(folder):
                read()
            said = "READ"
        except InputError as error:
            said = "refused: " + str(error).replace(folder, "")[:70]
        seconds = time.perf_counter() - start
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        bad = said == "READ" or seconds > SECONDS or grown > MEGABYTES
        bad = bad or Path(MARK).exists()
        verdict = f"{'BAD ' if bad else 'ok  '} {seconds:5.2f} s {grown:5.0f} MB"
        print(f"{verdict} {size:>11,} B  {name}: {said}")
        return int(bad)


def _reader(name, folder):
    """The function that reads the files of a folder."""
    import gpt_numpy as gn
    from gpt_numpy.data.dataset import open_dataset
    from gpt_numpy.data.tokenizers import byte_pairs as bpe

    gn.from_pretrained  # noqa: B018 - imports what it needs, which is not the file's doing
    if name.startswith("ours"):
        return lambda: gn.load(folder / "ckpt.npz")
    if name.startswith("meta.pkl"):
        return lambda: open_dataset(str(folder), say=lambda text: None)
    if name.startswith("tokenizer"):
        import tokenizers  # noqa: F401

        return lambda: bpe.BPETokenizer.from_file(folder / "tokenizer.json")
    return lambda: gn.from_pretrained(folder, ops="reference")


def damaged(count):
    """Write random pickles of calls into a PyTorch checkpoint; how many were refused."""
    import gpt_numpy as gn

    rng = random.Random(0)
    refused = 0
    calls = [b"cos\nsystem\n", b"cbuiltins\neval\n", b"cbuiltins\nopen\n", b"cpickle\nloads\n"]
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(count):
            parts = [rng.choice([*calls, *FRAGMENTS]) for _ in range(rng.randrange(1, 12))]
            data = b"\x80\x02" + b"".join(parts) + rng.choice(calls) + b"(X\x01\0\0\0atR."
            torch_file(Path(folder), data)
            try:
                with watched(folder):
                    gn.from_pretrained(folder)
            except InputError:
                refused += 1
    return refused


def main():
    """Run everything, or one kind; the exit status is 1 when anything got through."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.hostile", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("kind", nargs="?", choices=KINDS, metavar="KIND", help="only this one")
    parser.add_argument("--list", action="store_true", help="print the kinds, run nothing")
    options = parser.parse_args()
    if options.list:
        print(*KINDS, sep="\n")
        return 0
    if options.kind:
        return one(options.kind)
    command = [sys.executable, "-m", "tests.hostile"]
    failed = [kind for kind in KINDS if subprocess.run([*command, kind]).returncode]
    refused = damaged(PICKLES)
    print(
        f"{len(KINDS) - len(failed)} of {len(KINDS)} kinds refused; "
        f"{refused} of {PICKLES} hostile pickles refused, none executed"
    )
    return int(bool(failed) or refused != PICKLES or Path(MARK).exists())


if __name__ == "__main__":
    sys.exit(main())
