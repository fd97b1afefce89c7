"""Reads settings from presets, TOML files, nanoGPT's `.py` files, and `--key=value`.

Words are read from left to right and later ones win, as in nanoGPT's configurator. A `.py` file is
read as data and never executed: `name = value` lines whose values are literals, or arithmetic and
concatenation of literals.
"""

import ast
import contextlib
import dataclasses
import math
import operator
import tomllib
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from gpt_numpy.base.checks import shown
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
_LARGEST_EXPONENT = 64
_LONGEST_STRING = 10_000
_SHOWN = 60  # characters of a key or of code shown in a message
_DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2212"  # web pages replace -- by one of these
_BOOLS = {"true": True, "1": True, "false": False, "0": False}
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
    for word in words:
        if word.startswith("--"):
            key, value = parse_flag(word, types)
            log(f"Overriding: {key} = {value}")
            values[key] = value
        else:
            values |= _from_source(word, types, log)
    return values


def parse_flag(word: str, types: Types) -> tuple[str, Any]:
    """The key and the value of `--key=value`; InputError if one of them cannot be used."""
    name, equals, text = word.partition("=")
    key = name[2:].replace("-", "_")
    if key not in types:
        hint = did_you_mean(key, types).replace("mean ", "mean --").replace(" or ", " or --")
        raise InputError(f"unknown setting --{_short(key)}: {hint}")
    kind = types[key]
    if not equals and kind is bool:
        return key, True
    if not equals:
        raise InputError(f"--{key} has no value: write --{key}=VALUE, without spaces")
    if kind is str:
        return key, text
    value: Any = None
    if kind is bool:
        value = _BOOLS.get(text.lower())
    else:
        with contextlib.suppress(ValueError):
            value = float(text) if kind is float or "e" in text.lower() else int(text)
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


def _short(text: str) -> str:
    """The first line of a string, so that a message stays one line."""
    line = text.strip().partition("\n")[0]
    return text if len(text) <= _SHOWN and line == text else line[:_SHOWN] + "..."


def _from_source(word: str, types: Types, log: Log) -> dict[str, Any]:
    """The settings of a preset or a file."""
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
        raise InputError(f"{_short(word)!r} is neither a preset nor a .toml or .py file: {hint}")
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".toml":
            return _from_toml(word, text, types)
        return _from_python(word, text, types, log)
    except OSError as error:
        presets = ", ".join(PRESETS)
        raise InputError(
            f"cannot read {word}: {error.strerror or error}; name a file, or a preset: {presets}"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{word} is not UTF-8 text (byte {error.start})") from error
    except (RecursionError, MemoryError):  # MemoryError: of Python's parser
        raise InputError(f"{word}: a value is nested too deeply") from None


def _from_toml(name: str, text: str, types: Types) -> dict[str, Any]:
    try:
        values = tomllib.loads(text)
    except ValueError as error:  # also for a number of 5,000 digits
        raise InputError(f"{name} is not valid TOML: {_short(str(error))}") from error
    for key, value in values.items():
        if isinstance(value, dict):
            raise InputError(f"{name}: [{key}] is a table: write `key = value` without tables")
        values[key] = _setting_of_file(name, key, value, types)
    return values


def _setting_of_file(where: str, key: str, value: Any, types: Types) -> Any:
    if key not in types:
        raise InputError(f"{where}: unknown setting {_short(key)}: {did_you_mean(key, types)}")
    return _of_type(f"{where}: {key}={shown(value)}", value, types[key])


def _from_python(name: str, text: str, types: Types, log: Log) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes, as in 'C:\data'
            statements = ast.parse(text).body
    except SyntaxError as error:
        raise InputError(f"{name}, line {error.lineno or 1}: {_short(error.msg)}") from error
    except ValueError as error:
        raise InputError(f"{name} is not a Python configuration file: {error}") from error
    values: dict[str, Any] = {}
    for statement in statements:
        where = f"{name}, line {statement.lineno}"
        match statement:
            case ast.Import() | ast.ImportFrom():
                log(f"{where}: import skipped")
            case ast.Expr(value=ast.Constant()):
                pass  # a docstring
            case ast.Assign(targets=[ast.Name(id=key)]) if key.startswith("wandb_"):
                log(f"{where}: {key} skipped; the log is log.jsonl in out_dir")
            case ast.Assign(targets=[ast.Name(id=key)], value=expression):
                values[key] = _setting_of_file(where, key, _evaluate(where, expression), types)
            case _:
                raise InputError(
                    f"{where}: `{_short(ast.unparse(statement))}` is not `name = value`; "
                    "configuration files are read, not executed"
                )
    return values


def _evaluate(where: str, expression: ast.expr) -> Any:
    """The value of a literal, or of arithmetic or concatenation of literals."""
    match expression:
        case ast.Constant(value=bool() | int() | float() | str() as value):
            return value
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            value = _evaluate(where, operand)
            if type(value) in (int, float):
                return -value if isinstance(sign, ast.USub) else value
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return _calculate(where, expression, _evaluate(where, left), _evaluate(where, right))
    raise InputError(
        f"{where}: `{_short(ast.unparse(expression))}` is neither a literal nor arithmetic of "
        "literals; write the value itself"
    )


def _calculate(where: str, expression: ast.BinOp, left: Any, right: Any) -> Any:
    strings = [isinstance(value, str) for value in (left, right)]
    if any(strings) and not (all(strings) and isinstance(expression.op, ast.Add)):
        raise InputError(f"{where}: strings can only be joined with +")
    if isinstance(expression.op, ast.Pow) and not abs(right) <= _LARGEST_EXPONENT:
        raise InputError(f"{where}: exponent {right} is larger than {_LARGEST_EXPONENT}")
    code = _short(ast.unparse(expression))
    try:
        value = _ARITHMETIC[type(expression.op)](left, right)
    except (ArithmeticError, ValueError) as error:
        raise InputError(f"{where}: `{code}`: {error}") from error
    too_long = len(value) > _LONGEST_STRING if isinstance(value, str) else abs(value) > 1e300
    if too_long or type(value) is complex:
        raise InputError(f"{where}: `{code}` is too large, or not a real number")
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
    flags = [word for word in words if word.startswith("--")]
    return [word for word in words if not word.startswith("--")], gather(flags, types)


def only_flags(command: str, words: Iterable[str], types: Types) -> dict[str, Any]:
    """The settings of a command that takes only flags."""
    names, flags = split(words, types)
    if names:
        raise InputError(f"{command} takes settings only, such as --out_dir=RUN: not {names[0]!r}")
    return flags
