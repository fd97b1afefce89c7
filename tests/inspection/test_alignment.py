"""The page of an alignment: a line or a cell for each weight, nothing that a word could inject."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.inspection.page.alignment import alignment_page, heat_map, lines_between
from tests.support.sentences import SMALL, model_of, pairs


def test_every_weight_is_a_cell_and_every_strong_one_a_line():
    weights = np.array([[0.9, 0.1, 0.0], [0.02, 0.5, 0.48]])
    above, names = ["the", "<b>", "house"], ["das", "Haus"]
    cells = ElementTree.fromstring(heat_map(weights, above, names)).findall("{*}rect")
    assert [float(cell.get("fill-opacity")) for cell in cells] == weights.reshape(-1).tolist()
    assert cells[1].find("{*}title").text == "das, <b>: 0.100"
    drawing = ElementTree.fromstring(lines_between(weights, above, names))
    assert [float(line.get("opacity")) for line in drawing.findall("{*}line")] == [
        0.9, 0.1, 0.5, 0.48,
    ]  # fmt: skip
    assert [text.text for text in drawing.findall("{*}text")] == [*above, *names]


def test_a_page_has_a_map_for_every_block_and_head():
    model = model_of(SMALL)
    source, target = (x[0] for x in pairs(1, 4, 3, 7))
    page = alignment_page(model, source, target, ["a", "<script>", "b", "c"], ["x", "y", "END"])
    assert page.count("<figure>") == SMALL.n_layer * SMALL.n_head
    assert "<script" not in page and "&lt;script&gt;" in page
    weights = model.alignments(source[None], target[None])
    shown = re.findall(r'fill-opacity="([\d.]+)"', page)
    assert np.abs(np.array(shown, float) - weights.reshape(-1)).max() <= 6e-4
    with pytest.raises(gn.InputError, match="source_words has 1 words: must be 4"):
        alignment_page(model, source, target, ["a"], ["x", "y", "END"])
