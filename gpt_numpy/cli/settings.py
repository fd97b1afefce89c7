"""Reads settings from presets, TOML files, nanoGPT's `.py` files, and `--key=value`.

Words are read from left to right and later ones win, as in nanoGPT's configurator. A `.py` file is
read as data and never executed: `name = value` lines whose values are literals, names assigned
before, or arithmetic and concatenation of these.
"""

import contextlib
import dataclasses
import math
import os
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gpt_numpy.base.checks import shown
from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.cli.python_files import ROUNDED_TO_ZERO, assignments, one_line, rounded_to_zero
from gpt_numpy.config.fields import KINDS
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.config.presets import (
    CHARACTERS,
    NANOGPT_BYTE_PAIRS,
    NANOGPT_DEFAULTS,
    NANOGPT_TRAINING,
    PRESETS,
    TRANSLATION_PRESETS,
    VOCABULARIES,
)
from gpt_numpy.config.train import TrainConfig

Types = Mapping[str, type]
Log = Callable[[str], None]

# A ~ in them is expanded.
_PATHS = ("data", "html", "init_from", "mo", "out", "out_dir", "source", "target", "tokenizer")
_DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2212"  # web pages replace -- by one of these
_BOOLS = {"true": True, "1": True, "false": False, "0": False}
_ALSO = {"schedule": "lr_schedule"}  # shorter names of settings
_EXAMPLES = {int: ", such as 12", float: ", such as 0.001"}


def field_types(*configs: type, without: Collection[str] = ()) -> dict[str, Any]:
    """The types of all settings of these configurations, by name."""
    fields = [field for config in configs for field in dataclasses.fields(config)]
    return {field.name: field.type for field in fields if field.name not in without}


def gather(words: Iterable[str], types: Types, log: Log = lambda line: None) -> dict[str, Any]:
    """The settings that the words of a command line give; later words win.

    `log` receives a line per flag, and per line of a `.py` file that is skipped. InputError: an
    unknown preset, file or key, or a value of the wrong type.
    """
    values: dict[str, Any] = {}
    for _, given in _each(words, types, log):
        values |= given
    return {key: expanded(key, value) if key in _PATHS else value for key, value in values.items()}


def expanded(name: str, path: Any) -> Any:
    """A path whose leading ~ is replaced by the home folder; `InputError` if there is none."""
    full = os.path.expanduser(path) if isinstance(path, str) else path
    if full == path and isinstance(path, str) and path.partition("/")[0] == "~":
        raise InputError(f"{name}={path!r}: there is no home folder for ~: write the whole path")
    return full


def _each(words: Iterable[str], types: Types, log: Log) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every word, and the settings that it gives."""
    known: dict[str, Any] = {}  # so far
    for word in words:
        if word.startswith("--"):
            key, value = parse_flag(word, types)
            log(f"Overriding: {key} = {value}")
            given = {key: value}
        else:
            given = _from_source(word, types, log, known)
        known |= given
        yield word, given


def nanogpts_training(words: Collection[str]) -> dict[str, Any]:
    """What nanoGPT's train.py assumes, where a `.py` file and no preset is among the words."""
    nanogpts = any(map(_is_nanogpts, words)) and not any(word in PRESETS for word in words)
    return NANOGPT_TRAINING if nanogpts else {}


def names_nanogpts_data(words: Collection[str], types: Types) -> bool:
    """Whether the data set is one of nanoGPT: its name stands in a `.py` file, or nowhere."""
    result = bool(nanogpts_training(words))
    for word, given in _each(words, types, lambda line: None):
        if given.keys() & {"dataset", "data"}:
            result = _is_nanogpts(word)
    return result


def _is_nanogpts(word: str) -> bool:
    return word.endswith(".py") and not word.startswith("--")


def parse_flag(word: str, types: Types) -> tuple[str, Any]:
    """The key and the value of `--key=value`; InputError if one of them cannot be used."""
    name, equals, text = word.partition("=")
    key = name[2:].replace("-", "_")
    key = _ALSO.get(key, key)
    if key not in types:
        hint = did_you_mean(key, types).replace("mean ", "mean --").replace(" or ", " or --")
        raise InputError(f"unknown setting --{one_line(key)}: {hint}")
    kind = types[key]
    if not equals and kind is bool:
        return key, True
    if not equals:
        raise InputError(f"--{key} has no value: write --{key}=VALUE, without spaces")
    if kind is str:
        if not text and key in ("data", "source", "target", "mo"):  # as of an unset variable
            raise InputError(f"--{key}= is empty: name a file, or leave it out")
        return key, text
    value: Any = None
    if kind is bool:
        value = _BOOLS.get(text.lower())
    else:
        with contextlib.suppress(ValueError):
            value = float(text) if kind is float or "e" in text.lower() else int(text)
    if kind is not bool and rounded_to_zero(text, value):
        raise InputError(f"--{key}={shown(text)}: {ROUNDED_TO_ZERO}")
    return key, _of_type(f"--{key}={shown(text)}", value, kind)


def _of_type(given: str, value: Any, kind: Any) -> Any:
    """The value as an instance of `kind`; `given` is how an error message shows it."""
    if kind is float and type(value) is int:
        value = float(value) if abs(value) < 1e300 else math.inf
    if kind is int and type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise InputError(f"{given}: must be {KINDS[kind]}{_EXAMPLES.get(kind, '')}")
    return value


def _from_source(word: str, types: Types, log: Log, known: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a preset or a file."""
    presets = presets_for(types)
    if word in presets:
        return {key: value for key, value in presets[word].items() if key in types}
    path = Path(expanded("file", word))
    if path.suffix not in (".toml", ".py"):
        name = word.lstrip(_DASHES).partition("=")[0]
        hint = did_you_mean(word, presets)
        if name.replace("-", "_") in types:
            hint = f"did you mean --{name}=VALUE?"
        elif word in ("True", "False"):
            hint = f"settings are written --key={word}, without spaces"
        raise InputError(f"{one_line(word)!r} is neither a preset nor a .toml or .py file: {hint}")
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".toml":
            return _from_toml(word, text, types)
        return {
            key: _setting_of_file(where, key, value, types)
            for where, key, value, helps in assignments(word, text, known, log)
            if key in types or not helps
        }
    except OSError as error:
        names = ", ".join(presets)
        raise InputError(
            f"cannot read {word}: {error.strerror or error}; name a file, or a preset: {names}"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{word} is not UTF-8 text (byte {error.start})") from error
    except (RecursionError, MemoryError):  # MemoryError: of Python's parser
        raise InputError(f"{word}: a value is nested too deeply") from None


def presets_for(types: Types) -> dict[str, dict[str, Any]]:
    """The presets of a command with these settings: those of pairs are for training alone."""
    return PRESETS | TRANSLATION_PRESETS if "batch_tokens" in types else PRESETS


def _from_toml(name: str, text: str, types: Types) -> dict[str, Any]:
    try:
        values = tomllib.loads(text, parse_float=_toml_float)
    except ValueError as error:  # also for a number of 5,000 digits
        raise InputError(f"{name} is not valid TOML: {one_line(str(error))}") from error
    for key, value in values.items():
        if isinstance(value, dict):
            raise InputError(f"{name}: [{key}] is a table: write `key = value` without tables")
        values[key] = _setting_of_file(name, key, value, types)
    return values


def _toml_float(text: str) -> float:
    value = float(text)
    if rounded_to_zero(text, value):
        raise ValueError(f"{one_line(text)}: {ROUNDED_TO_ZERO}")
    return value


def _setting_of_file(where: str, key: str, value: Any, types: Types) -> Any:
    if key not in types:
        raise InputError(f"{where}: unknown setting {one_line(key)}: {did_you_mean(key, types)}")
    return _of_type(f"{where}: {key}={shown(value)}", value, types[key])


def shape_of(sources: Iterable[str]) -> dict[str, Any]:
    """The settings of the model in presets and files; those of training are left out."""
    sources = list(sources)
    types = field_types(GPTConfig, TrainConfig)
    given = gather(sources, types)
    vocabularies = [VOCABULARIES.get(source, CHARACTERS) for source in sources if source in PRESETS]
    vocab_size = vocabularies[-1] if vocabularies else CHARACTERS
    dataset = (nanogpts_training(sources) | given).get("dataset")
    if names_nanogpts_data(sources, types) and dataset in NANOGPT_BYTE_PAIRS:
        vocab_size = VOCABULARIES["gpt2"]
    base = NANOGPT_DEFAULTS | {"vocab_size": vocab_size}
    return base | settings_of(GPTConfig, given)


def settings_of(config: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that are settings of a configuration."""
    names = field_types(config)
    return {name: value for name, value in values.items() if name in names}


def parted(words: list[str]) -> tuple[list[str], list[str]]:
    """The words before a lone --, and those after it, of which none is a setting."""
    end = words.index("--") if "--" in words else len(words)
    return words[:end], words[end + 1 :]


def split(words: Iterable[str], types: Types) -> tuple[list[str], dict[str, Any]]:
    """The presets, files and folders of a command line, and the settings given as flags."""
    words = list(words)
    flags = [word for word in words if word.startswith("--")]
    names = [expanded("path", word) for word in words if not word.startswith("--")]
    return names, gather(flags, types)


def only_flags(command: str, words: Iterable[str], types: Types) -> dict[str, Any]:
    """The settings of a command that takes only flags."""
    names, flags = split(words, types)
    if names:
        raise InputError(f"{command} takes settings only, such as --out_dir=RUN: not {names[0]!r}")
    return flags
