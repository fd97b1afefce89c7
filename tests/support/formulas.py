"""Execute the formulas of a text: its indented lines, which are Python.

A line `a == b` is a claim, and is compared; any other is a statement, and is executed; what it
assigns is there for the following lines. `jacobian(f, x)[k, j]` is the derivative of f(x)[k] with
respect to x[j].
"""

import ast
import textwrap

import numpy as np


def jacobian(function, x):
    """By the complex step: exact to the last digits."""
    columns = []
    for j in range(x.size):
        moved = x.astype(complex)
        moved[j] += 1e-30j
        columns.append(np.atleast_1d(function(moved)).imag / 1e-30)
    return np.stack(columns, axis=-1)


def formulas(text):
    """The indented lines of a text that are not commands for a terminal."""
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    return [line for line in lines if not line.startswith("python")]


def execute(lines, names):
    """Run every line; the names at the end, and how many claims held."""
    names, claims = {"np": np, "jacobian": jacobian, **names}, 0
    for line in lines:
        (statement,) = ast.parse(textwrap.dedent(line)).body
        if isinstance(statement, ast.Expr):
            claim = statement.value
            assert isinstance(claim, ast.Compare) and len(claim.ops) == 1, line
            assert isinstance(claim.ops[0], ast.Eq), line
            left, right = (
                eval(ast.unparse(side), names) for side in (claim.left, claim.comparators[0])
            )
            assert np.shape(left) == np.shape(right), line
            np.testing.assert_allclose(left, right, rtol=1e-10, atol=1e-12, err_msg=line)
            claims += 1
        else:
            exec(line, names)
    return names, claims
