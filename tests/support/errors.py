"""The error of an array and its bounds, for all tests that compare gradients or activations."""

import numpy as np

TOLERANCE = {"float64": 1e-12, "float32": 5e-6}


def errors(ours, exact, scale=0.0):
    """The error of each array, as gradients/report.py defines it."""
    largest = max([scale, *(np.abs(value).max() for value in exact.values())])
    bounds = {n: max(np.abs(value).max(), 1e-3 * largest) or 1.0 for n, value in exact.items()}
    return {n: np.abs(ours[n] - value).max() / bounds[n] for n, value in exact.items()}


def assert_close(ours, exact, dtype, scale=0.0):
    for name, error in errors(ours, exact, scale).items():
        assert error <= TOLERANCE[dtype], f"{name}: error {error:.2e}"
