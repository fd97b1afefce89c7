"""Which lines of a reference function do nothing here: behind a condition that the model lacks, or
of dropout, which a trace has not.
"""

import ast
from functools import cache
from typing import Any

from gpt_numpy.config.model import GPTConfig
from gpt_numpy.inspection.trace.operation import Place


def false_conditions(config: GPTConfig) -> frozenset[str]:
    """The conditions, as the reference writes them, that do not hold in this model."""
    holds = {
        "smoothing": False,  # of the encoder-decoder
        "softcap": config.logit_softcap > 0,
        "bias is not None": config.bias,
        "dbias is not None": config.bias,
        "not tied": not config.tied,
        "wpe is not None": config.positions in ("learned", "sinusoidal"),
        "dwpe is not None": config.positions == "learned",
        "rotations is not None": config.positions == "rotary",
        "weight is not None": config.qk_norm,
        "weight is not None and dweight is not None": config.qk_norm,
    }
    return frozenset(condition for condition, true in holds.items() if not true)


def code_that_runs(code: dict[str, Any], place: Place, config: GPTConfig) -> dict[str, Any]:
    """`code` of backwards.code_of, without the marks of lines that do nothing here."""
    skipped = _lines_behind(place, false_conditions(config))
    skipped |= {number for number, line in code["lines"] if "dropout_" in line}
    marked = [number for number in code["marked"] if number not in skipped]
    if not marked:
        return code
    lines = [line for line in code["lines"] if line[0] <= marked[-1]]
    return code | {"lines": lines, "marked": marked}


@cache
def _lines_behind(place: Place, conditions: frozenset[str]) -> frozenset[int]:
    nodes = [n for n in ast.walk(ast.parse(place.source)) if isinstance(n, ast.If)]
    inside = [
        statement
        for node in nodes
        if ast.unparse(node.test) in conditions
        for statement in node.body
    ]
    first = place.line - 1
    return frozenset(
        number
        for statement in inside
        for number in range(
            first + statement.lineno, first + (statement.end_lineno or statement.lineno) + 1
        )
    )
