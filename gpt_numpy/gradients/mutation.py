"""Deliberate mistakes, put into a copy of the package: what a check is worth is what it notices.

A mutation is a text of one source file and what replaces it. The text must occur exactly once, so
that a mutation that no longer fits the code is noticed. `LIVE` are the five that
`gpt-numpy selfcheck` applies on the spot, all in `reference/`; under each of them a model still
trains. The campaign of the repository, with all mutations, is in tests/mutations.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from gpt_numpy.base.errors import InputError

PACKAGE = Path(__file__).parent.parent


@dataclass(frozen=True)
class Mutation:
    """A mistake: in the file `path` of the package, each text of `edits` becomes another."""

    name: str
    what: str
    path: str
    edits: tuple[tuple[str, str], ...]


def copy_package(folder: Path) -> Path:
    """Copy the sources of this package into `folder`, and say where the copy is."""
    target = folder / PACKAGE.name
    shutil.copytree(PACKAGE, target, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def mutated(mutation: Mutation, package: Path) -> str:
    """The text of the mutation's file in `package`, with the mistake made.

    Raises
    ------
    InputError : a text occurs not exactly once.
    """
    text = (package / mutation.path).read_text(encoding="utf-8")
    for old, new in mutation.edits:
        count = text.count(old)
        if count != 1 or old == new:
            raise InputError(
                f"mutation {mutation.name}: its text occurs {count} times in {mutation.path}, "
                f"not once: {old.splitlines()[0]!r}"
            )
        text = text.replace(old, new)
    return text


LIVE = (
    Mutation(
        "M05",
        "layer norm's backward uses a rstd without eps",
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
        "a digit is missing in the derivative of GPT-2's GELU: 0.04715",
        "reference/activation.py",
        (("(1 + 3 * TANH_CUBIC * x * x)", "(1 + 3 * 0.04715 * x * x)"),),
    ),
    Mutation(
        "M10",
        "attention: the gradient of the keys lacks 1 / sqrt(D)",
        "reference/attention.py",
        (
            (
                "dK[...] = ds.swapaxes(-1, -2) @ Q * scale",
                "dK[...] = ds.swapaxes(-1, -2) @ Q",
            ),
        ),
    ),
    Mutation(
        "M31",
        "embedding: of a token that occurs twice one gradient is missing",
        "reference/embedding.py",
        (("np.add.at(dwte, tokens, drow)", "dwte[tokens] += drow"),),
    ),
    Mutation(
        "M32",
        "tied embedding: the head's half of the gradient is missing",
        "reference/embedding.py",
        (("    if not tied:\n        dwte[...] = 0\n", "    dwte[...] = 0\n"),),
    ),
)
