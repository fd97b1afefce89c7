"""The structure of the package: who imports whom, what is named how, and what nobody may do."""

import ast
import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gpt_numpy

PACKAGE = Path(gpt_numpy.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

TESTS = Path(__file__).parent

# The rooms from the ground up. A room may import rooms of lower floors, never of its own or higher.
FLOORS = [
    ["base"],
    ["files", "config"],
    ["data", "reference", "kernels"],
    ["model"],
    ["generation"],
    ["gradients", "training"],
    ["interop", "inspection", "bench"],
    ["cli"],
    ["gpt_numpy"],  # its __init__: the public face, which nothing in the package imports
    ["__main__"],
]
# The floors inside of kernels/; what is not here is a layer, on the top floor.
KERNEL_FLOORS = [
    ["engine"],
    ["elementary"],
    ["rows"],
    ["activation", "dropout"],
    ["products"],
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
KERNEL_FLOOR = {name: number for number, names in enumerate(KERNEL_FLOORS) for name in names}

# Functions with more than ten parameters, to be replaced by named tuples: none may be added.
MANY_PARAMETERS_STILL = {
    "kernels/adamw.py: adamw_update",
    "kernels/decoding.py: decode_step",
    "kernels/layernorm.py: _backward",
    "kernels/layernorm.py: layernorm_backward_again",
    "kernels/products/matmul.py: multiply",
    "kernels/sublayers.py: attention_sublayer_backward",
    "kernels/sublayers.py: attention_sublayer_forward",
    "kernels/sublayers.py: head_backward",
    "kernels/sublayers.py: head_loss_backward",
    "kernels/sublayers.py: head_loss_forward",
    "kernels/sublayers.py: mlp_sublayer_backward",
    "kernels/sublayers.py: mlp_sublayer_forward",
    "reference/adamw.py: adamw_update",
    "reference/decoding.py: decode_step",
    "reference/sublayers.py: attention_sublayer_backward",
    "reference/sublayers.py: attention_sublayer_forward",
    "reference/sublayers.py: head_backward",
    "reference/sublayers.py: head_loss_backward",
    "reference/sublayers.py: head_loss_forward",
    "reference/sublayers.py: mlp_sublayer_backward",
    "reference/sublayers.py: mlp_sublayer_forward",
}
# Compiled, but not entry points: Numba inlines them into kernels.
MANY_PARAMETERS_COMPILED = {
    "kernels/adamw.py: update",
    "kernels/decoding.py: add_and_normalise",
    "kernels/decoding.py: head_attention",
    "kernels/decoding.py: product_task",
    "kernels/products/epilogue.py: finish_row",
    "kernels/products/matmul.py: strip_by_columns",
    "kernels/products/matmul.py: strip_by_rows",
    "kernels/products/tile.py: tile_by_columns",
    "kernels/products/tile.py: tile_by_rows",
}
# Names that two files, or public things of two files, still share: none may be added.
SHARED_FILE_NAMES_STILL = {"gpt.py", "history.py"}
SHARED_NAMES_STILL = {
    *("Machine", "Row", "likeliest", "opened", "probabilities", "read", "replaced", "scores"),
    *("set_threads", "transposed", "write"),
    *("backward", "collect", "dot", "fill", "forward", "pack"),  # compiled, inside of kernels/
}


def room_of(module):
    """`model` for gpt_numpy.model.gpt."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(tree):
    """The full names of everything that is imported anywhere in a file, late or for types too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@functools.cache
def imported_by(source):
    return set(imported(ast.parse(source)))


def graph_of(package):
    """For each module of a package the modules of it that it imports."""
    paths = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package.parent).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph = {}
    for module, path in paths.items():
        graph[module] = set()
        for name in imported_by(path.read_text(encoding="utf-8")):
            while name and name not in paths:
                name = name.rpartition(".")[0]
            if name and name != module:
                graph[module].add(name)
    return graph


def circle_in(graph):
    """The modules of one circle of imports, in order; none: an empty list."""
    done = set()

    def visit(module, above):
        if module in above:
            return [*above[above.index(module) :], module]
        if module not in done:
            for other in sorted(graph[module]):
                if found := visit(other, [*above, module]):
                    return found
            done.add(module)
        return []

    return next((found for module in sorted(graph) if (found := visit(module, []))), [])


def upward_in(graph):
    """Every import that does not point down, as (module, imported)."""
    found = []
    for module, others in graph.items():
        for other in others:
            rooms = room_of(module), room_of(other)
            assert rooms[0] in FLOOR, f"a new room, {rooms[0]}: give it its place in FLOORS"
            if rooms == ("kernels", "kernels"):
                inner = (name.split(".")[2] if "." in name[10:] else "" for name in (module, other))
                floors = [KERNEL_FLOOR.get(name, len(KERNEL_FLOORS)) for name in inner]
                wrong = floors[1] > floors[0]
            else:
                wrong = rooms[0] != rooms[1] and FLOOR[rooms[1]] >= FLOOR[rooms[0]]
            found += [(module, other)] if wrong else []
    return found


def test_imports_point_down():
    assert upward_in(graph_of(PACKAGE)) == []


def test_no_module_imports_itself_by_way_of_others():
    assert circle_in(graph_of(PACKAGE)) == []


def test_a_circle_and_an_import_upwards_are_found_in_a_small_graph():
    graph = {
        "gpt_numpy.cli.a": {"gpt_numpy.model.b"},
        "gpt_numpy.model.b": {"gpt_numpy.model.c", "gpt_numpy.base.d"},
        "gpt_numpy.model.c": {"gpt_numpy.base.d"},
        "gpt_numpy.base.d": set(),
    }
    assert circle_in(graph) == upward_in(graph) == []
    late = graph | {"gpt_numpy.model.c": {"gpt_numpy.base.d", "gpt_numpy.model.b"}}
    assert circle_in(late) == ["gpt_numpy.model.b", "gpt_numpy.model.c", "gpt_numpy.model.b"]
    assert upward_in(late) == []
    high = graph | {"gpt_numpy.base.d": {"gpt_numpy.data.e"}, "gpt_numpy.data.e": set()}
    assert upward_in(high) == [("gpt_numpy.base.d", "gpt_numpy.data.e")] and circle_in(high) == []
    level = {"gpt_numpy.kernels.rows": {"gpt_numpy.reference.x"}, "gpt_numpy.reference.x": set()}
    inner = {
        "gpt_numpy.kernels.engine.jit": {"gpt_numpy.kernels.layer"},
        "gpt_numpy.kernels.layer": set(),
    }
    assert len(upward_in(level)) == len(upward_in(inner)) == 1


@pytest.mark.parametrize("how", ["if TYPE_CHECKING:", "def late():"])
def test_a_circle_and_an_import_upwards_are_found_in_the_package(tmp_path, how):
    copy = tmp_path / PACKAGE.name
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    graph = graph_of(copy)

    def add_import(module, other):
        path = copy.parent / Path(*module.split(".")).with_suffix(".py")
        line = "from {} import {}".format(*other.rsplit(".", 1))
        source = path.read_text(encoding="utf-8")
        path.write_text(f"{source}\n\n{how}\n    {line}\n", encoding="utf-8")
        return source, path

    module, other = next(
        (module, other)
        for module in sorted(graph)
        for other in sorted(graph[module])
        if module.rpartition(".")[0] == other.rpartition(".")[0] == "gpt_numpy.inspection.summary"
    )
    source, path = add_import(other, module)
    assert set(circle_in(graph_of(copy))) == {module, other}
    assert upward_in(graph_of(copy)) == []
    path.write_text(source, encoding="utf-8")
    assert circle_in(graph_of(copy)) == []

    low = next(m for m in sorted(graph) if room_of(m) == "base" and m.count(".") > 1)
    high = next(m for m in sorted(graph) if room_of(m) == "model" and m.count(".") > 1)
    add_import(low, high)
    assert upward_in(graph_of(copy)) == [(low, high)]


def test_reference_and_kernels_do_not_know_each_other():
    for one, other in (("reference", "kernels"), ("kernels", "reference")):
        for path in (PACKAGE / one).rglob("*.py"):
            assert f"gpt_numpy.{other}" not in path.read_text(encoding="utf-8"), path


def test_no_test_imports_another_test():
    for path in TESTS.rglob("*.py"):
        for name in imported(tree_of(path)):
            assert not any(part.startswith("test_") for part in name.split(".")), (path, name)


def functions_of(tree):
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_no_function_but_compiled_entry_points_has_more_than_ten_parameters():
    found = set()
    for path in FILES:
        for function in functions_of(tree_of(path)):
            a = function.args
            entry = "kernel" in [ast.unparse(d).split("(")[0] for d in function.decorator_list]
            if len(a.posonlyargs + a.args + a.kwonlyargs) > 10 and not entry:
                found.add(f"{path.relative_to(PACKAGE).as_posix()}: {function.name}")
    assert found == MANY_PARAMETERS_STILL | MANY_PARAMETERS_COMPILED


def shared(things):
    """The names of which there are several, where the files are not twins of each other."""
    by_name = {}
    for name, path in things:
        place = path.relative_to(PACKAGE).as_posix()
        for twins in ("reference/", "kernels/"):
            place = place.removeprefix(twins)
        by_name.setdefault(name, set()).add(place)
    return {name for name, places in by_name.items() if len(places) > 1}


def test_no_two_modules_have_one_name():
    outside_of_commands = [p for p in FILES if p.parent != PACKAGE / "cli" / "commands"]
    files = ((p.name, p) for p in outside_of_commands if p.name != "__init__.py")
    assert shared(files) == SHARED_FILE_NAMES_STILL


def test_no_two_public_functions_or_classes_have_one_name():
    public = (
        (item.name, path)
        for path in FILES
        for item in tree_of(path).body
        if isinstance(item, ast.FunctionDef | ast.ClassDef) and item.name[0] != "_"
    )
    assert shared(public) - {"main", "run"} == SHARED_NAMES_STILL


def test_numba_is_imported_in_kernels_alone():
    for path in FILES:
        if PACKAGE / "kernels" not in path.parents:
            roots = {name.split(".")[0] for name in imported(tree_of(path))}
            assert not roots & {"numba", "llvmlite"}, path


def test_what_is_imported_is_numpy_the_standard_library_or_asked_for_late():
    allowed = {"numpy", "gpt_numpy", *sys.stdlib_module_names}
    for path in FILES:
        if PACKAGE / "kernels" in path.parents:
            continue  # imported late itself
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
