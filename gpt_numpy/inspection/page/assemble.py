"""The page as one file: markup, style and scripts of `parts/`, and the contents as JSON.

Data from the run cannot become markup or a script: all of it is in the JSON, in which every `<` is
escaped, and the scripts insert it as text nodes. A content security policy allows only the style
and the script with these hashes, and no connections.
"""

import base64
import hashlib
import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from gpt_numpy.base.errors import InputError
from gpt_numpy.files.durable import written_durably

SCRIPTS = (  # each uses only earlier ones
    "twin/inflated.js", "twin/erf.js", "twin/activation.js", "twin/sampling.js", "numbers.js",
    "data.js", "dom.js", "palette.js", "state.js", "painting.js", "heatmap.js", "charts.js",
    "tokens.js", "picture.js", "mathml.js", "live.js", "experiment.js", "prompt.js", "map.js",
    "explain_forward.js", "explain_backward.js", "explain_queries_keys.js", "opened.js",
    "scenes_forward.js", "scenes_backward.js", "view_story.js", "view_play.js",
    "view_transformer.js", "view_embedding.js", "view_attention.js", "view_layers.js",
    "view_backwards.js", "view_training.js", "main.js",
)  # fmt: skip
TWIN = (  # the twin of the reference, which runs in a thread of its own
    "matrices.js", "linear.js", "layernorm.js", "rmsnorm.js", "erf.js", "activation.js",
    "attention.js", "rotary.js", "queries_keys.js", "embedding.js", "cross_entropy.js",
    "sublayers.js", "model.js", "sampling.js", "experiments.js", "inflated.js", "worker.js",
)  # fmt: skip

OF_ALIGNMENT = (
    "numbers.js", "dom.js", "palette.js",
    *(f"alignment/{name}.js" for name in ("facts", "pair", "maps", "main")),
)  # fmt: skip


def assemble(contents: dict[str, Any]) -> str:
    """The page of a GPT as a string."""
    # The twin is no script of the page: the page makes a worker of its text.
    twin = "\n".join(_part(f"twin/{name}") for name in TWIN) if contents.get("live") else ""
    found = {"source": f'"use strict";\n{twin}'} if twin else {}
    allowed = "worker-src blob:; " if twin else ""
    body = _replaced(_part("page.html"), "TWIN", as_json(found))
    markup = _with_head("Inside a GPT", body)
    return _filled(markup, ("page.css",), SCRIPTS, contents, allowed)


def assemble_alignment(contents: dict[str, Any]) -> str:
    """The page of an encoder-decoder (alignment.py) as a string."""
    styles = ("page.css", "alignment/alignment.css")
    markup = _with_head("Inside an encoder-decoder", _part("alignment/page.html"))
    return _filled(markup, styles, OF_ALIGNMENT, contents)


def _with_head(title: str, body: str) -> str:
    return _replaced(_part("head.html"), "TITLE", title) + body


def _filled(
    markup: str,
    styles: tuple[str, ...],
    scripts: tuple[str, ...],
    contents: dict[str, Any],
    also_allowed: str = "",
) -> str:
    """The markup with its style, its scripts, the contents, and the policy that allows these."""
    style = "".join(map(_part, styles))
    script = '"use strict";\n(async () => {\n' + "\n".join(map(_part, scripts)) + "})();\n"
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        f"img-src data:; {also_allowed}base-uri 'none'; form-action 'none'"
    )
    # The contents last: whatever they say is no place to put anything.
    texts = {"POLICY": policy, "STYLE": style, "SCRIPT": script, "CONTENTS": as_json(contents)}
    for place, text in texts.items():
        markup = _replaced(markup, place, text)
    return markup


def _replaced(markup: str, place: str, text: str) -> str:
    before, after = markup.split(f"@@{place}@@")
    return before + text + after


def as_json(contents: dict[str, Any]) -> str:
    """The contents as JSON without the characters that could end its element."""
    text = json.dumps(contents, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def write_page(
    path: str,
    contents: dict[str, Any],
    assembled: Callable[[dict[str, Any]], str] = assemble,
) -> int:
    """Write the page to `path`, whole or not at all; return its size in bytes.

    assembled : makes the page of the contents; by default that of a GPT.

    Raises
    ------
    InputError : it cannot be written.
    """
    page = assembled(contents).encode("utf-8")
    try:
        with written_durably(Path(path)) as file:
            file.write(page)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        advice = "free disk space, or name another file"
        raise InputError(f"html={path!r}: cannot write it: {reason}; {advice}") from error
    return len(page)


def _part(name: str) -> str:
    return (files(__package__) / "parts" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode()
