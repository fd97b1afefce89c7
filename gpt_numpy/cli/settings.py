"""Where settings come from: presets, TOML files, nanoGPT's `.py` files, and `--key=value`.

They are read from left to right and the later one wins, as nanoGPT's configurator does. A `.py`
file is read as data and never executed: `name = value` lines whose values are literals, or
arithmetic and concatenation of literals.
"""

import ast
import dataclasses
import math
import operator
import tomllib
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.config.gpt import GPTConfig
from gpt_numpy.config.presets import CHARACTERS, NANOGPT_DEFAULTS, PRESETS, VOCABULARIES
from gpt_numpy.config.train import TrainConfig

Types = Mapping[str, type]
Say = Callable[[str], None]

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
_LONGEST_TEXT = 10_000
_SHOWN = 60  # characters of a value or of a line in a message
_DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2212"  # web pages turn -- into these


def field_types(*configs: type, without: Iterable[str] = ()) -> dict[str, type]:
    """The type of every setting of these dataclasses, by name."""
    return {
        field.name: field.type if isinstance(field.type, type) else str
        for config in configs
        for field in dataclasses.fields(config)
        if field.name not in without
    }


def gather(words: Iterable[str], types: Types, say: Say = print) -> dict[str, Any]:
    """The settings that the words of a command line give, the later over the earlier.

    Raises
    ------
    InputError : an unknown preset, file or key, or a value of the wrong type.
    """
    values: dict[str, Any] = {}
    for word in words:
        if is_flag(word):
            key, value = parse_flag(word, types)
            say(f"Overriding: {key} = {value}")
            values[key] = value
        else:
            values |= _from_source(word, types, say)
    return values


def is_flag(word: str) -> bool:
    """Whether a word of the command line is a setting, and not a preset or a file."""
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
    """The first line of a text, so that a message stays one line."""
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
    kind = "a whole number, such as 12" if expected is int else "a number, such as 0.001"
    raise InputError(f"{name}={_short(text)!r}: must be {kind}")


def _from_source(word: str, types: Types, say: Say) -> dict[str, Any]:
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
        else _from_python(word, text, types, say)
    )


def _from_toml(name: str, text: str, types: Types) -> dict[str, Any]:
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is a ValueError, too
        raise InputError(f"{name} is not TOML that can be read: {_short(str(error))}") from error
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
            f"{where}: {key}={_short(repr(value))} is of type {type(value).__name__}: "
            f"it must be of type {expected.__name__}"
        )
    return value


def _from_python(name: str, text: str, types: Types, say: Say) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # 'C:\data' is a text, if not a well-written one
            statements = ast.parse(text).body
    except SyntaxError as error:
        raise InputError(f"{name}, line {error.lineno or 1}: {_short(error.msg)}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{name} is not a Python configuration file: {error}") from error
    values: dict[str, Any] = {}
    for statement in statements:
        where = f"{name}, line {statement.lineno}"
        if isinstance(statement, ast.Import | ast.ImportFrom):
            say(f"{where}: import passed over")
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            pass  # a docstring
        else:
            key, expression = _assignment(where, statement)
            if key.startswith("wandb_"):
                say(f"{where}: {key} passed over; the log is log.jsonl in out_dir")
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
        f"{where}: {_code(expression)} is not a literal, nor arithmetic of literals; "
        "write the value itself"
    )


def _calculate(where: str, expression: ast.BinOp, left: Any, right: Any) -> Any:
    texts = [isinstance(value, str) for value in (left, right)]
    if any(texts) and not (all(texts) and isinstance(expression.op, ast.Add)):
        raise InputError(f"{where}: texts can only be joined with +")
    if isinstance(expression.op, ast.Pow) and not abs(right) <= _LARGEST_EXPONENT:
        raise InputError(f"{where}: exponent {right} is larger than {_LARGEST_EXPONENT}")
    try:
        value = _ARITHMETIC[type(expression.op)](left, right)
    except (ArithmeticError, ValueError) as error:
        raise InputError(f"{where}: {_code(expression)}: {error}") from error
    too_long = len(value) > _LONGEST_TEXT if isinstance(value, str) else abs(value) > 1e300
    if too_long or type(value) is complex:
        raise InputError(f"{where}: {_code(expression)} has no usable value")
    return value


def shape_of(sources: Iterable[str]) -> dict[str, Any]:
    """The shape of a model as presets and files give it; how they would train does not count."""
    sources = list(sources)
    given = gather(sources, field_types(GPTConfig, TrainConfig), mute)
    names = {field.name for field in dataclasses.fields(GPTConfig)}
    vocabularies = [VOCABULARIES.get(source, CHARACTERS) for source in sources if source in PRESETS]
    base = NANOGPT_DEFAULTS | {"vocab_size": vocabularies[-1] if vocabularies else CHARACTERS}
    return base | {name: value for name, value in given.items() if name in names}


def only_flags(command: str, words: list[str]) -> list[str]:
    """The words of a command that takes settings only."""
    for word in words:
        if not is_flag(word):
            raise InputError(f"{command} takes settings only, such as --out_dir=RUN: not {word!r}")
    return words


def mute(text: str) -> None:
    """Say nothing: for settings that are read a second time."""
