"""The bank of wrong answers: what a learner wrote, and what the grader must say."""

import contextlib
import re
import tempfile
from functools import cache
from pathlib import Path

from examples.exercises.grading import HERE, grade
from examples.exercises.running import CannotRun
from examples.exercises.way import EXERCISES
from gpt_numpy.gradients import layer_check
from tests.examples.bank_of_blocks import BLOCKS
from tests.examples.bank_of_forward import FORWARD
from tests.examples.bank_of_layers import LAYERS
from tests.examples.bank_of_modern_layers import MODERN
from tests.examples.bank_of_steps import LATER
from tests.examples.bank_of_translation_layers import TRANSLATION

# Names that answers to an exercise use, in addition to those of its solution.
PREAMBLE = {
    "8": "P = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)\n"
    "    Y, kept, n = np.eye(11)[targets], (targets >= 0)[:, None], 5",
    "10a": "out_ = p @ v",
    "18": "P = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)\n"
    "    Y, kept, n = np.eye(13)[targets], (targets >= 0)[:, None], 6",
    "12": "dx = dout @ table\n"
    "    as_head = np.einsum('btv,btc->vc', dout, x)\n"
    "    as_lookup = np.zeros_like(table); np.add.at(as_lookup, tokens, drows)\n"
    "    def look(rows):\n"
    "        a = np.zeros_like(table); np.add.at(a, tokens, rows); return a",
}


def all_answers():
    """Every entry: exercise, gradient, answer, pattern of the diagnosis."""
    return LAYERS + BLOCKS + MODERN + TRANSLATION + FORWARD + LATER


@cache
def _sources(number):
    stem = EXERCISES[number]
    head = (HERE / f"{stem}.py").read_text(encoding="utf-8").partition("def backward")[0]
    solution = (HERE / "solutions" / f"{stem}.py").read_text(encoding="utf-8")
    body = solution.split("def backward")[1].partition("\n\n\ndef ")[0]
    names = "k = np.sqrt(2 / np.pi)\n\n\n" if number == "3" else ""
    return head + names, "def backward" + body


def answered(number, answer, gradient):
    """The source of a file that holds an answer."""
    if not number[0].isdigit():
        text = (HERE / f"{EXERCISES[number]}.py").read_text(encoding="utf-8")
        return text.replace("    # yours", "    " + "\n    ".join(answer.split("; ")))
    head, body = _sources(number)
    line = answer[1:] if answer.startswith("!") else f"{gradient}[...] = {answer}"
    return f"{head}{body}\n    {PREAMBLE.get(number, '')}\n    {line}\n"


@contextlib.contextmanager
def derivatives_once(number):
    """Compute the exact derivative of an exercise once, not again for every answer to it."""
    original = layer_check._derivatives

    def kept(layer, dout, *, exactly):
        if number not in _EXACT:
            _EXACT[number] = original(layer, dout, exactly=exactly)
        return _EXACT[number]

    layer_check._derivatives = kept
    try:
        yield
    finally:
        layer_check._derivatives = original


_EXACT = {}


def verdict(entry):
    """ "named", "unknown" or "wrong", and the diagnosis of the gradient."""
    number, gradient, answer, words = entry
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.py"
        path.write_text(answered(number, answer, gradient), encoding="utf-8")
        try:
            with derivatives_once(number):
                rows = {row.name: row for row in grade(EXERCISES[number], path).rows}
        except CannotRun as error:
            return "wrong", f"does not run: {error}"
    row = rows[gradient]
    text = " ".join(row.diagnosis)
    if row.ok:
        return "wrong", "passes as right"
    if re.search(words, text, re.DOTALL) and (
        "no known mistake" not in text or words.startswith("no known")
    ):
        return ("unknown" if "no known mistake" in text else "named"), text
    return ("unknown" if "no known mistake" in text else "wrong"), text
