"""The page as one file: markup, style and scripts of `parts/`, and the contents as JSON.

Data from the run cannot become markup or a script: all of it is in the JSON, in which every `<` is
escaped, and the scripts insert it as text nodes. A content security policy allows only the style
and the script with these hashes, and no connections.
"""

import base64
import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from gpt_numpy.base.errors import InputError
from gpt_numpy.files.durable import written_durably

SCRIPTS = (  # each uses only earlier ones
    "twin/erf.js", "twin/activation.js", "twin/sampling.js",
    "data.js", "dom.js", "palette.js", "state.js", "heatmap.js", "charts.js", "tokens.js",
    "picture.js", "mathml.js", "live.js", "experiment.js", "prompt.js", "map.js",
    "explain_forward.js", "explain_backward.js", "explain_queries_keys.js", "opened.js",
    "scenes_forward.js", "scenes_backward.js", "view_story.js", "view_play.js",
    "view_transformer.js", "view_embedding.js", "view_attention.js", "view_layers.js",
    "view_backwards.js", "view_training.js", "main.js",
)  # fmt: skip
TWIN = (  # the twin of the reference, which runs in a thread of its own
    "matrices.js", "linear.js", "layernorm.js", "rmsnorm.js", "erf.js", "activation.js",
    "attention.js", "rotary.js", "queries_keys.js", "embedding.js", "cross_entropy.js",
    "sublayers.js", "model.js", "sampling.js", "experiments.js", "worker.js",
)  # fmt: skip


def assemble(contents: dict[str, Any]) -> str:
    """The page as a string."""
    style = _part("page.css")
    scripts = "\n".join(_part(name) for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{scripts}}})();\n'
    # The twin is no script of the page: the page makes a worker of its text.
    twin = "\n".join(_part(f"twin/{name}") for name in TWIN) if contents.get("live") else ""
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        f"img-src data:; {'worker-src blob:; ' if twin else ''}base-uri 'none'; form-action 'none'"
    )
    page = _part("page.html")
    texts = {
        "POLICY": policy,
        "STYLE": style,
        "TWIN": as_json({"source": f'"use strict";\n{twin}'} if twin else {}),
        "SCRIPT": script,
        "CONTENTS": as_json(contents),
    }
    for place, text in texts.items():
        before, after = page.split(f"@@{place}@@")
        page = before + text + after
    return page


def as_json(contents: dict[str, Any]) -> str:
    """The contents as JSON without the characters that could end its element."""
    text = json.dumps(contents, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def write_page(path: str, contents: dict[str, Any]) -> int:
    """Write the page to `path`, whole or not at all; return its size in bytes.

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
        advice = "free disk space, or name another file"
        raise InputError(f"html={path!r}: cannot write it: {reason}; {advice}") from error
    return len(page)


def _part(name: str) -> str:
    return (files(__package__) / "parts" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode()
