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


def one_line(text: str) -> str:
    """The first line of a string, so that a message stays one line."""
    line = text.strip().partition("\n")[0]
    return text if len(text) <= _SHOWN and line == text else line[:_SHOWN] + "..."


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
    except (ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{name} is not a Python configuration file: {error}") from error
    names = dict(known)  # that expressions may use
    used = _names_used(tree)
    for statement in tree.body:
        where = f"{name}, line {statement.lineno}"
        if isinstance(statement, ast.Import | ast.ImportFrom):
            log(f"{where}: import skipped")
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            pass  # a docstring
        else:
            key, expression = _assignment(where, statement)
            if key.startswith("wandb_"):
                log(f"{where}: {key} skipped; the log is log.jsonl in out_dir")
                continue
            names[key] = _value(where, expression, names)
            yield where, key, names[key], key in used


def _names_used(tree: ast.AST) -> set[str]:
    names = (node for node in ast.walk(tree) if isinstance(node, ast.Name))
    return {node.id for node in names if isinstance(node.ctx, ast.Load)}


def _value(where: str, expression: ast.expr, names: Mapping[str, Any]) -> Any:
    try:
        return _evaluate(where, expression, names)
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
        return f"`{one_line(ast.unparse(node))}`"
    except RecursionError:
        return "an expression nested too deeply"


def _evaluate(where: str, expression: ast.expr, names: Mapping[str, Any]) -> Any:
    """The value of a literal, of a name, or of arithmetic or concatenation of these."""
    if isinstance(expression, ast.Name) and expression.id in names:
        return names[expression.id]
    if isinstance(expression, ast.Constant) and type(expression.value) in (int, float, str, bool):
        return expression.value
    if isinstance(expression, ast.UnaryOp) and isinstance(expression.op, ast.USub | ast.UAdd):
        value = _evaluate(where, expression.operand, names)
        if type(value) in (int, float):
            return -value if isinstance(expression.op, ast.USub) else value
    if isinstance(expression, ast.BinOp) and type(expression.op) in _ARITHMETIC:
        left = _evaluate(where, expression.left, names)
        right = _evaluate(where, expression.right, names)
        return _calculate(where, expression, left, right)
    raise InputError(
        f"{where}: {_code(expression)} is neither a literal, nor a name assigned before, nor "
        "arithmetic of these; "
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
