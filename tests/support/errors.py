"""The error of an array and its bounds, for all tests that compare gradients or activations."""

import numpy as np

TOLERANCE = {"float64": 1e-12, "float32": 5e-6}


def errors(ours, exact, scale=0.0):
    """The error of each array, as gradients/report.py defines it."""
    largest = max([scale, *(np.abs(value).max() for value in exact.values())])
    bounds = {n: max(np.abs(value).max(), 1e-3 * largest) or 1.0 for n, value in exact.items()}
    return {n: np.abs(ours[n] - value).max() / bounds[n] for n, value in exact.items()}


def assert_close(ours, exact, dtype, scale=0.0):
    largest = max([scale, *(np.abs(value).max() for value in exact.values())])
    for name, error in errors(ours, exact, scale).items():
        if dtype == "float32" and np.abs(exact[name]).max() <= 1e-12 * largest:
            # A gradient that is 0, as a query's where there is one key: what is left is rounding.
            assert np.abs(ours[name]).max() <= 4 * 2.0**-23 * largest, name
            continue
        assert error <= TOLERANCE[dtype], f"{name}: error {error:.2e}"
