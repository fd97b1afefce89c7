"""Backward as a list of steps: from the loss to the embeddings, one for each line of forward.

Each step has the forward line, the equations derived from it, the arrays whose gradients come in
and go out, the lines of the reference that compute them, and what computed them in this pass.
"""

import ast
from functools import cache
from typing import Any

from gpt_numpy.inspection.trace import operations as op
from gpt_numpy.inspection.trace.diagram import Node
from gpt_numpy.inspection.trace.operations import Operation, place_of
from gpt_numpy.inspection.trace.trace import Trace

TITLES: tuple[tuple[Operation, str], ...] = (
    (op.EMBEDDING, "token and position embedding"),
    (op.BLOCK_NORM, "layer norm"),
    (op.LAST_NORM, "last layer norm"),
    (op.QKV, "query, key and value"),
    (op.SPLIT, "split into heads"),
    (op.SCORES, "scores"),
    (op.SOFTMAX, "mask and softmax"),
    (op.AVERAGE, "average of the values"),
    (op.MERGE, "heads side by side"),
    (op.ATTENTION_PROJECTION, "attention's projection"),
    (op.ATTENTION_SUM, "sum with the residual stream"),
    (op.FC, "MLP, first product"),
    (op.MLP_PROJECTION, "MLP, second product"),
    (op.MLP_SUM, "sum with the residual stream"),
    (op.HEAD, "head"),
    (op.LOSS, "softmax and loss"),
)
# What the code calls a gradient where it is not d + the derivation's letter.
CODE_NAMES = {
    ("attention", "qkv"): ("dQ", "dK", "dV"),
    ("attention", "heads"): ("dO",),
    ("attention", "p"): ("dw", "dp"),
    ("cross_entropy", "z"): ("dlogits",),
    ("head", "head"): ("dnorm",),
}


def steps(trace: Trace) -> list[dict[str, Any]]:
    """The steps of backward, the one next to the loss first."""
    return [_step(trace, node) for node in reversed(trace.diagram)]


def _step(trace: Trace, node: Node) -> dict[str, Any]:
    gradients = [node.arrays[argument] for argument in node.read]
    parameters = [name for name in gradients if trace[name].kind == "parameter"]
    written = [node.arrays[argument] for argument in node.written]
    operation = node.operation
    return {
        "place": _place(written[-1]),
        "title": _title(operation),
        "forward": list(dict.fromkeys(operation.forward[a] for a in node.written)),
        "derivation": f"gpt_numpy/reference/{operation.derivation}.py",
        "incoming": [
            name for name in written if name not in gradients and trace[name].grad is not None
        ],
        "outgoing": [name for name in gradients if name not in parameters],
        "parameters": parameters,
        "letters": dict(node.arrays),
        "equations": [_equation(trace, node, argument) for argument in node.read],
    }


def _title(operation: Operation) -> str:
    for known, title in TITLES:
        if operation is known:
            return title
    return "MLP, nonlinearity"


def _place(name: str) -> str:
    parts = name.split(".")
    return f"block {parts[1]}" if parts[0] == "h" else "embedding" if parts[0] == "embedding" else (
        "head"
    )  # fmt: skip


def _equation(trace: Trace, node: Node, argument: str) -> dict[str, Any]:
    operation, name = node.operation, node.arrays[argument]
    own = operation.backward[argument]
    # A gradient with several terms has a step for each; that of this node is known by its text.
    found = [step for step in trace[name].backward if step.arrays == node.arrays]
    module, function = _reference_of(operation)
    return {
        "array": name,
        "letter": argument,
        "text": own,
        "computed": str(next(step.function for step in found if step.equation == own)),
        "code": code_of(module, function, code_names(operation, argument)),
    }


def _reference_of(operation: Operation) -> tuple[str, str]:
    """The function of the reference in which the derivation of this operation is written down."""
    if operation is op.MERGE:
        return "attention", "attention_backward"
    if operation is op.HEAD:
        return "head", "head_backward"
    module, _, function = operation.reference["backward"].rpartition(".")
    return module, function


def code_names(operation: Operation, argument: str) -> tuple[str, ...]:
    """What the code calls the gradient of an argument."""
    kind = "head" if operation is op.HEAD and argument == "x" else argument
    return CODE_NAMES.get((operation.derivation, kind), (f"d{argument}",))


@cache
def code_of(module: str, function: str, names: tuple[str, ...]) -> dict[str, Any]:
    """The lines of a reference function that write the variables `names`, and where they are.

    The comment that quotes the forward line comes with them.
    """
    place = place_of(f"gpt_numpy.reference.{module}", function)
    lines = place.file.read_text(encoding="utf-8").splitlines()
    tree = ast.parse("\n".join(lines))
    body = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == function)
    found = [s for s in ast.walk(body) if isinstance(s, ast.stmt) and _written(s) & set(names)]
    writing = [s for s in found if not _only_names(s)] or found
    marked = {
        line for s in writing for line in range(s.lineno, (s.end_lineno or s.lineno) + 1)
    }  # fmt: skip
    first = min(marked)
    for above in range(first - 1, body.lineno, -1):
        text = lines[above - 1].strip()
        if text.startswith("# forward:"):
            first = above
        if text.startswith("# forward:") or text.endswith(('"""', ":")):
            break
    shown = range(first, max(marked) + 1)
    return {
        "file": f"gpt_numpy/reference/{module}.py",
        "function": place.name,
        "lines": [[number, lines[number - 1]] for number in shown],
        "marked": sorted(marked),
    }


def _only_names(statement: ast.stmt) -> bool:
    """Whether it only makes room, or takes several arrays apart, which others then write."""
    return isinstance(statement, ast.Assign) and (
        isinstance(statement.targets[0], ast.Tuple) or "empty_like" in ast.unparse(statement)
    )


def _written(statement: ast.stmt) -> set[str]:
    """The variables that a simple statement writes: targets, and what a call is given to write."""
    if isinstance(statement, ast.Assign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return {
            inner.id
            for target in targets
            for inner in _names(target.value if isinstance(target, ast.Subscript) else target)
        }
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call):
        return set()
    given: list[ast.AST] = [keyword.value for keyword in call.keywords]
    if isinstance(call.func, ast.Attribute) and call.func.attr == "at":  # np.add.at(table, ...)
        given += call.args[:1]
    return {inner.id for value in given for inner in _names(value)}


def _names(tree: ast.AST) -> list[ast.Name]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
