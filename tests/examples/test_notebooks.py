"""The notebooks run from top to bottom, with what they claim, and their outputs are their own."""

import importlib.util
import itertools
import json
import re
from pathlib import Path

import pytest

from examples.notebooks import html_page

FOLDER = Path(__file__).parents[2] / "examples" / "notebooks"
SPEC = importlib.util.spec_from_file_location("notebooks", FOLDER / "__main__.py")
notebooks = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(notebooks)

PATHS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 300_000  # bytes, outputs included


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def code_of(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_there_are_five():
    assert [path.stem for path in PATHS] == [
        "attention",
        "backpropagation",
        "cross_attention",
        "embeddings",
        "optimisers",
    ]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_the_outputs_are_those_of_the_code_and_small(path):
    notebook = read(path)
    assert notebook["metadata"]["sources_sha256"] == notebooks.fingerprint(notebook), (
        "the code was changed after it had been run: python -m examples.notebooks"
    )
    assert path.stat().st_size < LARGEST
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    for number, cell in enumerate(code_of(notebook), 1):
        source, kinds = "".join(cell["source"]), [o["output_type"] for o in cell["outputs"]]
        assert cell["execution_count"] == number
        assert ("plt.show()" in source) == ("display_data" in kinds)
        assert "error" not in kinds
        for text in [source, *("".join(o.get("text", [])) for o in cell["outputs"])]:
            assert "/tmp/" not in text and "/home/" not in text


def settings_of(stem, folder):
    """Settings with which a notebook takes a second."""
    words = "the sun was low and the men sat by the old stone wall to hear what she had said\n"
    text = folder / "text.txt"
    text.write_text("".join(words[k % 7 :] for k in range(120)), encoding="utf-8")
    if stem == "cross_attention":
        return {"STEPS": 5, "EARLY": 2, "B": 4}
    settings = {} if stem == "backpropagation" else {"FILE": str(text), "STEPS": 5, "B": 4}
    return settings | ({"COPY_STEPS": 5} if stem == "attention" else {})


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_what_it_asserts_holds(path, tmp_path):
    pytest.importorskip("matplotlib", reason="the notebooks draw with matplotlib")
    notebook = read(path)
    names = notebooks.run(notebook, settings_of(path.stem, tmp_path))
    assert all(cell["execution_count"] for cell in code_of(notebook))
    assert {"loss", "last"} & names.keys()
    assert sum("assert" in "".join(cell["source"]) for cell in code_of(notebook)) >= 3


SINUSOIDAL = [
    ("n_head=4, n_embd=C)", 'n_head=4, n_embd=C, positions="sinusoidal")'),
    ('("wte.weight", "wpe.weight")', '("wte.weight",)'),
    ('print("tokens:", before["wte.weight"].shape, "positions:", before["wpe.weight"].shape)', ""),
]
TWO_HEADS = [
    ("n_head=4, n_embd=C)", "n_head=2, n_embd=C)"),
    ("plt.subplots(2, 4", "plt.subplots(2, 2"),
    ("range(4)", "range(2)"),
]
LONGER = [
    ('0.99 * s.get("v"', '0.999 * s.get("v"'),
    ('0.01 * g * g\n        m, v = s["m"]', '0.001 * g * g\n        m, v = s["m"]'),
    ('s["v"] / (1 - 0.99**t)', 's["v"] / (1 - 0.999**t)'),
]
TASKS = [  # a notebook, what to exchange, and how many cells at the end are left out
    ("cross_attention", [("48, 1  #", "48, 2  #")], 0),
    ("cross_attention", [('norm_place="pre",\n)', 'norm_place="post",\n)')], 0),
    ("embeddings", SINUSOIDAL, 2),
    ("embeddings", [("n_embd=C)", "n_embd=C, tied=False)"), ("assert (norms > 0).all()", "")], 0),
    ("attention", TWO_HEADS, 3),
    ("optimisers", [('mistakes = ("",', 'mistakes = ("", "residual path missing",')], 0),
    ("optimisers", LONGER, 0),
    ("optimisers", [('if n in ("wte", "wpe", "unembed"):', "if False:")], 0),
]


@pytest.mark.parametrize(("stem", "exchanges", "left"), TASKS)
def test_a_task_of_a_notebook_can_be_done_as_it_is_written(stem, exchanges, left, tmp_path):
    pytest.importorskip("matplotlib", reason="the notebooks draw with matplotlib")
    notebook = read(FOLDER / f"{stem}.ipynb")
    cells = code_of(notebook)
    notebook["cells"] = cells[: len(cells) - left]
    for old, new in exchanges:
        assert any(old in "".join(cell["source"]) for cell in cells), old
        for cell in cells:
            cell["source"] = ["".join(cell["source"]).replace(old, new)]
    names = notebooks.run(notebook, settings_of(stem, tmp_path))
    assert {"loss", "last"} & names.keys()


@pytest.mark.parametrize(
    ("old", "new", "stopped"),
    [
        ("dwte_head = np", "dwte_head = -np", "wte.weight"),
        ("dn = dlogits", "dn = -dlogits", "ln_f.out"),
        ("dQ[...] = ds", "dQ[...] = -ds", "h.0.attn.qkv"),
    ],
)
def test_a_wrong_sign_is_stopped_where_the_text_says(old, new, stopped):
    pytest.importorskip("matplotlib", reason="the runner collects figures")
    notebook = read(FOLDER / "backpropagation.ipynb")
    for cell in code_of(notebook):
        cell["source"] = ["".join(cell["source"]).replace(old, new)]
    with pytest.raises(AssertionError, match=re.escape(stopped)):
        notebooks.run(notebook)


def test_what_a_cell_asserts_is_seen_to_fail():
    pytest.importorskip("matplotlib", reason="the runner collects figures")
    notebook = read(FOLDER / "backpropagation.ipynb")
    for cell in code_of(notebook):
        source = "".join(cell["source"])
        cell["source"] = [source.replace("dmid = dout + dbranch", "dmid = dbranch")]
    with pytest.raises(AssertionError, match=r"h\.0\.resid_mid"):
        notebooks.run(notebook)


def test_a_setting_that_a_notebook_does_not_have_is_refused():
    pytest.importorskip("matplotlib", reason="the runner collects figures")
    with pytest.raises(AssertionError):
        notebooks.run(read(FOLDER / "attention.ipynb"), {"STEP": 1})


def test_the_pages_hold_the_text_the_code_and_the_outputs(tmp_path, monkeypatch):
    notebooks.write_pages(tmp_path / "pages")
    index = (tmp_path / "pages" / "index.html").read_text(encoding="utf-8")
    for path in PATHS:
        assert f'href="{path.stem}.html"' in index
        text = (tmp_path / "pages" / f"{path.stem}.html").read_text(encoding="utf-8")
        notebook = read(path)
        kinds = [o["output_type"] for cell in code_of(notebook) for o in cell["outputs"]]
        assert text.count("<img ") == kinds.count("display_data") >= 1
        assert text.count('class="code"') == len(code_of(notebook))
        assert text.count('class="text"') == kinds.count("stream")
        hidden = [c for c in notebook["cells"] if c["metadata"].get("jupyter")]
        assert text.count("<details>") == text.count("</details>") == len(hidden)
        assert "<script" not in text and "**" not in re.sub(
            r"(?s)<pre.*?</pre>|<code>.*?</code>", "", text
        )


def test_what_a_cell_asks_to_predict_is_not_shown_before():
    """A text that ends with a question to the reader hides the output of the cell below it."""
    for path in PATHS:
        cells = read(path)["cells"]
        for text, cell in itertools.pairwise(cells):
            asks = re.search(r"Predict|with a pencil before", "".join(text["source"]))
            if text["cell_type"] == "markdown" and cell["cell_type"] == "code":
                assert cell["metadata"].get("jupyter", {}) == (
                    {"outputs_hidden": True} if asks else {}
                ), (path.name, cell["id"])
    shown = {"output_type": "stream", "name": "stdout", "text": ["7\n"]}
    cell = {"cell_type": "code", "source": ["x"], "outputs": [shown], "metadata": {}}
    assert html_page.body_of({"cells": [cell]}).endswith('<pre class="text">7</pre>')
    cell["metadata"] = {"jupyter": {"outputs_hidden": True}}
    page = html_page.body_of({"cells": [cell]})
    assert page.endswith('</summary>\n<pre class="text">7</pre>\n</details>')


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("# A <b>", "<h1>A &lt;b&gt;</h1>"),
        ("*a* and **b** `c*d*<`", "<p><i>a</i> and <b>b</b> <code>c*d*&lt;</code></p>"),
        ("    x = 1 * 2\n    y", "<pre>x = 1 * 2\ny</pre>"),
        ("2 * 3 * 4", "<p>2 * 3 * 4</p>"),
        ("[a](https://b.c/d)", '<p><a href="https://b.c/d">a</a></p>'),
        ("[a](javascript:alert)", "<p>[a](javascript:alert)</p>"),
    ],
)
def test_a_text_cell_as_html(source, expected):
    assert html_page.text_of(source) == expected
