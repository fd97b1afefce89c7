"""Every pair of layer functions in `reference/`, and its exact derivative by the complex step."""

import importlib
import pkgutil

import numpy as np

import gpt_numpy.reference
from tests.support.layers import CONSTANTS, is_float, pairs, run_forward

MODULES = [
    importlib.import_module(f"gpt_numpy.reference.{module.name}")
    for module in pkgutil.iter_modules(gpt_numpy.reference.__path__)
]
PAIRS = pairs(MODULES)
STEP = 1e-30


def complex_step(forward, example, dout):
    """The exact gradients of sum(dout * out): `d` + the name of each float input, and its value."""
    exact = {}
    for name, value in example.inputs.items():
        if not is_float(value) or name in CONSTANTS:
            continue
        gradient = exact["d" + name] = np.empty(value.shape)
        for index in np.ndindex(value.shape):
            moved = value.astype(complex)
            moved[index] += 1j * STEP
            changed = type(example)(example.inputs | {name: moved}, example.outputs)
            out = run_forward(forward, changed, complex)["out"]
            gradient[index] = (dout * out).sum().imag / STEP
    return exact
