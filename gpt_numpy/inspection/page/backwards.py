"""Backward as a list of steps, from the loss to the embeddings: one for each line of forward.

Each step has the forward line, the equations derived from it, the arrays whose gradients come in
and go out, the lines of the reference that compute them, and the function that did so in this pass.
"""

import re
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
# What the code calls the gradient of an argument, where that is not "d" + the argument.
CODE_NAMES = {
    ("attention", "qkv"): ("dQ", "dK", "dV"),
    ("attention", "heads"): ("dO",),
    ("attention", "p"): ("dw", "dp"),
    ("cross_entropy", "z"): ("dlogits",),
    ("head", "x"): ("dk.norm",),
    ("head", "weight"): ("dw.weight",),
}


def steps(trace: Trace) -> list[dict[str, Any]]:
    """The steps of backward, the one next to the loss first."""
    return [_step(trace, node) for node in reversed(trace.diagram)]


def _step(trace: Trace, node: Node) -> dict[str, Any]:
    gradients = [node.arrays[argument] for argument in node.read]
    parameters = [name for name in gradients if trace[name].kind == "parameter"]
    written = [node.arrays[argument] for argument in node.written]
    operation = node.operation
    titles = [title for known, title in TITLES if known is operation]
    return {
        "place": _place(written[-1]),
        "title": titles[0] if titles else "MLP, nonlinearity",
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


def _place(name: str) -> str:
    layer, _, rest = name.partition(".")
    if layer == "h":
        return f"block {rest.partition('.')[0]}"
    return "embedding" if layer == "embedding" else "head"


def _equation(trace: Trace, node: Node, argument: str) -> dict[str, Any]:
    operation, name = node.operation, node.arrays[argument]
    own = operation.backward[argument]
    # A gradient that is a sum has a step for each term; find the one of this node.
    found = [step for step in trace[name].backward if step.arrays == node.arrays]
    module, function = _reference_of(operation)
    names = CODE_NAMES.get((operation.derivation, argument), (f"d{argument}",))
    return {
        "array": name,
        "letter": argument,
        "text": own,
        "computed": str(next(step.function for step in found if step.equation == own)),
        "code": code_of(module, function, names),
    }


def _reference_of(operation: Operation) -> tuple[str, str]:
    """The module and function of the reference that compute this operation's gradients."""
    if operation is op.MERGE:
        return "attention", "attention_backward"
    if operation is op.HEAD:
        return "head", "head_backward"
    module, _, function = operation.reference["backward"].rpartition(".")
    return module, function


@cache
def code_of(module: str, function: str, names: tuple[str, ...]) -> dict[str, Any]:
    """The lines of a reference function that write the variables `names`, marked.

    They are shown from the comment `# forward:` that quotes what they differentiate.
    """
    place = place_of(f"gpt_numpy.reference.{module}", function)
    lines = dict(enumerate(place.source.splitlines(), start=place.line))
    name = "|".join(map(re.escape, names))
    # An assignment, np.add.at(name, ...), or an argument that a call writes to (out=name).
    written = re.compile(rf"^\s*\(?({name})(,\)|\[.*\])? [-+]?= |\.at\(({name}),|=({name})\b")
    marked = [number for number, line in lines.items() if written.search(line)]
    above = [n for n, line in lines.items() if "# forward:" in line and n < marked[0]]
    return {
        "file": f"gpt_numpy/reference/{module}.py",
        "function": place.name,
        "lines": [
            [number, lines[number]]
            for number in range(above[-1] if above else marked[0], marked[-1] + 1)
            if not lines[number].lstrip().startswith("tap(")  # hooks, no part of the derivative
        ],
        "marked": marked,
    }
