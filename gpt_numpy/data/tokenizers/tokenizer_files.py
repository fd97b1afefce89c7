"""Save tokenizers and read them: tokenizer.json, GPT-2's vocabulary files, checkpoints."""

import json
from pathlib import Path
from typing import Any

from gpt_numpy.base.checks import shown
from gpt_numpy.base.errors import InputError
from gpt_numpy.data.tokenizers.byte_pairs import END_OF_TEXT, FILE_LIMIT, BPETokenizer
from gpt_numpy.data.tokenizers.characters import CharTokenizer
from gpt_numpy.data.tokenizers.tokenizer import Tokenizer
from gpt_numpy.files.durable import written_durably
from gpt_numpy.files.reading import read_json

# The files of a folder that can hold a tokenizer. For characters there is no common format.
TOKENIZER, CHARACTERS = "tokenizer.json", "gpt_numpy_tokenizer.json"
_VOCABULARIES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))


def tokenizer_from_json(saved: dict[str, Any]) -> Tokenizer:
    """The tokenizer that `to_json` described; `InputError` if it is not exactly such a value."""
    if not isinstance(saved, dict):
        raise InputError(f"tokenizer is of type {type(saved).__name__}: it must be an object")
    kinds: dict[Any, Any] = {
        "char": (CharTokenizer, "characters", list),
        "bpe": (BPETokenizer, "tokenizer", str),
    }
    kind = saved.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise InputError(
            f"tokenizer has kind={shown(kind)}: this version knows {' and '.join(map(repr, kinds))}"
        )
    tokenizer, key, wanted = kinds[kind]
    if saved.keys() != {"kind", key}:
        raise InputError(
            f"tokenizer has the keys {shown(sorted(map(str, saved)))}: "
            f"a {kind} tokenizer has exactly 'kind' and {key!r}"
        )
    if not isinstance(saved[key], wanted):
        raise InputError(f"tokenizer has {key}={shown(saved[key])}: must be a {wanted.__name__}")
    made: Tokenizer = tokenizer(saved[key])
    return made


def read_tokenizer(folder: Path) -> Tokenizer | None:
    """The tokenizer that a folder holds; None if it holds none.

    Raises `InputError` when it is of an unknown kind, or the library is not installed.
    """
    if (folder / TOKENIZER).is_file():
        return BPETokenizer.from_file(folder / TOKENIZER)
    for vocabulary, merges in _VOCABULARIES:
        if (folder / vocabulary).is_file() and (folder / merges).is_file():
            return BPETokenizer.from_vocabulary(folder / vocabulary, folder / merges)
    path = folder / CHARACTERS
    if not path.is_file():
        return None
    saved = read_json(path, FILE_LIMIT)
    try:
        return tokenizer_from_json(saved)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def write_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    """Write the file that `read_tokenizer` reads, and for byte pairs what transformers needs."""
    files = {CHARACTERS: json.dumps(tokenizer.to_json())}
    if isinstance(tokenizer, BPETokenizer):
        names: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
        if tokenizer.end_of_text is not None:
            names |= dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT)
        files = {TOKENIZER: tokenizer.description, "tokenizer_config.json": json.dumps(names)}
    for name, content in files.items():
        with written_durably(folder / name) as file:
            file.write(content.encode())
