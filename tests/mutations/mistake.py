"""A mutation of the list: where it goes, which checks must notice it, or why none can."""

from dataclasses import dataclass

from gpt_numpy.gradients.mutation import LIVE, Mutation


@dataclass(frozen=True)
class Mistake:
    """A mutation and the checks (checks.py) that must notice it.

    `others` are run too, for the matrix, and may notice it or not. An equivalent one changes no
    result, and `equivalent` is the proof; then `seen_by` are checks that must not notice it.
    """

    mutation: Mutation
    seen_by: tuple[str, ...]
    others: tuple[str, ...] = ()
    equivalent: str = ""

    @property
    def name(self) -> str:
        """The name in the list."""
        return self.mutation.name

    @property
    def checks(self) -> tuple[str, ...]:
        """Every check that is run."""
        return self.seen_by + self.others


def edit(name: str, what: str, path: str, *texts: str) -> Mutation:
    """A mutation from its texts: old, new, old, new, ..."""
    return Mutation(name, what, path, tuple(zip(texts[::2], texts[1::2], strict=True)))


def listed(path: str, *rows: tuple[str | tuple[str, ...], ...]) -> list[Mistake]:
    """Mistakes in one file from rows (name, what, (old, new, ...), check, ...)."""
    return [
        Mistake(edit(name, what, path, *texts), tuple(checks))
        for name, what, texts, *checks in rows
    ]


def live(name: str) -> Mutation:
    """One of the mutations that `gpt-numpy selfcheck` applies too."""
    return next(mutation for mutation in LIVE if mutation.name == name)
