"""Write a notebook as one HTML page, for those without Jupyter.

Text cells use little of Markdown: headings, paragraphs, indented lines for formulas, `code`,
*words*, **words** and links. Everything is escaped before it becomes HTML. Pictures are part of the
page. The output of a cell that asks for a prediction is hidden until the reader opens it, as it is
in JupyterLab (`jupyter.outputs_hidden` in the cell's metadata).
"""

import html
import re
from typing import Any

STYLE = """
body { max-width: 52rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 sans-serif; }
pre { padding: .6rem; overflow-x: auto; font: .82rem/1.4 monospace; }
pre.code { background: #f3f3f0; border-left: 3px solid #b8b8a8; }
pre.text { background: #fff; margin-top: -.6rem; }
summary { margin: -.6rem 0 1rem; cursor: pointer; }
code { font-family: monospace; background: #f3f3f0; }
img { max-width: 100%; }
@media (prefers-color-scheme: dark) {
  body, pre.text { background: #1b1b1b; color: #ddd; }
  pre.code, code { background: #2a2a28; }
  a { color: #9bc; }
  img { background: #fff; }
}
"""


def page(title: str, body: str) -> str:
    """A page of its own around a body."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


def body_of(notebook: dict[str, Any]) -> str:
    """The cells of a notebook and their stored outputs as HTML."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text_of(source))
            continue
        parts.append(f'<pre class="code">{html.escape(source)}</pre>')
        outputs = [_output(output) for output in cell["outputs"]]
        if cell["metadata"].get("jupyter", {}).get("outputs_hidden"):
            outputs = ["<details><summary>Show the output</summary>", *outputs, "</details>"]
        parts += outputs
    return "\n".join(parts)


def _output(output: dict[str, Any]) -> str:
    """What a cell has printed or drawn."""
    if output["output_type"] == "stream":
        text = html.escape("".join(output["text"]).rstrip("\n"))
        return f'<pre class="text">{text}</pre>'
    image = output["data"]["image/png"]
    return f'<p><img alt="a plot" src="data:image/png;base64,{image}"></p>'


def text_of(source: str) -> str:
    """A text cell as HTML."""
    parts = []
    for paragraph in re.split(r"\n\s*\n", source):
        lines = paragraph.splitlines()
        mark = re.match(r"(#{1,3}) (.*)", lines[0]) if lines else None
        if mark:
            level = len(mark.group(1))
            parts.append(f"<h{level}>{_inline(mark.group(2))}</h{level}>")
            lines = lines[1:]
        if not lines:
            continue
        if all(line.startswith("    ") for line in lines):
            formula = html.escape("\n".join(line[4:] for line in lines))
            parts.append(f"<pre>{formula}</pre>")
        else:
            parts.append(f"<p>{_inline(' '.join(lines))}</p>")
    return "\n".join(parts)


def _inline(text: str) -> str:
    """Code, emphasis and links within a line."""
    pieces = re.split(r"(`[^`]+`)", text)
    for k, piece in enumerate(pieces):
        if piece.startswith("`"):
            pieces[k] = f"<code>{html.escape(piece[1:-1])}</code>"
            continue
        piece = html.escape(piece, quote=False)
        piece = re.sub(r"\[([^]]+)\]\((https?://[^)\"<> ]+)\)", r'<a href="\2">\1</a>', piece)
        piece = re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", piece)
        pieces[k] = re.sub(r"(?<![\w*])\*([^*\s][^*]*)\*(?![\w*])", r"<i>\1</i>", piece)
    return "".join(pieces)
