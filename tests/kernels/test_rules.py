"""What neither Numba nor a stress test finds, read from the sources of the kernels."""

import ast
from pathlib import Path

import pytest

import gpt_numpy.kernels

FOLDER = Path(gpt_numpy.kernels.__file__).parent
SOURCES = {path.name: path.read_text() for path in sorted(FOLDER.rglob("*.py"))}


def violations(source, is_jit=False):
    """The rules that a source breaks, with line numbers."""
    tree = ast.parse(source)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "fastmath":
            if isinstance(node.value, ast.Constant) and node.value.value:
                found.append((node.value.lineno, "fastmath=True"))
        mentioned = getattr(node, "attr", getattr(node, "id", None))
        if mentioned in ("njit", "jit", "vectorize", "guvectorize") and not is_jit:
            if not (isinstance(node, ast.Name) and mentioned == "jit"):
                found.append((node.lineno, f"{mentioned} outside of jit.py"))
        if isinstance(node, ast.ImportFrom) and (node.module or "").endswith("reference"):
            found.append((node.lineno, "kernels import reference"))
        if isinstance(node, ast.For) and "prange" in ast.dump(node.iter):
            found += parallel_violations(node)
    return found


def parallel_violations(loop):
    """What may not stand in a parallel loop."""
    found = []
    inside = [node for statement in loop.body for node in ast.walk(statement)]
    assigned_inside = {
        target.id
        for node in inside
        if isinstance(node, ast.Assign)
        for part in node.targets
        for target in ast.walk(part)
        if isinstance(target, ast.Name)
    } | {
        target.id
        for node in inside
        if isinstance(node, ast.For)
        for target in ast.walk(node.target)
        if isinstance(target, ast.Name)
    }
    for node in inside:
        if isinstance(node, ast.Raise | ast.Assert):
            found.append((node.lineno, "raise or assert in prange"))
        if isinstance(node, ast.AugAssign):
            target = node.target
            if isinstance(target, ast.Name) and target.id not in assigned_inside:
                found.append((node.lineno, f"sum {target.id} over prange"))
            if isinstance(target, ast.Subscript) and any(
                isinstance(part, ast.Subscript) for part in ast.walk(target.slice)
            ):
                if getattr(target.value, "id", None) not in assigned_inside:  # a view of its own
                    found.append((node.lineno, "sum at an index that was looked up in prange"))
    return found


@pytest.mark.parametrize("name", SOURCES)
def test_kernels_keep_the_rules(name):
    assert violations(SOURCES[name], is_jit=name == "jit.py") == []


@pytest.mark.parametrize(
    "source",
    [
        "f = njit(g, fastmath=True)",
        "import numba\n@numba.njit\ndef f(): ...",
        "for i in prange(n):\n    total += x[i]",
        "for i in prange(n):\n    assert x[i] > 0",
        "for i in prange(n):\n    raise ValueError",
        "for i in prange(n):\n    out[index[i]] += x[i]",
        "from gpt_numpy.reference import linear",
    ],
)
def test_the_check_sees(source):
    assert violations(source)
