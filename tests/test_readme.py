"""Every path that the documents name exists, and the README's picture is complete."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "gpt_numpy"
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "examples/README.md")
# Where a path in backquotes may begin.
STARTS = (ROOT, PACKAGE, ROOT / "tests", ROOT / "tests" / "mutations", ROOT / "examples")
# What a program writes, a user has, or a contributor is asked to create.
OF_THE_USER = {"ckpt.npz", "ckpt.pt", "meta.pkl", "my.txt", "mine.py", "cross_attention.py"}


def folders(parent):
    """Names of the folders of the package that hold code, without those that hold only data."""
    return sorted(path.name for path in parent.iterdir() if (path / "__init__.py").exists())


def picture(readme):
    """The folders of the package in the README's picture, each with its subfolders."""
    block = re.search(r"```\ngpt_numpy/\n(.*?)\n\w", readme, flags=re.DOTALL)[1]
    found, top = {}, None
    for indent, name in re.findall(r"^( +)(\w+)/", block, flags=re.MULTILINE):
        if len(indent) == 2:
            top = name
            found[top] = set()
        else:
            found[top].add(name)
    return found


def links(text):
    """The targets of the relative links of a document."""
    return [t for t in re.findall(r"\]\(([^)#]+)", text) if not t.startswith("http")]


def named_paths(text):
    """Paths in backquotes: with a known ending, or a slash at the end."""
    path = r"`((?:[\w.-]+/)*[\w-]+\.(?:py|md|cfg|toml|json|ipynb|pkl|npz|pt|txt)|(?:[\w.-]+/)+)`"
    return set(re.findall(path, text)) - OF_THE_USER


def modules(text):
    """The modules and programs of this repository that a document starts with Python."""
    for flag, name in re.findall(r"python (-m )?((?:\w+[./])+\w+(?:\.py)?)", text):
        yield name.replace(".", "/") if flag else name


def read(document):
    return (ROOT / document).read_text(encoding="utf-8")


def test_the_picture_shows_every_folder_of_the_package_and_no_other():
    real = {name: set(folders(PACKAGE / name)) for name in folders(PACKAGE)}
    assert picture(read("README.md")) == real


@pytest.mark.parametrize("document", [*DOCUMENTS, "benchmarks/README.md", "benchmarks/history.md"])
def test_every_path_that_is_linked_exists(document):
    found = links(read(document))
    for target in found:
        assert ((ROOT / document).parent / target).exists(), f"{document}: {target}"
    assert found or document == "CONTRIBUTING.md"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_that_is_named_exists(document):
    found = named_paths(read(document))
    assert len(found) > 2
    for name in found:
        assert any((start / name).exists() for start in STARTS), f"{document}: {name}"


@pytest.mark.parametrize("document", [*DOCUMENTS, "benchmarks/README.md"])
def test_every_program_that_is_started_exists(document):
    text = re.sub(r"\s+", " ", read(document))
    found = list(modules(text))
    assert found
    for name in found:
        path = ROOT / name
        assert (
            path.is_file() or path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()
        ), f"{document}: {name}"


def test_the_readme_stays_short():
    assert len(read("README.md").splitlines()) < 250
