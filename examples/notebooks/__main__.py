"""Run the notebooks from top to bottom in plain Python, and keep what they print and draw.

    python -m examples.notebooks              run all and write their outputs into them
    python -m examples.notebooks --check      run them and write nothing
    python -m examples.notebooks --html       write pages for a browser, with the outputs stored

Jupyter shows and runs them as well: `jupyter lab examples/notebooks`. Here nothing is needed but
matplotlib, for the plots, and not even that for the pages.
"""

import argparse
import base64
import contextlib
import hashlib
import html
import io
import json
from pathlib import Path
from typing import Any

from examples.notebooks.html_page import body_of, page

HERE = Path(__file__).parent
DOTS_PER_INCH = 90


def main() -> None:
    """Run the notebooks of this folder."""
    lines = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(prog="python -m examples.notebooks", description=lines[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument(
        "--html",
        type=Path,
        nargs="?",
        const=Path("notebooks-html"),
        metavar="FOLDER",
        help="write pages for a browser into this folder (notebooks-html), and run nothing",
    )
    options = parser.parse_args()
    if options.html:
        write_pages(options.html)
        return
    for path in sorted(HERE.glob("*.ipynb")):
        print(path.name, flush=True)
        notebook = json.loads(path.read_text(encoding="utf-8"))
        run(notebook)
        if not options.check:
            text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
            path.write_text(text, encoding="utf-8")


def write_pages(folder: Path) -> None:
    """Write every notebook, with its stored outputs, as a page, and a page that lists them."""
    folder.mkdir(parents=True, exist_ok=True)
    links = []
    for path in sorted(HERE.glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        title = "".join(notebook["cells"][0]["source"]).splitlines()[0].lstrip("# ")
        text = page(title, body_of(notebook))
        (folder / f"{path.stem}.html").write_text(text, encoding="utf-8")
        links.append(f'<p><a href="{path.stem}.html">{html.escape(title)}</a></p>')
    index = folder / "index.html"
    index.write_text(page("Notebooks", "\n".join(links)), encoding="utf-8")
    print(f"open {index}")


def run(notebook: dict[str, Any], settings: dict[str, Any] | None = None) -> dict[str, Any]:
    """Execute the code cells, put their outputs into them, and return the names they have made.

    `settings` replace what the first code cell, which holds the settings alone, has assigned.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.close("all")
    plt.show = lambda *_, **__: None  # the figures are collected below
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells, 1):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
        if number == 1:
            assert (settings or {}).keys() <= names.keys()
            names |= settings or {}
        lines = printed.getvalue().splitlines(keepends=True)
        cell["execution_count"] = number
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": lines}] * bool(lines)
        for figure in map(plt.figure, plt.get_fignums()):
            cell["outputs"].append(_picture(figure))
        plt.close("all")
    notebook["metadata"]["sources_sha256"] = fingerprint(notebook)
    return names


def fingerprint(notebook: dict[str, Any]) -> str:
    """A hash of the code: outputs belong to the code that has this one."""
    code = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    return hashlib.sha256("\n\n".join(code).encode()).hexdigest()


def _picture(figure: Any) -> dict[str, Any]:
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    data = base64.b64encode(image.getvalue()).decode()
    return {"output_type": "display_data", "data": {"image/png": data}, "metadata": {}}


if __name__ == "__main__":
    main()
