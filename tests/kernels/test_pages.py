"""No kernel reads or writes beyond its arrays: each array lies next to a forbidden page.

Guard regions (tests/support/guards.py) notice what is written; what is read beyond an end changes
no result and is noticed here alone, by the end of the process.
"""

from unittest import mock

import numpy as np
import pytest

import gpt_numpy.kernels
from tests.generation import test_bfloat16 as test_rounded_steps
from tests.generation import test_kv_cache
from tests.kernels import test_bfloat16, test_halves, test_kernels, test_muon, test_queries_keys
from tests.support import twins
from tests.support.errors import TOLERANCE, assert_close
from tests.support.guards import Pages, PagesBefore
from tests.support.layers import EXAMPLES
from tests.support.twins import compare, function_of, run_guarded, sizes

pytestmark = pytest.mark.skipif(not Pages.AVAILABLE, reason="forbids pages as Linux does")
BOTH = pytest.mark.parametrize("pages", [Pages, PagesBefore], ids=["end", "start"])


@pytest.fixture
def at(pages):
    """From now on all arrays of a call lie next to a forbidden page."""
    with (
        mock.patch.object(twins, "Guards", pages),
        mock.patch.object(test_bfloat16, "Guards", pages),
        mock.patch.object(test_kv_cache, "Guards", pages),
        mock.patch.object(test_muon, "Guards", pages),
        mock.patch.object(test_halves, "Guards", pages),
        mock.patch.object(test_rounded_steps, "Guards", pages),
    ):
        yield


@BOTH
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_no_kernel_leaves_its_arrays(name, dtype, pages, at):
    compare(name, dtype, 0)
    if name not in test_kernels.ELEMENTWISE:
        compare(name, dtype, 1, sizes(B=1, T=33, H=2, D=17, F=37, V=67))


# (rows, inner, columns): less than a vector, a tile, a block; both sides whole; rows whose copies
# are a power of two apart (crowded), with a strip that is not full.
SHAPES = [(1, 1, 1), (3, 5, 7), (17, 33, 35), (41, 3, 130), (401, 70, 50), (61, 401, 150)]
SHAPES += [(45, 1024, 40), (40, 512, 33)]


@BOTH
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES)
def test_no_product_leaves_its_operands(shape, dtype, pages, at):
    rows, inner, columns = shape
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((rows, inner)), rng.standard_normal((inner, columns))
    dout, bias = rng.standard_normal((rows, columns)), rng.standard_normal(columns)
    x, w, dout, bias = (a.astype(dtype) for a in (x, w, dout, bias))
    exact = [a.astype(np.float64) for a in (x, w, dout, bias)]
    forward = function_of(gpt_numpy.kernels, "linear_forward")
    got = run_guarded(forward, {"x": x, "weight": w, "bias": bias}, {"out": dout.shape}, dtype)
    backward = function_of(gpt_numpy.kernels, "linear_backward")
    got |= run_guarded(
        backward, {"dout": dout, "x": x, "weight": w, "bias": None},
        {"dx": x.shape, "dweight": w.shape, "dbias": columns}, dtype,
    )  # fmt: skip
    wanted = {
        "out": exact[0] @ exact[1] + exact[3], "dx": exact[2] @ exact[1].T,
        "dweight": exact[0].T @ exact[2], "dbias": exact[2].sum(axis=0),
    }  # fmt: skip
    assert_close(got, wanted, dtype)


@BOTH
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_no_update_by_muon_leaves_its_arrays(dtype, pages, at):
    for name in ("tiny", "odd"):
        test_muon.test_the_kernel_agrees_with_the_reference(name, dtype)


@BOTH
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_no_vector_of_a_head_leaves_its_arrays(dtype, pages, at):
    for size in test_queries_keys.SIZES:
        test_queries_keys.test_heads_of_any_size_agree_with_the_reference(size, dtype)


@BOTH
def test_no_bfloat16_product_leaves_its_operands(pages, at):
    shapes = [(17, 33, 35), (41, 3, 130), (401, 70, 50), (61, 401, 150), (64, 35, 45)]
    for shape in [*test_bfloat16.SMALL, *shapes]:
        operands = test_bfloat16.operands(*shape)
        test_bfloat16.assert_three_products(*operands)
        test_bfloat16.assert_three_products(*map(test_bfloat16.stored, operands))


@BOTH
@pytest.mark.parametrize("changes", test_kv_cache.SHAPES[:-1])
def test_no_step_of_decoding_leaves_its_arrays(changes, pages, at):
    for dtype in TOLERANCE:
        test_kv_cache.test_the_kernel_agrees_with_its_twin_and_writes_nothing_else(dtype, changes)


@BOTH
@pytest.mark.parametrize("changes", test_rounded_steps.ALL[:5])
def test_no_step_with_weights_of_16_bits_leaves_its_arrays(changes, pages, at):
    test_rounded_steps.test_the_kernel_agrees_with_its_twin_and_writes_nothing_else(changes)


@BOTH
def test_no_activation_of_16_bits_leaves_its_array(pages, at):
    for size in test_halves.SIZES:
        test_halves.test_numbers_go_to_16_bits_and_back_as_in_the_reference(size)
        test_halves.test_nonlinearities_read_and_write_16_bits(size, "gelu_tanh")
