"""The encoder's output collects the gradients of all decoder blocks."""

import numpy as np
import pytest

import gpt_numpy.kernels
import gpt_numpy.reference
from tests.support.layers import EXAMPLES, call, read_and_written, run_forward
from tests.support.twins import function_of, spoil_workspaces

NAME = "cross_attention_sublayer"


@pytest.mark.parametrize(
    "package", [gpt_numpy.kernels, gpt_numpy.reference], ids=["kernels", "reference"]
)
def test_a_block_adds_to_the_gradient_of_the_encoder_unless_it_is_the_first(package):
    example = EXAMPLES[NAME](np.random.default_rng(0))
    outputs = run_forward(function_of(gpt_numpy.reference, f"{NAME}_forward"), example, np.float64)
    backward = function_of(package, f"{NAME}_backward")
    available = example.inputs | outputs | {"dout": np.ones_like(outputs["out"])}
    there = np.random.default_rng(1).standard_normal(example.inputs["memory"].shape)
    found = []
    for adds in (False, True):
        read, shapes = read_and_written(backward, available)
        written = {name: np.full(shape, np.nan) for name, shape in shapes.items()}
        if adds:
            written["dmemory"][...] = there
        spoil_workspaces()
        call(backward, read | {"adds": adds} | written)
        found.append(written)
    assert np.abs(found[1]["dmemory"] - found[0]["dmemory"] - there).max() <= 1e-14
    for name in set(found[0]) - {"dmemory"}:
        assert np.array_equal(found[0][name], found[1][name]), name
