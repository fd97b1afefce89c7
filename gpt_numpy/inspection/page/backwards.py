"""Backward as a list of steps, from the loss to the embeddings: one for each line of forward.

Each step has the forward line, the equations derived from it, the arrays whose gradients come in
and go out, the lines of the reference that compute them, and the function that did so in this pass.
"""

import ast
import re
from functools import cache
from typing import Any

from gpt_numpy.inspection.page.conditions import code_that_runs
from gpt_numpy.inspection.trace.diagram import Node, layer_title
from gpt_numpy.inspection.trace.operation import Place, function_named, place_of
from gpt_numpy.inspection.trace.trace import Trace

# What the equations of backward call an array of forward in addition to its letter.
OTHER_LETTERS = {("attention", "p"): "w", ("head", "x"): "norm"}  # without dropout w is p
OTHER_LETTERS |= {("queries_keys", "qkv"): "x"}
OTHER_LETTERS |= dict.fromkeys((("queries_keys", "q_norm"), ("queries_keys", "k_norm")), "weight")

# What the code calls the gradient of an argument, where that is not "d" + the argument.
CODE_NAMES = {
    ("attention", "qkv"): ("dQ", "dK", "dV"),
    ("attention", "heads"): ("dO",),
    ("attention", "p"): ("dw", "dp"),
    ("cross_entropy", "z"): ("dlogits",),
    ("head", "x"): ("dk.norm",),
    ("head", "weight"): ("dw.weight",),
    ("queries_keys", "qkv"): ("dx",),
    ("queries_keys", "q_norm"): ("dweight",),
    ("queries_keys", "k_norm"): ("dweight",),
    ("rotary", "qkv"): ("dx",),
}


def steps(trace: Trace) -> list[dict[str, Any]]:
    """The steps of backward, the one next to the loss first."""
    backward = list(reversed(trace.diagram))
    return [_step(trace, node, backward) for node in backward]


def _step(trace: Trace, node: Node, backward: list[Node]) -> dict[str, Any]:
    gradients = [node.arrays[letter] for letter in node.read]
    parameters = [name for name in gradients if trace[name].kind == "parameter"]
    written = [node.arrays[letter] for letter in node.written]
    operation = node.operation
    return {
        "place": layer_title(written[-1]),
        "title": operation.title,
        "forward": list(dict.fromkeys(operation.forward[letter] for letter in node.written)),
        "derivation": f"gpt_numpy/reference/{operation.derivation}.py",
        "needed": _needed(trace, node),
        "incoming": [n for n in written if n not in gradients and trace[n].grad is not None],
        "outgoing": [name for name in gradients if name not in parameters],
        "parameters": parameters,
        "equations": [_equation(trace, node, letter, backward) for letter in node.read],
    }


def _needed(trace: Trace, node: Node) -> list[str]:
    """The arrays of forward whose letters stand in the equations of backward, parameters too."""
    texts = " ".join(node.operation.backward[letter] for letter in node.read)
    texts = re.sub(r"\(what .*?\)", "", texts)
    derivation = node.operation.derivation
    letters = [
        letter
        for letter in node.arrays
        if re.search(
            rf"(?<![\w∂])({letter}|{OTHER_LETTERS.get((derivation, letter), letter)})(_|\b(?!\())",
            texts,
        )
    ]
    return [name for name in dict.fromkeys(node.arrays[k] for k in letters) if name in trace]


def _equation(trace: Trace, node: Node, letter: str, backward: list[Node]) -> dict[str, Any]:
    """`others`: the other steps, from 1, that have a term of this gradient, which is a sum."""
    operation, array = node.operation, node.arrays[letter]
    readers = {k: [n.arrays[x] for x in n.read] for k, n in enumerate(backward, start=1)}
    text = operation.backward[letter]
    # A gradient that is a sum has a step for each term; find the one of this node.
    step = next(s for s in trace[array].backward if (s.arrays, s.equation) == (node.arrays, text))
    place = operation.function("reference", "backward")
    if not place.module.endswith(f".{operation.derivation}"):  # the derived function calls that one
        name = f"{operation.derivation}.{operation.derivation}_backward"
        place = place_of(function_named(f"gpt_numpy.reference.{name}"))
    names = CODE_NAMES.get((operation.derivation, letter), (f"d{letter}",))
    return {
        "array": array,
        "text": text,
        "others": [k for k, r in readers.items() if array in r and backward[k - 1] is not node],
        "computed": str(step.function),
        "code": code_that_runs(code_of(place, names), place, trace.config),
    }


# What the code calls an array that forward writes, where that is not the letter itself.
FORWARD_NAMES = {
    ("layernorm", "xhat"): ("out",),
    ("attention", "attn"): ("out",),
    ("embedding", "out"): ("row",),
    ("cross_entropy", "loss"): ("out",),
    ("cross_entropy", "P"): ("lse",),
    ("queries_keys", "out"): ("ready",),
} | {("attention", letter): ("Q, K, V",) for letter in "QKV"}


def forward_code(trace: Trace) -> dict[str, Any]:
    """Of each array that forward computes: the lines of the reference that write it."""
    found = {}
    for node in trace.diagram:
        operation = node.operation
        place = operation.function("reference", "forward")
        for letter in node.written:
            names = FORWARD_NAMES.get((operation.derivation, letter), (letter,))
            code = code_of(place, names)
            found[node.arrays[letter]] = code_that_runs(code, place, trace.config)
    return found


@cache
def statements_of(place: Place) -> list[set[int]]:
    """The numbers of the lines of each statement of a function that has no statements inside."""
    inside = ast.walk(ast.parse(place.source))
    simple = [node for node in inside if isinstance(node, ast.stmt) and not hasattr(node, "body")]
    first = place.line - 1
    return [set(range(first + s.lineno, first + (s.end_lineno or s.lineno) + 1)) for s in simple]


@cache
def code_of(place: Place, names: tuple[str, ...]) -> dict[str, Any]:
    """The lines of a reference function that write the variables `names`, marked.

    They begin at the comment `# forward:` that quotes what they differentiate. If no line writes
    them, the whole function is shown.
    """
    lines = dict(enumerate(place.source.splitlines(), start=place.line))
    name = "|".join(map(re.escape, names))
    # An assignment, np.add.at(name, ...), or an argument that a call writes to (out=name).
    written = re.compile(rf"^\s*\(?({name})(,\)|\[.*\])? [-+*]?= |\.at\(({name}),|=({name})\b")
    found = {number for number, line in lines.items() if written.search(line)}
    marked = sorted(found.union(*(s for s in statements_of(place) if s & found)))
    first, last = (marked[0], marked[-1]) if marked else (place.line, max(lines))
    above = [n for n, line in lines.items() if "# forward:" in line and n < first]
    return {
        "file": f"{place.module.replace('.', '/')}.py",
        "function": place.name,
        "lines": [
            [number, lines[number]]
            for number in range(above[-1] if above else first, last + 1)
            if not lines[number].lstrip().startswith("tap(")  # for hooks
        ],
        "marked": marked,
    }
