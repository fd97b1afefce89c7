"""Tokenizers in files: tokenizer.json, and the vocabulary files of GPT-2."""

import json
from pathlib import Path
from typing import Any, TypeAlias

from gpt_numpy.base.errors import InputError
from gpt_numpy.data.tokenizers.byte_pairs import END_OF_TEXT
from gpt_numpy.data.tokenizers.byte_pairs import BPETokenizer as BPETokenizer
from gpt_numpy.data.tokenizers.characters import CharTokenizer, _short
from gpt_numpy.files.durable import written_durably

_DESCRIPTION_LIMIT = 1 << 24  # bytes; every character that there is takes about as many


Tokenizer: TypeAlias = CharTokenizer | BPETokenizer


def tokenizer_from_json(saved: dict[str, Any]) -> Tokenizer:
    """The tokenizer that `to_json` described.

    Raises `InputError` when it is not exactly such a description.
    """
    if not isinstance(saved, dict):
        raise InputError(f"tokenizer is of type {type(saved).__name__}: it must be an object")
    keys: dict[Any, tuple[str, type]] = {
        CharTokenizer.kind: ("characters", list),
        BPETokenizer.kind: ("tokenizer", str),
    }
    kind = saved.get("kind")
    if not isinstance(kind, str) or kind not in keys:
        raise InputError(
            f"tokenizer has kind={_short(kind)}: this version knows {' and '.join(map(repr, keys))}"
        )
    key, wanted = keys[kind]
    if saved.keys() != {"kind", key}:
        raise InputError(
            f"tokenizer has the keys {_short(sorted(map(str, saved)))}: "
            f"a {kind} tokenizer has exactly 'kind' and {key!r}"
        )
    if not isinstance(saved[key], wanted):
        raise InputError(
            f"tokenizer has {key}={_short(saved[key])}: it must be a {wanted.__name__}"
        )
    return CharTokenizer(saved[key]) if kind == CharTokenizer.kind else BPETokenizer(saved[key])


# The files of a folder that can hold a tokenizer. Characters have no form that others know.
TOKENIZER, CHARACTERS = "tokenizer.json", "gpt_numpy_tokenizer.json"


_VOCABULARIES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))


def read_tokenizer(folder: Path) -> Tokenizer | None:
    """The tokenizer that a folder holds; None when there is none.

    Raises `InputError` when there is one that is not known, or the library is not installed.
    """
    if (folder / TOKENIZER).is_file():
        return BPETokenizer.from_file(folder / TOKENIZER)
    for vocabulary, merges in _VOCABULARIES:
        if (folder / vocabulary).is_file() and (folder / merges).is_file():
            return BPETokenizer.from_vocabulary(folder / vocabulary, folder / merges)
    if not (folder / CHARACTERS).is_file():
        return None
    with (folder / CHARACTERS).open("rb") as file:
        data = file.read(_DESCRIPTION_LIMIT + 1)
    try:
        return tokenizer_from_json(json.loads(data[:_DESCRIPTION_LIMIT]))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{folder / CHARACTERS}: {_short(str(error))}") from None


def write_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    """Write the file that `read_tokenizer` reads, and for byte pairs what transformers wants."""
    files = {CHARACTERS: json.dumps(tokenizer.to_json())}
    if isinstance(tokenizer, BPETokenizer):
        names: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
        if tokenizer.end_of_text is not None:
            names |= dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT)
        files = {TOKENIZER: tokenizer.description, "tokenizer_config.json": json.dumps(names)}
    for name, content in files.items():
        with written_durably(folder / name) as file:
            file.write(content.encode())
