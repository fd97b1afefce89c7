"""Muon's kernel against the reference: any shape, parts of arrays, threads, edges of buffers."""

import numpy as np
import pytest

import gpt_numpy.kernels
import gpt_numpy.reference
from gpt_numpy.kernels.engine import jit, pool
from gpt_numpy.reference.muon import MuonSettings, Place
from tests.support.errors import TOLERANCE, assert_close
from tests.support.guards import Guards
from tests.support.twins import spoil_workspaces

POOL = min(2, jit.numba.config.NUMBA_NUM_THREADS)

# (rows, columns of each matrix next to one another): less than a vector, a tile, a block; tall and
# wide; strips of both heights; more than one block of columns and of the inner dimension.
ARRAYS = {
    "tiny": [(1, (1,)), (1, (5,)), (3, (1,)), (5, (7,)), (7, (5,)), (8, (8, 8, 8)), (14, (17,))],
    "odd": [(33, (33, 11, 11)), (17, (401,)), (130, (61,)), (50, (70, 20)), (45, (45,))],
    "square": [(128, (128, 64, 64)), (64, (256,)), (256, (64,))],
    "blocks": [(200, (420,)), (410, (210,))],
}


def layout(arrays):
    """Places of all matrices; the parameters begin at 3 and the means at 1, neither aligned."""
    places, size = [], 0
    for rows, widths in arrays:
        for k, columns in enumerate(widths):
            first = sum(widths[:k])
            places.append(Place(3 + size, 1 + size, rows, sum(widths), first, columns))
        size += rows * sum(widths)
    return places, size


def drawn(name, dtype, seed=0):
    """Parameters, gradients and means; every matrix has singular values far from 0."""
    places, size = layout(ARRAYS[name])
    rng = np.random.default_rng(seed)
    params, grads, momenta = rng.standard_normal((3, size + 7))
    for place in places:
        u, s, v = np.linalg.svd(place.of(grads, place.start), full_matrices=False)
        place.of(grads, place.start)[...] = (u * rng.uniform(0.5, 1, s.size)) @ v
        place.of(momenta, place.state)[...] = 0.3 * place.of(grads, place.start)
    return places, [array.astype(dtype) for array in (params, grads, momenta)]


def run_kernel(places, arrays, settings, count=None):
    """What the kernel makes of copies of the arrays, next to guard regions."""
    guards = Guards()
    dtype = arrays[0].dtype
    kinds = (True, False, True)
    ours = [guards.array(a, dtype, written) for a, written in zip(arrays, kinds, strict=True)]
    changes = guards.array(np.full((len(places), 2), np.nan), np.float64, True)
    table = guards.array(np.array(places, np.int64), np.int64, False)
    spoil_workspaces()
    with pool.fewer_threads(count or POOL):
        gpt_numpy.kernels.muon_updates(*ours, table, changes, grad_scale=0.7, settings=settings)
    guards.check()
    return [*ours, changes]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", ARRAYS)
def test_the_kernel_agrees_with_the_reference(name, dtype):
    places, arrays = drawn(name, dtype)
    exact = [array.astype(np.float64) for array in arrays]
    settings, changes = MuonSettings(0.5, 0.9, 0.2), np.zeros((len(places), 2))
    gpt_numpy.reference.muon_updates(*exact, places, changes, grad_scale=0.7, settings=settings)
    params, grads, momenta, found = run_kernel(places, arrays, settings)
    for place in places:
        start, state = place.start, place.state
        ours = {"param": place.of(params, start), "momentum": place.of(momenta, state)}
        wanted = {"param": place.of(exact[0], start), "momentum": place.of(exact[2], state)}
        assert_close(ours, wanted, dtype)
    assert np.abs(found / changes - 1).max() <= 10 * TOLERANCE[dtype]
    outside = np.r_[0:3, params.size - 4 : params.size]
    assert np.array_equal(params[outside], arrays[0][outside])
    assert np.array_equal(grads, arrays[1])


def test_any_number_of_threads_gives_the_same_bits():
    places, arrays = drawn("odd", np.float32)
    settings = MuonSettings(0.5, 0.9, 0.2)
    one, two = (run_kernel(places, arrays, settings, count) for count in (1, POOL))
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("shape", [(24, 24), (24, 96), (96, 24)])
def test_rounding_grows_no_faster_than_small_singular_values(shape):
    rng = np.random.default_rng(2)
    u, _, v = np.linalg.svd(rng.standard_normal(shape), full_matrices=False)
    gradient = ((u * np.geomspace(1, 1e-5, 24)) @ v).astype(np.float32)
    expected = gpt_numpy.reference.muon.orthogonal(gradient.astype(np.float64))
    found = step_of(gradient)
    assert np.abs(u.T @ (found - expected) @ v.T).max() <= 0.01


def step_of(gradient):
    """What the kernel subtracts from a weight for its first gradient, without the scale."""
    params, places = np.zeros_like(gradient), [Place(0, 0, *gradient.shape, 0, gradient.shape[1])]
    gpt_numpy.kernels.muon_updates(
        params, gradient, np.zeros_like(params), np.array(places), np.zeros((1, 2)),
        grad_scale=1.0, settings=MuonSettings(1.0, 0.0, 0.0),
    )  # fmt: skip
    return -params / max(1, gradient.shape[1] / gradient.shape[0]) ** 0.5


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [(24, 24), (24, 96), (96, 24), (24, 72)])
def test_singular_values_of_the_kernels_step_are_near_1(shape, dtype):
    rng = np.random.default_rng(1)
    u, _, v = np.linalg.svd(rng.standard_normal(shape), full_matrices=False)
    gradient = ((u * np.geomspace(1, 0.01, 24)) @ v).astype(dtype)
    step = step_of(gradient)
    found = np.linalg.svd(step, compute_uv=False)
    assert 0.68 < found.min() and found.max() < 1.21
    assert np.sum(step * gradient) > 0
