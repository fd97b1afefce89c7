"""Run by the campaign inside of a copy: the tests that it names, on the package that lies there.

    python -m tests.mutations.inside REQUEST.json

The request names the tests, where to write what became of each, and a folder of machine code of
the unmutated kernels. Kernels that the mutation cannot have changed are taken from there; what it
touches is compiled.
"""

import ast
import json
import shutil
import sys
from pathlib import Path

import pytest

PACKAGE = Path.cwd() / "gpt_numpy"
OWN = "own"  # the file that names the folder of machine code for this processor
# A mutant that is not even a program proves nothing about the tests.
NO_PROGRAM = ("SyntaxError", "NameError", "ImportError", "TypeError", "AttributeError",
              "UnboundLocalError", "IndentationError", "TypingError", "LoweringError",
              "UnsupportedError", "CompilerError")  # fmt: skip


class Recorder:
    """What became of each test: passed, failed, or the name of an error that is no verdict."""

    def __init__(self):
        self.outcomes = {}

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config):
        from hypothesis import Phase, settings  # not before pytest has prepared its plugin

        settings.register_profile(  # a failure need not be made smaller
            "mutant", settings.get_profile("gpt_numpy"), phases=[Phase.explicit, Phase.generate]
        )
        settings.load_profile("mutant")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        report = yield
        if report.skipped:  # or xfailed: it has not looked
            self.outcomes[item.nodeid] = "skipped"
        elif call.excinfo is not None:
            kinds = {kind.__name__ for kind in type(call.excinfo.value).__mro__}
            broken = kinds.intersection(NO_PROGRAM)
            self.outcomes[item.nodeid] = min(broken) if broken else "failed"
        elif call.when == "call":
            self.outcomes.setdefault(item.nodeid, "passed")
        return report


def touched(source):
    """The modules of kernels/ that import `source`, also by way of others; and itself."""
    imports = {}
    for path in (PACKAGE / "kernels").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        lines = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        names = [line.module.split(".") + [a.name for a in line.names] for line in lines]
        ours = [n[2:] for n in names if n[:2] == ["gpt_numpy", "kernels"]]
        imports[path.stem] = {part for name in ours for part in name}
    found, size = {source}, 0
    while size < len(found):
        size = len(found)
        found |= {name for name, used in imports.items() if used & found}
    return found


def take_over(folder, source):
    """Give this copy the machine code in `folder` of all kernels that `source` does not touch."""
    from numba.core.caching import _CacheLocator

    from gpt_numpy.kernels.engine import machine_code

    changed = touched(source)
    # Tests compile for other vectors and tiles, too, into folders of other names.
    for place in (folder / (folder / OWN).read_text(encoding="utf-8")).iterdir():
        module = place.name.split(".")[0]
        if module in changed:
            continue
        target = machine_code.cache_directory() / place.name
        # Numba names the folder after where the source lies, which differs from copy to copy.
        lies = next((PACKAGE / "kernels").rglob(f"{module}.py"))
        name = _CacheLocator.get_suitable_cache_subpath(str(lies))
        for inner in place.iterdir():
            shutil.copytree(inner, target / name)


def main(request):
    """Run the tests of the request and write what became of them."""
    import gpt_numpy

    assert Path(gpt_numpy.__file__).parent == PACKAGE, "this must run on the copy"
    if request["machine_code"]:
        take_over(Path(request["machine_code"]), request["source"])
    elif request["cache"]:
        from gpt_numpy.kernels.engine import machine_code

        name = machine_code.cache_directory().name
        (Path(request["cache"]) / OWN).write_text(name, encoding="utf-8")
    recorder = Recorder()
    options = ["-q", "-p", "no:cacheprovider", "--no-header", "--tb=short"]
    status = pytest.main([*options, *request["nodes"]], plugins=[recorder])
    result = {"status": int(status), "outcomes": recorder.outcomes}
    Path(request["result"]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
