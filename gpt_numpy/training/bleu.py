"""BLEU of translations, by the package that computes it as it is published."""

from collections.abc import Sequence
from typing import Any

from gpt_numpy.base.errors import InputError


def bleu_score(translations: Sequence[str], references: Sequence[str]) -> float:
    """The corpus BLEU of sacrebleu with its defaults, from 0 to 100.

    Raises `InputError` when sacrebleu is not installed.
    """
    return float(sacrebleu().corpus_bleu(list(translations), [list(references)]).score)


def sacrebleu() -> Any:
    """The package, imported where it is used.

    Raises `InputError` when it is not installed.
    """
    try:
        import sacrebleu
    except ImportError:
        raise InputError(
            "BLEU needs the package sacrebleu: pip install 'gpt_numpy[translate]'"
        ) from None
    return sacrebleu
