"""Deliberate mistakes in a copy of the package, to see whether the checks notice them.

A mutation replaces a piece of one source file. The piece must occur exactly once, so that a
mutation that no longer fits the code is noticed. `LIVE` holds the five that `gpt-numpy selfcheck`
applies; a model with any of them still trains. The catalogue of all is in tests/mutations.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from gpt_numpy.base.errors import InputError

PACKAGE = Path(__file__).parent.parent


@dataclass(frozen=True)
class Mutation:
    """A mistake: `edits` are (old, new) pieces of the file `path`, relative to the package."""

    name: str
    what: str
    path: str
    edits: tuple[tuple[str, str], ...]


def copy_package(folder: Path) -> Path:
    """Copy the sources of this package into `folder`; return the path of the copy."""
    target = folder / PACKAGE.name
    shutil.copytree(PACKAGE, target, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def mutated(mutation: Mutation, package: Path) -> str:
    """The source of the mutation's file in `package`, with the mistake in it."""
    source = (package / mutation.path).read_text(encoding="utf-8")
    for old, new in mutation.edits:
        count = source.count(old)
        if count != 1 or old == new:
            raise InputError(
                f"mutation {mutation.name}: its source occurs {count} times in {mutation.path}, "
                f"not once: {old.splitlines()[0]!r}"
            )
        source = source.replace(old, new)
    return source


LIVE = (
    Mutation(
        "M05",
        "layer norm: backward uses rstd without eps",
        "reference/layernorm.py",
        (
            (
                "    xhat = (x - mean[..., None]) * rstd[..., None]\n",
                "    rstd = 1 / np.sqrt(1 / rstd**2 - EPS)\n"
                "    xhat = (x - mean[..., None]) * rstd[..., None]\n",
            ),
        ),
    ),
    Mutation(
        "M20",
        "GELU: a digit is missing in the derivative of GPT-2's, 0.04715",
        "reference/activation.py",
        (("(1 + 3 * TANH_CUBIC * x * x)", "(1 + 3 * 0.04715 * x * x)"),),
    ),
    Mutation(
        "M10",
        "attention: the gradient of the keys lacks 1 / sqrt(D)",
        "reference/attention.py",
        (("ds.swapaxes(-1, -2) @ Q * scale", "ds.swapaxes(-1, -2) @ Q"),),
    ),
    Mutation(
        "M31",
        "embedding: a token that occurs twice gets only one gradient",
        "reference/embedding.py",
        (
            (
                "np.add.at(dwte, tokens, drow if scale == 1 else drow * scale)",
                "dwte[tokens] += drow",
            ),
        ),
    ),
    Mutation(
        "M32",
        "tied embedding: the head's half of the gradient is missing",
        "reference/embedding.py",
        (("    if not tied:\n        dwte[...] = 0\n", "    dwte[...] = 0\n"),),
    ),
)
