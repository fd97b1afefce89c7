"""Reads settings from presets, TOML files, nanoGPT's `.py` files, and `--key=value`.

Words are read from left to right and later ones win, as in nanoGPT's configurator. A `.py` file is
read as data and never executed: `name = value` lines whose values are literals, or arithmetic and
concatenation of literals.
"""

import ast
import dataclasses
import math
import operator
import os
import tomllib
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.config.fields import KINDS
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.config.presets import CHARACTERS, NANOGPT_DEFAULTS, PRESETS, VOCABULARIES
from gpt_numpy.config.train import TrainConfig

Types = Mapping[str, type]
Log = Callable[[str], None]

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_PATHS = ("data", "html", "init_from", "out", "out_dir", "tokenizer")  # a ~ in them is expanded
_LARGEST_EXPONENT = 64
_LONGEST_STRING = 10_000
_SHOWN = 60  # characters of a value or line shown in a message
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
    for word in words:
        if is_flag(word):
            key, value = parse_flag(word, types)
            log(f"Overriding: {key} = {value}")
            values[key] = value
        else:
            values |= _from_source(word, types, log)
    return {key: expanded(key, value) if key in _PATHS else value for key, value in values.items()}


def expanded(name: str, path: Any) -> Any:
    """A path whose leading ~ is replaced by the home folder; `InputError` if there is none."""
    full = os.path.expanduser(path) if isinstance(path, str) else path
    if full == path and isinstance(path, str) and path.partition("/")[0] == "~":
        raise InputError(f"{name}={path!r}: there is no home folder for ~: write the whole path")
    return full


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
        raise InputError(f"unknown setting --{_short(key)}: {_flags(did_you_mean(key, types))}")
    if not equals:
        if types[key] is bool:
            return key, True
        raise InputError(f"--{key} has no value: write --{key}=VALUE, without spaces")
    return key, _from_text(f"--{key}", text, types[key])


def _short(text: str) -> str:
    """The first line of a string, so that a message stays one line."""
    line = text.strip().partition("\n")[0]
    return text if len(text) <= _SHOWN and line == text else line[:_SHOWN] + "..."


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
        raise InputError(f"{name}={_short(text)!r}: must be True or False")
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
    raise InputError(f"{name}={_short(text)!r}: must be {KINDS[expected]}, such as {example}")


def _from_source(word: str, types: Types, log: Log) -> dict[str, Any]:
    if word in PRESETS:
        return {key: value for key, value in PRESETS[word].items() if key in types}
    path = Path(expanded("file", word))
    if path.suffix not in (".toml", ".py"):
        name = word.lstrip(_DASHES).partition("=")[0]
        hint = did_you_mean(word, PRESETS)
        if name.replace("-", "_") in types:
            hint = f"did you mean --{name}=VALUE?"
        elif word in ("True", "False"):
            hint = f"settings are written --key={word}, without spaces"
        raise InputError(f"{_short(word)!r} is neither a preset nor a .toml or .py file: {hint}")
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
        else _from_python(word, text, types, log)
    )


def _from_toml(name: str, text: str, types: Types) -> dict[str, Any]:
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError also for a number of 5,000 digits
        raise InputError(f"{name} is not valid TOML: {_short(str(error))}") from error
    return {key: _of_type(name, key, value, types) for key, value in values.items()}


def _of_type(where: str, key: str, value: Any, types: Types) -> Any:
    if isinstance(value, dict):
        raise InputError(f"{where}: [{key}] is a table: settings are `key = value` without tables")
    if key not in types:
        raise InputError(f"{where}: unknown setting {_short(key)}: {did_you_mean(key, types)}")
    expected = types[key]
    if expected is float and type(value) is int:
        return float(value) if abs(value) < 1e300 else math.inf
    if expected is int and type(value) is float and value.is_integer():
        return int(value)
    if type(value) is not expected:
        raise InputError(
            f"{where}: {key}={_short(repr(value))}: must be {KINDS[expected]}, "
            f"not of type {type(value).__name__}"
        )
    return value


def _from_python(name: str, text: str, types: Types, log: Log) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes, as in 'C:\data'
            statements = ast.parse(text).body
    except SyntaxError as error:
        raise InputError(f"{name}, line {error.lineno or 1}: {_short(error.msg)}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{name} is not a Python configuration file: {error}") from error
    values: dict[str, Any] = {}
    for statement in statements:
        where = f"{name}, line {statement.lineno}"
        if isinstance(statement, ast.Import | ast.ImportFrom):
            log(f"{where}: import skipped")
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            pass  # a docstring
        else:
            key, expression = _assignment(where, statement)
            if key.startswith("wandb_"):
                log(f"{where}: {key} skipped; the log is log.jsonl in out_dir")
            else:
                values[key] = _of_type(where, key, _value(where, expression), types)
    return values


def _value(where: str, expression: ast.expr) -> Any:
    try:
        return _evaluate(where, expression)
    except RecursionError:
        raise InputError(f"{where}: the expression is nested too deeply") from None


def _assignment(where: str, statement: ast.stmt) -> tuple[str, ast.expr]:
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
        if isinstance(target, ast.Name):
            return target.id, statement.value
    raise InputError(
        f"{where}: {_code(statement)} is not `name = value`; "
        "configuration files are read, not executed"
    )


def _code(node: ast.AST) -> str:
    try:
        return f"`{_short(ast.unparse(node))}`"
    except RecursionError:
        return "an expression nested too deeply"


def _evaluate(where: str, expression: ast.expr) -> Any:
    """The value of a literal, or of arithmetic or concatenation of literals."""
    if isinstance(expression, ast.Constant) and type(expression.value) in (int, float, str, bool):
        return expression.value
    if isinstance(expression, ast.UnaryOp) and isinstance(expression.op, ast.USub | ast.UAdd):
        value = _evaluate(where, expression.operand)
        if type(value) in (int, float):
            return -value if isinstance(expression.op, ast.USub) else value
    if isinstance(expression, ast.BinOp) and type(expression.op) in _ARITHMETIC:
        left = _evaluate(where, expression.left)
        right = _evaluate(where, expression.right)
        return _calculate(where, expression, left, right)
    raise InputError(
        f"{where}: {_code(expression)} is neither a literal nor arithmetic of literals; "
        "write the value itself"
    )


def _calculate(where: str, expression: ast.BinOp, left: Any, right: Any) -> Any:
    strings = [isinstance(value, str) for value in (left, right)]
    if any(strings) and not (all(strings) and isinstance(expression.op, ast.Add)):
        raise InputError(f"{where}: strings can only be joined with +")
    if isinstance(expression.op, ast.Pow) and not abs(right) <= _LARGEST_EXPONENT:
        raise InputError(f"{where}: exponent {right} is larger than {_LARGEST_EXPONENT}")
    try:
        value = _ARITHMETIC[type(expression.op)](left, right)
    except (ArithmeticError, ValueError) as error:
        raise InputError(f"{where}: {_code(expression)}: {error}") from error
    too_long = len(value) > _LONGEST_STRING if isinstance(value, str) else abs(value) > 1e300
    if too_long or type(value) is complex:
        raise InputError(f"{where}: {_code(expression)} is too large, or not a real number")
    return value


def shape_of(sources: Iterable[str]) -> dict[str, Any]:
    """The settings of the model in presets and files; those of training are left out."""
    sources = list(sources)
    given = gather(sources, field_types(GPTConfig, TrainConfig))
    vocabularies = [VOCABULARIES.get(source, CHARACTERS) for source in sources if source in PRESETS]
    base = NANOGPT_DEFAULTS | {"vocab_size": vocabularies[-1] if vocabularies else CHARACTERS}
    return base | settings_of(GPTConfig, given)


def settings_of(config: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that are settings of a configuration."""
    names = field_types(config)
    return {name: value for name, value in values.items() if name in names}


def split(words: Iterable[str], types: Types) -> tuple[list[str], dict[str, Any]]:
    """The presets, files and folders of a command line, and the settings given as flags."""
    words = list(words)
    names = [expanded("path", word) for word in words if not is_flag(word)]
    return names, gather(filter(is_flag, words), types)


def only_flags(command: str, words: Iterable[str], types: Types) -> dict[str, Any]:
    """The settings of a command that takes nothing but flags."""
    names, flags = split(words, types)
    if names:
        raise InputError(f"{command} takes settings only, such as --out_dir=RUN: not {names[0]!r}")
    return flags
