"""The house stands as it was drawn: who imports whom, and what nobody may do."""

import ast
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gpt_numpy

PACKAGE = Path(gpt_numpy.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# From the ground up; a room imports lower rooms, and files of its own. One that is missing fails.
FLOORS = [
    ["base"],
    ["files", "config", "reference"],
    ["data", "kernels", "parallel"],
    ["model"],
    ["generation", "gradients"],
    ["training"],
    ["interop", "inspection", "bench"],
    ["cli"],
    ["__main__"],
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}


def module_of(path, package):
    """The dotted name of a file within the package; "" is the package itself."""
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module):
    return module.split(".")[0]


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


def imports_of(package):
    """Which modules of the package each of its modules imports, wherever in the file."""
    modules = {module_of(path, package): path for path in sorted(package.rglob("*.py"))}
    found = {}
    for module, path in modules.items():
        # Imports for type checkers count, too: files that need each other's types are a circle.
        names = [name.partition(".")[2] for name in imported(tree_of(path)) if "gpt_numpy" in name]
        homes = {name if name in modules else name.rpartition(".")[0] for name in names}
        found[module] = homes & set(modules) - {module, ""}
    del found[""]  # hands names out lazily, and is imported by all that need none of them
    return found


def circle_in(imports):
    """The modules of a circle of imports, in order, or None."""
    done = set()

    def visit(module, above):
        if module in above:
            return [*above[above.index(module) :], module]
        if module not in done:
            for other in sorted(imports.get(module, ())):
                if circle := visit(other, [*above, module]):
                    return circle
            done.add(module)
        return None

    return next((circle for module in imports if (circle := visit(module, []))), None)


def upward(imports):
    """Every import of a higher room, or of another one on the same floor."""
    return [
        (module, other)
        for module, others in imports.items()
        for other in others
        if room_of(other) != room_of(module) and FLOOR[room_of(other)] >= FLOOR[room_of(module)]
    ]


def test_every_room_has_its_floor():
    rooms = {room_of(module_of(path, PACKAGE)) for path in FILES} - {""}
    assert rooms == set(FLOOR)


def test_imports_point_down_and_never_in_a_circle_file_by_file():
    imports = imports_of(PACKAGE)
    assert circle_in(imports) is None
    assert upward(imports) == []
    # Within the kernels the engine knows no product and no layer.
    for module, others in imports.items():
        if module.startswith("kernels.engine"):
            assert {other for other in others if room_of(other) == "kernels"} <= {
                other for other in imports if other.startswith("kernels.engine")
            }


def test_a_circle_inside_of_a_folder_and_an_upward_import_are_noticed(tmp_path):
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None
    copy = tmp_path / "gpt_numpy"
    shutil.copytree(PACKAGE, copy)
    with open(copy / "base" / "errors.py", "a", encoding="utf-8") as file:
        file.write("from gpt_numpy.base.checks import shown\n")
    assert set(circle_in(imports_of(copy))) >= {"base.errors", "base.checks"}
    shutil.copy2(PACKAGE / "base" / "errors.py", copy / "base" / "errors.py")
    with open(copy / "data" / "batches.py", "a", encoding="utf-8") as file:
        file.write("def late():\n    from gpt_numpy.model.gpt import GPT\n")
    assert ("data.batches", "model.gpt") in upward(imports_of(copy))


def test_the_reference_does_not_know_the_kernels_which_know_its_named_tuples_alone():
    for path in FILES:
        module = module_of(path, PACKAGE)
        if room_of(module) == "reference":
            assert "gpt_numpy.kernels" not in path.read_text(encoding="utf-8")
        if room_of(module) == "kernels":
            for name in imported(tree_of(path)):
                if name.startswith("gpt_numpy.reference."):
                    home, _, thing = name.rpartition(".")
                    thing = getattr(importlib.import_module(home), thing)
                    kind = thing if isinstance(thing, type) else type(thing)
                    assert hasattr(kind, "_fields"), (path, name)


def parameters_of(function):
    listed = function.args
    names = [a.arg for a in [*listed.posonlyargs, *listed.args, *listed.kwonlyargs]]
    return [name for name in names if name not in ("self", "cls")]


def test_no_function_but_compiled_entry_points_has_more_than_ten_parameters():
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef) and len(parameters_of(node)) > 10:
                decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
                assert decorators == ["kernel"] or node.name in SEALED, (path, node.name)


# Keyword-only settings, each with a default: of a public face, with the names that users know, and
# of a pair of layer functions whose weights come one by one.
SEALED = ("generate", "stream", "queries_keys_backward")


def public_names(tree):
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"
    ]


def test_no_two_public_things_have_one_name():
    # A kernel is the twin of a reference of the same name; commands have `run`.
    homes = {}
    for path in FILES:
        module = module_of(path, PACKAGE)
        if room_of(module) not in ("kernels", "reference") and "commands" not in module:
            for name in public_names(tree_of(path)):
                homes.setdefault(name, []).append(module)
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


def test_no_two_modules_have_one_name():
    names = {}
    for path in FILES:
        module = module_of(path, PACKAGE)
        twin = room_of(module) in ("reference", "kernels") or "commands" in module
        if path.name != "__init__.py" and not twin:
            names.setdefault(path.name, []).append(module)
    assert {name: found for name, found in names.items() if len(found) > 1} == {}


def test_numba_is_imported_in_kernels_alone():
    for path in FILES:
        if room_of(module_of(path, PACKAGE)) != "kernels":
            roots = {name.split(".")[0] for name in imported(tree_of(path))}
            assert not roots & {"numba", "llvmlite"}, path


def test_what_is_imported_is_numpy_the_standard_library_or_asked_for_late():
    allowed = {"numpy", "gpt_numpy", "tqdm", *sys.stdlib_module_names}
    for path in FILES:
        if room_of(module_of(path, PACKAGE)) == "kernels":  # imported late themselves
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
