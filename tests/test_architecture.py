"""The house stands as it was drawn: who imports whom, and what nobody may do."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import gpt_numpy

PACKAGE = Path(gpt_numpy.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# From the ground up. A module imports modules of lower floors and, without circles, of its own.
# One that is missing here fails.
FLOORS = [
    ["gpt_numpy"],
    ["errors"],
    ["durable", "locks", "checks", "archives", "mutation"],
    ["config", "presets", "progress", "threads", "environment"],
    ["settings", "command_config"],
    ["arrays"],
    ["reference", "kernels"],
    ["wiring", "memory", "pickles", "downloads", "bpe", "token_files"],
    ["tokenizers"],
    ["bins", "texts", "gpt2_vocabulary"],
    ["datasets", "preparation"],
    ["model"],
    ["decoding", "sampling", "streaming"],
    ["optimizer", "flops", "generation", "evaluation", "torch_gpt"],
    ["checkpoint", "compiling", "gradients", "observation"],
    ["runs"],
    ["interop"],
    ["training", "inspection"],
    ["bench", "selfcheck"],
    ["commands"],
    ["cli"],
    ["__main__"],
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}


def name_of(path):
    """The module of a file; a subpackage counts as one."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "gpt_numpy" if parts == ("__init__",) else parts[0]


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(tree, *, types_too=True):
    """The full names of everything that is imported anywhere in a file."""
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not types_too:
            skipped |= {id(inner) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(tree):
    for name in imported(tree, types_too=False):
        parts = name.split(".")
        if parts[0] == "gpt_numpy":
            yield parts[1] if len(parts) > 1 and parts[1] in FLOOR else "gpt_numpy"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    name = name_of(path)
    assert name in FLOOR, "a new module: give it its place in FLOORS"
    for other in ours(tree_of(path)):
        assert FLOOR[other] <= FLOOR[name], f"{name} imports {other}"


def test_modules_of_one_floor_do_not_import_each_other_in_a_circle():
    edges = {}
    for path in FILES:
        edges.setdefault(name_of(path), set()).update(set(ours(tree_of(path))) - {name_of(path)})
    done = set()

    def visit(name, above):
        assert name not in above, f"a circle: {above} {name}"
        if name not in done:
            for other in edges.get(name, ()):
                visit(other, (*above, name))
            done.add(name)

    for name in edges:
        visit(name, ())


def test_reference_and_kernels_do_not_know_each_other():
    for path in FILES:
        for one, other in (("reference", "kernels"), ("kernels", "reference")):
            if name_of(path) == one:
                assert other not in set(ours(tree_of(path)))
                assert f"gpt_numpy.{other}" not in path.read_text(encoding="utf-8")


def test_numba_is_imported_in_kernels_alone():
    for path in FILES:
        if name_of(path) != "kernels":
            roots = {name.split(".")[0] for name in imported(tree_of(path))}
            assert not roots & {"numba", "llvmlite"}, path


def test_what_is_imported_is_numpy_the_standard_library_or_asked_for_late():
    allowed = {"numpy", "gpt_numpy", *sys.stdlib_module_names}
    for path in FILES:
        if name_of(path) in ("kernels", "torch_gpt"):  # imported late themselves
            continue
        tree = tree_of(path)
        at_the_top = ast.Module([n for n in tree.body if not isinstance(n, ast.FunctionDef)], [])
        roots = {name.split(".")[0] for name in imported(at_the_top)}
        assert roots <= allowed, (path, roots - allowed)


def test_nothing_executes_what_it_reads():
    dangerous = {"eval", "exec", "compile", "__import__"}
    modules = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle"}
    for path in FILES:
        tree = tree_of(path)
        roots = {name.split(".")[0] for name in imported(tree)}
        assert not roots & modules, path
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                if isinstance(node.func, ast.Name):
                    assert node.func.id not in dangerous, (path, node.lineno)
                keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert keywords.get("allow_pickle", "False") == "False", (path, node.lineno)
                assert keywords.get("shell", "False") == "False", (path, node.lineno)
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("np.load", "numpy.load"):
                raise AssertionError(f"{path}, line {node.lineno}: np.load")


def test_everything_public_says_what_it_is():
    for path in FILES:
        tree = tree_of(path)
        if path.name != "__init__.py" or tree.body:
            assert ast.get_docstring(tree), path
        for outer in [tree, *tree.body]:
            if (
                isinstance(outer, ast.Module | ast.ClassDef)
                and getattr(outer, "name", "")[:1] != "_"
            ):
                for item in outer.body:
                    if isinstance(item, ast.FunctionDef | ast.ClassDef) and item.name[0] != "_":
                        assert ast.get_docstring(item), f"{path}: {item.name}"


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, gpt_numpy; print([m for m in ('numpy', 'numba') if m in sys.modules])"
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_every_public_name_is_there_and_an_unknown_one_is_not():
    for name in gpt_numpy.__all__:
        assert getattr(gpt_numpy, name) is not None
    assert callable(gpt_numpy.gradcheck)
    with pytest.raises(AttributeError, match="no attribute 'gpt'"):
        _ = gpt_numpy.gpt


def test_no_file_is_too_long_to_read_in_one_go():
    for path in FILES:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 350, f"{path} has {lines} lines"
        assert path.name not in ("utils.py", "helpers.py", "misc.py")
