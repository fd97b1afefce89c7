"""A kernel and its twin in `reference/`, called on the same example, in guarded buffers."""

import inspect
import re
from unittest import mock

import numpy as np

import gpt_numpy.kernels
import gpt_numpy.reference
from gpt_numpy.kernels.engine import jit
from tests.support import layers
from tests.support.errors import assert_close
from tests.support.guards import Guards
from tests.support.layers import EXAMPLES, cast, run_backward, run_forward


def function_of(package, name):
    """A layer function, wherever in the package it is; `name` may have an example's suffix."""
    name = re.sub(r"\+[a-z0-9]*", "", name)
    for module in (package, *vars(package).values()):
        if inspect.ismodule(module) and name in vars(module):
            return vars(module)[name]
    raise AssertionError(f"{package.__name__} has no {name}")


def spoil_workspaces():
    """Fill what kernels work in with NaN: nothing may count on what an earlier call left there."""
    for array in jit._workspaces.values():
        if array.dtype.kind == "f":
            array.fill(np.nan)
        elif array.dtype == np.uint32:  # pairs of bfloat16 numbers
            array.fill(0x7FC07FC0)


def run_guarded(function, read, written, dtype):
    """Call a kernel with read-only inputs and outputs full of NaN; what it writes, by argument."""
    guards = Guards()

    def guarded(value):
        if not isinstance(value, np.ndarray):
            return value
        return guards.array(value, dtype if value.dtype.kind == "f" else value.dtype, False)

    outputs = {n: guards.array(np.full(s, np.nan), dtype, True) for n, s in written.items()}
    spoil_workspaces()
    layers.call(function, {name: guarded(value) for name, value in read.items()} | outputs)
    guards.check()
    return outputs


def kernel_forward(name, example, dtype):
    function = function_of(gpt_numpy.kernels, name + "_forward")
    return run_guarded(function, example.inputs, example.outputs, dtype)


def kernel_backward(name, example, outputs, dout, dtype):
    function = function_of(gpt_numpy.kernels, name + "_backward")
    available = example.inputs | outputs | example.extra | {"dout": dout}
    read, written = layers.read_and_written(function, available)
    return run_guarded(function, read, written, dtype)


def example_of(name, rng, sizes=None):
    with mock.patch.multiple(layers, **(sizes or {"B": layers.B})):
        return EXAMPLES[name](rng)


def both(name, dtype, rng, example):
    """What forward and backward of a kernel write, and the reference in float64: two of each."""
    example.inputs = cast(cast(example.inputs, dtype), np.float64)
    outputs = run_forward(function_of(gpt_numpy.reference, name + "_forward"), example, np.float64)
    dout = rng.standard_normal(outputs["out"].shape).astype(dtype).astype(np.float64)
    exact = run_backward(
        function_of(gpt_numpy.reference, name + "_backward"), example, outputs, dout, np.float64
    )
    ours = kernel_forward(name, example, dtype)
    return (ours, outputs), (kernel_backward(name, example, ours, dout, dtype), exact)


def compare(name, dtype, seed, sizes=None):
    """Forward and backward of a pair against the reference in float64 on the same inputs."""
    rng = np.random.default_rng(seed)
    for ours, exact in both(name, dtype, rng, example_of(name, rng, sizes)):
        assert_close(ours, exact, dtype)


def sizes(B, T, H, D, F=7, V=11):
    """The sizes that examples in layers.py have, instead of its own."""
    C = H * D
    norm = {"out": (B, T, C), "mean": (B, T), "rstd": (B, T), "norm": (B, T, C)}
    return {"B": B, "T": T, "H": H, "C": C, "F": F, "V": V, "_NORM_OUT": norm}
