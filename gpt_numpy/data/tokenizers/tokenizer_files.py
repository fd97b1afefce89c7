"""Save tokenizers and read them: tokenizer.json, GPT-2's vocabulary files, checkpoints."""

import json
import re
from pathlib import Path
from typing import Any

from gpt_numpy.base.checks import shown
from gpt_numpy.base.errors import InputError
from gpt_numpy.data.tokenizers.byte_pairs import END_OF_TEXT, FILE_LIMIT, BPETokenizer
from gpt_numpy.data.tokenizers.characters import CharTokenizer
from gpt_numpy.data.tokenizers.tokenizer import Tokenizer
from gpt_numpy.files.durable import written_durably
from gpt_numpy.files.reading import read_json

# The files of a folder that can hold a tokenizer. The second one is this project's for characters:
# the first cannot hold lone surrogates.
TOKENIZER, CHARACTERS = "tokenizer.json", "gpt_numpy_tokenizer.json"
# How tokenizer.json splits a text into characters, line breaks too, and joins them again.
_EACH = {"type": "Split", "pattern": {"Regex": "[\\s\\S]"}, "behavior": "Isolated", "invert": False}
_JOINED = {"type": "Fuse"}
CONFIG = "tokenizer_config.json"
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
        return tokenizer_from_file(folder / TOKENIZER)
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


def tokenizer_from_file(path: Path) -> Tokenizer:
    """The tokenizer of a tokenizer.json, of characters or of byte pairs.

    Raises `InputError` when it is of another kind, or the library is not installed.
    """
    content = read_json(path, FILE_LIMIT)
    model = content.get("model")
    if not isinstance(model, dict) or model.get("type") != "WordLevel":
        return BPETokenizer.from_file(path)
    table = model.get("vocab")
    kinds = (content.get("pre_tokenizer"), content.get("decoder"), content.get("normalizer"))
    if kinds != (_EACH, _JOINED, None) or not isinstance(table, dict):
        raise InputError(f"{path}: of WordLevel models, those of single characters are read")
    if sorted(map(repr, table.values())) != sorted(map(repr, range(len(table)))):
        raise InputError(f"{path}: its tokens are not numbered from 0 on")
    return CharTokenizer(sorted(table, key=table.__getitem__))


def _character_description(tokenizer: CharTokenizer) -> str:
    """A tokenizer.json with which transformers encodes and decodes as the tokenizer does."""
    vocabulary = {character: token for token, character in enumerate(tokenizer.characters)}
    content: dict[str, Any] = {
        "version": "1.0",
        **dict.fromkeys(("truncation", "padding", "normalizer", "post_processor")),
        "added_tokens": [],
        "pre_tokenizer": _EACH,
        "decoder": _JOINED,
        # There is no such token: an unknown character is an error, and not dropped in silence.
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"},
    }
    return json.dumps(content, ensure_ascii=False)


def write_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    """Write the file that `read_tokenizer` reads, and what transformers needs."""
    names: dict[str, Any]
    files = {CHARACTERS: json.dumps(tokenizer.to_json())}
    if isinstance(tokenizer, CharTokenizer) and not re.search(
        "[\ud800-\udfff]", tokenizer.characters
    ):
        names = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
        }
        files |= {TOKENIZER: _character_description(tokenizer), CONFIG: json.dumps(names)}
    if isinstance(tokenizer, BPETokenizer):
        names = {"tokenizer_class": "PreTrainedTokenizerFast"}
        if tokenizer.end_of_text is not None:
            names |= dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT)
        files = {TOKENIZER: tokenizer.description, CONFIG: json.dumps(names)}
    for name, content in files.items():
        with written_durably(folder / name) as file:
            file.write(content.encode())
