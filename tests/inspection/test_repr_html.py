"""Results that a notebook shows: every row of them, and strings as strings."""

import re
from html import unescape

import numpy as np

import gpt_numpy as gn
from gpt_numpy.base.html_table import html_lines, html_table
from gpt_numpy.gradients.model_check import randomise
from gpt_numpy.gradients.report import Report, TensorCheck


def cells(html):
    """The text of every cell, row by row, without the header."""
    rows = re.findall(r"<tr>(.*?)</tr>", html)
    return [[unescape(c) for c in re.findall(r"<td [^>]*>(.*?)</td>", row)] for row in rows[1:]]


def small_model():
    config = gn.GPTConfig(vocab_size=7, block_size=5, n_layer=1, n_head=2, n_embd=4)
    model = gn.GPT(config, seed=None, dtype="float64", ops="reference")
    randomise(model, 0)
    return model


def test_a_trace_shows_every_array_with_both_norms_and_its_equation():
    tokens = np.array([[1, 2, 3, 1]])
    trace = gn.trace(small_model(), tokens, np.roll(tokens, -1))
    rows = cells(trace._repr_html_())
    assert [row[0] for row in rows] == list(trace)
    for name, shape, norm, grad_norm, equation in rows:
        entry = trace[name]
        assert shape == " × ".join(map(str, entry.shape))
        assert float(norm) == float(f"{np.linalg.norm(entry.value):.3g}")
        if entry.grad is None:
            assert grad_norm == ""
        else:
            assert float(grad_norm) == float(f"{np.linalg.norm(entry.grad):.3g}")
        wanted = entry.forward[0].equation if entry.forward else "parameter"
        assert equation.startswith(wanted)
    assert repr(trace) in unescape(trace._repr_html_())


def test_a_trace_without_targets_shows_no_gradients():
    rows = cells(gn.trace(small_model(), np.array([[1, 2]]))._repr_html_())
    assert rows and all(row[3] == "" for row in rows)


def test_a_gradient_check_shows_its_verdicts_and_what_is_wrong():
    right = TensorCheck("a.weight", (2, 3), 1.5, 1e-15, True)
    wrong = TensorCheck("b<script>", (4,), 2.0, 0.5, False, ("wrong in all 4 elements", "x < y"))
    report = Report((right, wrong), "complex step & co", 1e-10, 0.25, ("a note",))
    html = report._repr_html_()
    assert cells(html) == [
        ["a.weight", "2 × 3", "1.500e+00", "1.0e-15", "✓ exact", ""],
        ["b<script>", "4", "2.000e+00", "5.0e-01", "✗ WRONG", "wrong in all 4 elements x < y"],
    ]
    assert "<script>" not in html and "complex step &amp; co" in html and "a note" in html
    assert "1 of 2 gradients WRONG" in html
    only_right = Report((right,), "complex step", 1e-10, 0.25)
    assert len(cells(only_right._repr_html_())[0]) == 5
    assert "what is wrong" not in only_right._repr_html_()
    assert str(only_right).splitlines()[-1] in unescape(only_right._repr_html_())


def test_numbers_stand_at_the_right_and_everything_is_escaped():
    html = html_table(("<a>", "b"), [("<i>", "1")])
    assert re.findall(r"<t[dh] style=\"[^\"]*text-align:(\w+)", html) == ["left", "right"] * 2
    assert "<i>" not in html and "<a>" not in html and "<b>" not in html_lines(["<b>"])
