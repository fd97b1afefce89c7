"""nanoGPT's `.py` configuration files, read as data: nothing in them is executed.

They are `name = value` lines. A value is a literal, a name assigned before, or arithmetic or
concatenation of these.
"""

import ast
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gpt_numpy.base.errors import InputError

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
_SHOWN = 60  # characters of a value or line shown in a message
ROUNDED_TO_ZERO = "would be rounded to 0: write 0, or a larger number"


def one_line(text: str) -> str:
    """The first line of a string, so that a message stays one line."""
    line = text.strip().partition("\n")[0]
    return text if len(text) <= _SHOWN and line == text else line[:_SHOWN] + "..."


def rounded_to_zero(text: str, value: Any) -> bool:
    """Whether a number written with other digits than 0 is too small for a float, as 1e-400."""
    return bool(value == 0 and set("123456789") & set(text.lower().partition("e")[0]))


def assignments(
    name: str, text: str, known: Mapping[str, Any], log: Callable[[str], None]
) -> Iterator[tuple[str, str, Any, bool]]:
    """Each `name = value` of a file: its place, its name, its value, and whether others use it.

    known : names that have a value before the file is read.
    log : receives a line per import and setting of wandb, which are skipped.

    Raises `InputError`, naming the file and the line, for everything else.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes, as in 'C:\data'
            tree = ast.parse(text)
    except SyntaxError as error:
        raise InputError(f"{name}, line {error.lineno or 1}: {one_line(error.msg)}") from error
    except ValueError as error:
        raise InputError(f"{name} is not a Python configuration file: {error}") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            number = ast.get_source_segment(text, node) or ""
            if rounded_to_zero(number, node.value):
                raise InputError(f"{name}, line {node.lineno}: {number}: {ROUNDED_TO_ZERO}")
    names = dict(known)  # that expressions may use
    used = _names_used(tree)
    for statement in tree.body:
        where = f"{name}, line {statement.lineno}"
        match statement:
            case ast.Import() | ast.ImportFrom():
                log(f"{where}: import skipped")
            case ast.Expr(value=ast.Constant()):
                pass  # a docstring
            case ast.Assign(targets=[ast.Name(id=key)]) if key.startswith("wandb_"):
                log(f"{where}: {key} skipped; the log is log.jsonl in out_dir")
            case ast.Assign(targets=[ast.Name(id=key)], value=expression):
                names[key] = _evaluate(where, expression, names)
                yield where, key, names[key], key in used
            case _:
                raise InputError(
                    f"{where}: `{one_line(ast.unparse(statement))}` is not `name = value`; "
                    "configuration files are read, not executed"
                )


def _names_used(tree: ast.AST) -> set[str]:
    names = (node for node in ast.walk(tree) if isinstance(node, ast.Name))
    return {node.id for node in names if isinstance(node.ctx, ast.Load)}


def _evaluate(where: str, expression: ast.expr, names: Mapping[str, Any]) -> Any:
    """The value of a literal, of a name, or of arithmetic or concatenation of these."""
    match expression:
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.Constant(value=bool() | int() | float() | str() as value):
            return value
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            value = _evaluate(where, operand, names)
            if type(value) in (int, float):
                return -value if isinstance(sign, ast.USub) else value
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            values = _evaluate(where, left, names), _evaluate(where, right, names)
            return _calculate(where, expression, *values)
    raise InputError(
        f"{where}: `{one_line(ast.unparse(expression))}` is neither a literal, nor a name assigned "
        "before, nor arithmetic of these; write the value itself"
    )


def _calculate(where: str, expression: ast.BinOp, left: Any, right: Any) -> Any:
    strings = [isinstance(value, str) for value in (left, right)]
    if any(strings) and not (all(strings) and isinstance(expression.op, ast.Add)):
        raise InputError(f"{where}: strings can only be joined with +")
    if isinstance(expression.op, ast.Pow) and not abs(right) <= _LARGEST_EXPONENT:
        raise InputError(f"{where}: exponent {right} is larger than {_LARGEST_EXPONENT}")
    code = one_line(ast.unparse(expression))
    try:
        value = _ARITHMETIC[type(expression.op)](left, right)
    except (ArithmeticError, ValueError) as error:
        raise InputError(f"{where}: `{code}`: {error}") from error
    vanished = value == 0 and left and right  # of two numbers that are not 0
    if vanished and isinstance(expression.op, ast.Mult | ast.Pow | ast.Div):
        raise InputError(f"{where}: `{code}` {ROUNDED_TO_ZERO}")
    too_long = len(value) > _LONGEST_STRING if isinstance(value, str) else abs(value) > 1e300
    if too_long or type(value) is complex:
        raise InputError(f"{where}: `{code}` is too large, or not a real number")
    return value
