"""Muon against a singular value decomposition, and its update against plain formulas."""

import numpy as np
import pytest

from gpt_numpy.reference.muon import (
    QUINTIC,
    MuonSettings,
    Place,
    muon_update,
    muon_updates,
    orthogonal,
)

SHAPES = [(1, 1), (1, 7), (9, 1), (24, 24), (20, 50), (50, 20), (13, 48)]


def with_singular_values(values, rows, columns, seed=0):
    """A matrix of these singular values, and the orthogonal matrices of its decomposition."""
    rng = np.random.default_rng(seed)
    u, _ = np.linalg.qr(rng.standard_normal((rows, rows)))
    v, _ = np.linalg.qr(rng.standard_normal((columns, columns)))
    short = min(rows, columns)
    return (u[:, :short] * values) @ v[:, :short].T, u[:, :short], v[:, :short]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e15])
def test_all_singular_values_end_near_1(shape, dtype, scale):
    values = np.geomspace(1, 0.01, min(shape))
    x, _, _ = with_singular_values(scale * values, *shape)
    result = orthogonal(x.astype(dtype))
    assert result.dtype == dtype
    found = np.linalg.svd(result, compute_uv=False)
    assert 0.68 < found.min() and found.max() < 1.21


@pytest.mark.parametrize("shape", SHAPES)
def test_only_the_singular_values_change_and_by_the_polynomial(shape):
    values = np.random.default_rng(1).uniform(0.001, 1, min(shape))
    x, u, v = with_singular_values(values, *shape)
    a, b, c, _, _ = QUINTIC
    s = values / (np.sqrt(np.square(values).sum()) + 1e-7)
    for _ in range(5):
        s = a * s + b * s**3 + c * s**5
    assert np.abs(orthogonal(x) - (u * s) @ v.T).max() <= 1e-12


def test_no_change_of_the_same_spectral_norm_lowers_the_loss_more():
    gradient, u, v = with_singular_values(np.geomspace(1, 0.01, 12), 12, 20)
    best = -np.sum(gradient * (u @ v.T))
    assert best == pytest.approx(-np.linalg.svd(gradient, compute_uv=False).sum(), rel=1e-12)
    for seed in range(200):
        change = np.random.default_rng(seed).standard_normal((12, 20)) - 0.3 * seed * (u @ v.T)
        change /= np.linalg.norm(change, 2)
        assert np.sum(gradient * change) >= best
    assert -np.sum(gradient * orthogonal(gradient)) < 0.68 * best


def test_nothing_is_divided_by_0():
    assert not orthogonal(np.zeros((3, 5), np.float32)).any()


@pytest.mark.parametrize("shape", [(6, 6), (6, 24), (24, 6)])
def test_an_update_is_these_formulas(shape):
    rng = np.random.default_rng(2)
    param, grad, momentum = rng.standard_normal((3, *shape))
    updated, mean = param.copy(), momentum.copy()
    muon_update(updated, grad, mean, grad_scale=0.5, settings=MuonSettings(0.1, 0.8, 0.3))
    expected = 0.8 * momentum + 0.2 * 0.5 * grad
    assert np.abs(mean - expected).max() <= 1e-15
    direction = orthogonal(0.8 * expected + 0.2 * 0.5 * grad)
    scale = np.sqrt(max(1, shape[1] / shape[0]))  # (in, out)
    assert np.abs(updated - (param * (1 - 0.1 * 0.3) - 0.1 * scale * direction)).max() <= 1e-14


def test_parts_of_an_array_are_updated_where_they_lie():
    rng = np.random.default_rng(3)
    params, grads = rng.standard_normal((2, 200))
    momenta, changes = rng.standard_normal(150), np.zeros((3, 2))
    before, means = params.copy(), momenta.copy()
    # Two parts, (6, 5) and (6, 7), of an array (6, 14) whose last columns are nobody's; (8, 4).
    places = [Place(10, 3, 6, 14, 0, 5), Place(10, 3, 6, 14, 5, 7), Place(110, 100, 8, 4, 0, 4)]
    settings = MuonSettings(0.1, 0.9, 0.2)
    muon_updates(params, grads, momenta, places, changes, grad_scale=0.7, settings=settings)
    touched = np.zeros(200, bool)
    for place, (change, length) in zip(places, changes, strict=True):
        expected = place.of(before, place.start).copy()
        mean = place.of(means, place.state).copy()
        muon_update(expected, place.of(grads, place.start), mean, grad_scale=0.7, settings=settings)
        found, start = (place.of(array, place.start) for array in (params, before))
        assert np.array_equal(found, expected)
        assert np.array_equal(place.of(momenta, place.state), mean)
        assert change == pytest.approx(np.square(found - start).sum(), rel=1e-12)
        assert length == pytest.approx(np.square(start).sum(), rel=1e-12)
        place.of(touched, place.start)[...] = True
    assert touched.sum() == 6 * 12 + 32 and np.array_equal(params[~touched], before[~touched])
