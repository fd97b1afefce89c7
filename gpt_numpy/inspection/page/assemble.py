"""The page as one file: markup, style and programs of `parts/`, and the contents as JSON.

Nothing from outside can become markup or a program: it is in the JSON alone, in which every `<` is
written as an escape, and the programs put it into the page as text. A content security policy
admits only the style and the program with these very checksums, and no connection to anywhere.
"""

import base64
import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from gpt_numpy.base.errors import InputError
from gpt_numpy.files.durable import written_durably

SCRIPTS = (  # in the order in which they build on one another
    "data.js",
    "dom.js",
    "palette.js",
    "state.js",
    "heatmap.js",
    "charts.js",
    "tokens.js",
    "view_transformer.js",
    "view_embedding.js",
    "view_attention.js",
    "view_layers.js",
    "view_backwards.js",
    "view_training.js",
    "main.js",
)


def assemble(contents: dict[str, Any]) -> str:
    """The whole page."""
    style = _part("page.css")
    programs = "\n".join(_part(name) for name in SCRIPTS)
    program = f'"use strict";\n(() => {{\n{programs}}})();\n'
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_checksum(program)}'",
            f"style-src '{_checksum(style)}'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    page = _part("page.html")
    for place, text in (
        ("POLICY", policy),
        ("STYLE", style),
        ("PROGRAM", program),
        ("CONTENTS", as_json(contents)),
    ):
        before, after = page.split(f"@@{place}@@")
        page = before + text + after
    return page


def as_json(contents: dict[str, Any]) -> str:
    """The contents as JSON that cannot end the element in which it stands."""
    text = json.dumps(contents, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def write_page(path: str, contents: dict[str, Any]) -> int:
    """Write the page to `path`, whole or not at all; the number of its bytes.

    Raises
    ------
    InputError : it cannot be written.
    """
    page = assemble(contents).encode("utf-8")
    try:
        with written_durably(Path(path)) as file:
            file.write(page)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"html={path!r}: cannot write it: {reason}") from error
    return len(page)


def _part(name: str) -> str:
    return (files(__package__) / "parts" / name).read_text(encoding="utf-8")


def _checksum(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode()
