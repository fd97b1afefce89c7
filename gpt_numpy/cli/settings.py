"""Reads settings from presets, TOML files, nanoGPT's `.py` files, and `--key=value`.

Words are read from left to right and later ones win, as in nanoGPT's configurator. A `.py` file is
read as data and never executed: `name = value` lines whose values are literals, names assigned
before, or arithmetic and concatenation of these.
"""

import dataclasses
import math
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.cli.python_files import assignments, one_line
from gpt_numpy.config.fields import KINDS
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.config.presets import (
    CHARACTERS,
    NANOGPT_BYTE_PAIRS,
    NANOGPT_DEFAULTS,
    NANOGPT_TRAINING,
    PRESETS,
    VOCABULARIES,
)
from gpt_numpy.config.train import TrainConfig

Types = Mapping[str, type]
Log = Callable[[str], None]

_DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2212"  # web pages replace -- by one of these


def field_types(*configs: type, without: Iterable[str] = ()) -> dict[str, type]:
    """The types of all settings of these configurations, by name."""
    return {
        field.name: field.type if isinstance(field.type, type) else str
        for config in configs
        for field in dataclasses.fields(config)
        if field.name not in without
    }


def mute(line: str) -> None:
    """Print nothing: a log for settings that are read a second time."""


def gather(words: Iterable[str], types: Types, log: Log = mute) -> dict[str, Any]:
    """The settings that the words of a command line give; later words win.

    `log` receives a line per flag, and per line of a `.py` file that is skipped.

    Raises
    ------
    InputError : an unknown preset, file or key, or a value of the wrong type.
    """
    values: dict[str, Any] = {}
    for _, given in _each(words, types, log):
        values |= given
    return values


def _each(words: Iterable[str], types: Types, log: Log) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every word, and the settings that it gives."""
    known: dict[str, Any] = {}  # so far
    for word in words:
        if is_flag(word):
            key, value = parse_flag(word, types)
            log(f"Overriding: {key} = {value}")
            given = {key: value}
        else:
            given = _from_source(word, types, log, known)
        known |= given
        yield word, given


def nanogpts_training(words: Iterable[str]) -> dict[str, Any]:
    """What nanoGPT's train.py assumes, where a `.py` file and no preset is among the words."""
    words = list(words)
    nanogpts = any(map(_is_nanogpts, words)) and not any(word in PRESETS for word in words)
    return NANOGPT_TRAINING if nanogpts else {}


def names_nanogpts_data(words: Iterable[str], types: Types) -> bool:
    """Whether the data set is one of nanoGPT: its name stands in a `.py` file, or nowhere."""
    words = list(words)
    result = bool(nanogpts_training(words))
    for word, given in _each(words, types, mute):
        if given.keys() & {"dataset", "data"}:
            result = _is_nanogpts(word)
    return result


def _is_nanogpts(word: str) -> bool:
    return word.endswith(".py") and not is_flag(word)


def is_flag(word: str) -> bool:
    """Whether a word of the command line is a flag, not a preset, a file or a folder."""
    return word.startswith("--")


def parse_flag(word: str, types: Types) -> tuple[str, Any]:
    """The key and the value of `--key=value`.

    Raises
    ------
    InputError : no `=`, an unknown key, or a value of the wrong type.
    """
    key, equals, text = word.removeprefix("--").partition("=")
    key = key.replace("-", "_")
    if key not in types:
        raise InputError(f"unknown setting --{one_line(key)}: {_flags(did_you_mean(key, types))}")
    if not equals:
        if types[key] is bool:
            return key, True
        raise InputError(f"--{key} has no value: write --{key}=VALUE, without spaces")
    return key, _from_text(f"--{key}", text, types[key])


def _flags(sentence: str) -> str:
    return sentence.replace("did you mean ", "did you mean --").replace(" or ", " or --")


def _from_text(name: str, text: str, expected: type) -> Any:
    if expected is str:
        return text
    if expected is bool:
        if text.lower() in ("true", "1"):
            return True
        if text.lower() in ("false", "0"):
            return False
        raise InputError(f"{name}={one_line(text)!r}: must be True or False")
    try:
        if expected is int:
            number = float(text) if "e" in text.lower() else int(text)
            if number == int(number):
                return int(number)
        elif math.isfinite(float(text)):
            return float(text)
    except (ValueError, OverflowError):
        pass
    example = "12" if expected is int else "0.001"
    raise InputError(f"{name}={one_line(text)!r}: must be {KINDS[expected]}, such as {example}")


def _from_source(word: str, types: Types, log: Log, known: Mapping[str, Any]) -> dict[str, Any]:
    if word in PRESETS:
        return {key: value for key, value in PRESETS[word].items() if key in types}
    path = Path(word)
    if path.suffix not in (".toml", ".py"):
        name = word.lstrip(_DASHES).partition("=")[0]
        hint = did_you_mean(word, PRESETS)
        if name.replace("-", "_") in types:
            hint = f"did you mean --{name}=VALUE?"
        elif word in ("True", "False"):
            hint = f"settings are written --key={word}, without spaces"
        raise InputError(f"{one_line(word)!r} is neither a preset nor a .toml or .py file: {hint}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(
            f"cannot read {word}: {error.strerror or error}; name a file, or one of the presets "
            + ", ".join(PRESETS)
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{word} is not UTF-8 text (byte {error.start})") from error
    return (
        _from_toml(word, text, types)
        if path.suffix == ".toml"
        else _from_python(word, text, types, log, known)
    )


def _from_toml(name: str, text: str, types: Types) -> dict[str, Any]:
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError also for a number of 5,000 digits
        raise InputError(f"{name} is not valid TOML: {one_line(str(error))}") from error
    return {key: _of_type(name, key, value, types) for key, value in values.items()}


def _of_type(where: str, key: str, value: Any, types: Types) -> Any:
    if isinstance(value, dict):
        raise InputError(f"{where}: [{key}] is a table: settings are `key = value` without tables")
    if key not in types:
        raise InputError(f"{where}: unknown setting {one_line(key)}: {did_you_mean(key, types)}")
    expected = types[key]
    if expected is float and type(value) is int:
        return float(value) if abs(value) < 1e300 else math.inf
    if expected is int and type(value) is float and value.is_integer():
        return int(value)
    if type(value) is not expected:
        raise InputError(
            f"{where}: {key}={one_line(repr(value))}: must be {KINDS[expected]}, "
            f"not of type {type(value).__name__}"
        )
    return value


def _from_python(
    name: str, text: str, types: Types, log: Log, known: Mapping[str, Any]
) -> dict[str, Any]:
    """The settings in a `.py` file, which may use those that are `known` before it."""
    found = assignments(name, text, known, log)
    return {
        key: _of_type(where, key, value, types)
        for where, key, value, helps in found
        if key in types or not helps
    }


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


def split(words: Iterable[str], types: Types) -> tuple[list[str], dict[str, Any]]:
    """The presets, files and folders of a command line, and the settings given as flags."""
    words = list(words)
    names = [word for word in words if not is_flag(word)]
    return names, gather(filter(is_flag, words), types)


def only_flags(command: str, words: Iterable[str], types: Types) -> dict[str, Any]:
    """The settings of a command that takes nothing but flags."""
    names, flags = split(words, types)
    if names:
        raise InputError(f"{command} takes settings only, such as --out_dir=RUN: not {names[0]!r}")
    return flags
